"""What ``run.py`` does before there is anything but a Python: environment, system libraries, display.

Standard library only. ``packaging`` itself must never become a package (no ``__init__.py``): a library of
that name is installed in the environment.
"""
