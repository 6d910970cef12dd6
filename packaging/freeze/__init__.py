"""What ``build.py`` does besides PyInstaller: what is left out, licences, icons, sizes, archives.

``packaging`` itself must never become a package (no ``__init__.py``): a library of that name is installed.
"""
