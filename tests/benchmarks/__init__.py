"""How fast, and how large: ``python -m tests.benchmarks`` prints one table. Not part of the test run."""
