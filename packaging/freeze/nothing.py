"""Stands in the frozen program for modules that are imported there and never used; ``nadir.spec`` says which."""
