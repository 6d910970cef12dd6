"""What can go wrong before the program starts, in words that say what to do."""

from __future__ import annotations

import errno
import re
from pathlib import Path


class Trouble(Exception):  # noqa: N818 - what people read is its words
    """Something the person at the keyboard can understand and act on.

    Args:
        problem: what is wrong, a sentence.
        remedy: what to do, sentences or commands on lines of their own.
    """

    def __init__(self, problem: str, remedy: str = "") -> None:
        super().__init__(problem)
        self.problem = problem
        self.remedy = remedy

    def __str__(self) -> str:
        return f"{self.problem}\n{self.remedy}".rstrip()


AGAIN = "Run the same command again then; it goes on where it stopped."

# (pattern in pip's words, what it means, what to do); the first that fits is told.
_PIP: tuple[tuple[str, str, str], ...] = (
    (
        r"No space left on device|Disk quota exceeded|Errno 28\b|Errno 122\b",
        "The disk is full.",
        "Free some space in {root} (about {need} are needed). " + AGAIN,
    ),
    (
        r"ssl module in Python is not available|SSLError.*module is not available",
        "This Python was built without SSL and cannot download anything.",
        "Use another Python 3.11 or newer: from your system, or from python.org.",
    ),
    (
        r"CERTIFICATE_VERIFY_FAILED|certificate verify failed",
        "The package index's certificate is not trusted here.",
        "A company proxy usually is the cause: point PIP_CERT at its certificate file, "
        "and check the date of this machine. " + AGAIN,
    ),
    (
        r"ProxyError|Cannot connect to proxy|Tunnel connection failed|407 Proxy",
        "The proxy did not let the download through.",
        "Check HTTPS_PROXY and HTTP_PROXY in the environment (http://user:password@host:port). "
        + AGAIN,
    ),
    (
        r"Temporary failure in name resolution|Name or service not known|getaddrinfo failed"
        r"|nodename nor servname|NameResolutionError|No address associated",
        "The package index was not found: this machine seems to be offline.",
        "Connect to the network. Behind a proxy, set HTTPS_PROXY. With an index of your own, set "
        "PIP_INDEX_URL. " + AGAIN,
    ),
    (
        r"401 (Client )?Error|403 (Client )?Error|Unauthorized|Forbidden",
        "The package index refused the download.",
        "Check PIP_INDEX_URL and its password, or the proxy. " + AGAIN,
    ),
    (
        r"DO NOT MATCH THE HASHES|has invalid wheel|BadZipFile|hash mismatch",
        "A downloaded file is damaged.",
        "Something between here and the package index altered it. " + AGAIN,
    ),
    (
        r"Connection refused|NewConnectionError|timed out|ReadTimeout|ConnectTimeout|Connection reset"
        r"|Connection aborted|Network is unreachable|IncompleteRead|Connection broken"
        r"|RemoteDisconnected|No route to host|5\d\d Server Error|incomplete-download",
        "The download failed: the package index did not answer, or the connection broke.",
        "Check the network, HTTPS_PROXY, and PIP_INDEX_URL if you set it. " + AGAIN,
    ),
    (
        r"Permission denied|Errno 13\b|Operation not permitted|Read-only file system",
        "The environment could not be written.",
        "Own the folder {root}, and do not mix `sudo python3 run.py` with `python3 run.py`. "
        + AGAIN,
    ),
)
# Both mean the same for pinned versions: no file for one of them
_NO_MATCH = re.compile(r"(?:No matching distribution found for|Cannot install) ([^\s(,]+)")


def pip_trouble(output: str, root: Path, log: Path, need: str, python: str) -> Trouble:
    """Read pip's output after it failed and say what happened.

    Args:
        output: everything pip wrote.
        root: the checkout.
        log: where the whole output is kept.
        need: how much room an installation takes, for people.
        python: the version of the environment's Python.
    """
    keep = f"All that pip said: {log}"
    for pattern, problem, remedy in _PIP:
        if re.search(pattern, output):
            return Trouble(problem, f"{remedy.format(root=root, need=need)}\n{keep}")
    missing = _NO_MATCH.search(output)
    if missing:
        return Trouble(
            f"The package index has no {missing.group(1)} that fits Python {python} on this machine.",
            "An index of your own (PIP_INDEX_URL, PIP_NO_INDEX) may lack it; or this Python is newer, or this\n"
            f"system rarer, than its makers build for: try Python 3.11, 3.12 or 3.13.\n{keep}",
        )
    errors = [
        text for text in output.splitlines() if text.startswith("ERROR")
    ] or output.splitlines()
    last = "\n".join(errors[-3:])
    return Trouble("pip could not install the libraries.", f"{last}\n{keep}\n{AGAIN}")


def os_trouble(error: OSError, root: Path) -> Trouble:
    """An error of the operating system as a sentence."""
    name = f"{error.filename}: " if error.filename else ""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return Trouble(f"{name}the disk is full.", f"Free some space. {AGAIN}")
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return Trouble(
            f"{name}no permission to write.",
            f"Own the folder {root}, and do not mix `sudo python3 run.py` with `python3 run.py`.",
        )
    return Trouble(f"{name}{error.strerror or error}.", AGAIN)
