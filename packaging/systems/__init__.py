"""Reading, from any system, what the program would be on Windows and on macOS; see ``check_systems.py``."""
