"""The parts of ``smoke_test.py``: a desk to work at like a person, a jail to run in, what is checked."""
