#!/usr/bin/env python3
"""Nadir from a bare machine: ``python3 run.py`` opens it, ``python3 run.py test`` passes its tests.

Only the check for an old Python stands here, in words that any Python since 2.7 can parse. The work
is done by ``packaging/bootstrap``, with the standard library alone.
"""

import os
import subprocess
import sys

NEEDED = (3, 11)
HERE = os.path.dirname(os.path.abspath(__file__))


def newer_python():
    """The name of the newest good enough Python on the PATH that starts; empty where there is none."""
    with open(os.devnull, "w") as nowhere:
        for minor in range(19, NEEDED[1] - 1, -1):
            name = "python3.%d" % minor
            try:
                if subprocess.call([name, "-c", ""], stdout=nowhere, stderr=nowhere) == 0:
                    return name
            except OSError:
                continue
    return ""


def complaint(version, newer):
    """What to say to somebody whose Python is too old.

    ``newer`` is the name of a better Python on this machine, where there is one.
    """
    if newer:
        words = " ".join([newer, "run.py"] + sys.argv[1:])
        remedy = "This machine has a newer one. Run:\n    %s\n" % words
    elif sys.platform == "darwin":
        remedy = "Get it from python.org, or: brew install python@3.13\n"
    elif sys.platform == "win32":
        remedy = "Get it from python.org or the Microsoft Store.\n"
    else:
        remedy = (
            "Get it from your system (Debian 12, Ubuntu 24.04 and Fedora 37 or newer have it;\n"
            "on Ubuntu 22.04: sudo apt-get install python3.11 python3.11-venv) or from python.org.\n"
        )
    text = "Nadir: Python 3.11 or newer is needed; this is Python %d.%d.\n%s"
    return text % (version[0], version[1], remedy)


def main():
    """Refuse an old Python, else hand over."""
    if tuple(sys.version_info[:2]) < NEEDED:
        sys.stderr.write(complaint(sys.version_info, newer_python()))
        return 1
    sys.dont_write_bytecode = True  # a checkout stays as clean as it was cloned
    sys.path.insert(0, os.path.join(HERE, "packaging"))
    from bootstrap.start import main as start

    return start(sys.argv[1:], HERE)


if __name__ == "__main__":
    sys.exit(main())
