"""The verbs of the command line, one file each. Each has ``add_arguments`` and what its parser runs."""
