"""What the proof takes from the system: a screen in memory, and the libraries a desktop would have."""

from __future__ import annotations

import os
import shutil
import sys

from bootstrap import system
from bootstrap.console import Console
from bootstrap.trouble import Trouble

_TOOLS = {
    "setpriv": ("util-linux", "util-linux", "util-linux", "util-linux"),
    "unshare": ("util-linux", "util-linux", "util-linux", "util-linux"),
    "fusermount3": ("fuse3", "fuse3", "fuse3", "fuse3"),
    "Xvfb": system.XVFB,
}


def ensure_needs(console: Console) -> None:
    """Have it before anything is built: install it where we may.

    Raises:
        Trouble: with the command that installs it.
    """
    if sys.platform != "linux":
        return
    machine = system.this_system()
    column = system.FAMILIES.index(machine.family) if machine.family else 0
    tools = {names[column] for tool, names in _TOOLS.items() if shutil.which(tool) is None}
    if tools and not machine.family:
        raise Trouble(
            f"The proof takes programs that {machine.name} does not have: {', '.join(sorted(tools))}.",
            "Install them with your system's package manager, then run the same command again.",
        )
    missing = system.missing_libraries(os.environ)
    system.ensure_system(missing, sorted(tools), machine, console)
