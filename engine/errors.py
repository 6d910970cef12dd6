"""The one family of errors: what is wrong, with which file, and what to do about it."""

from __future__ import annotations

import re
from pathlib import Path

_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")

_COMMAND = re.compile(r": (nadir|[^ ]*python[\d.]*|\"[^\"]*python[^\"]*\") [^:]*$")


def printable(name: str) -> str:
    """Foreign text, such as a file's name, fit to be shown: what is no character or steers a terminal is ``�``."""
    return _UNPRINTABLE.sub("\N{REPLACEMENT CHARACTER}", name)


class NadirError(Exception):
    """Something a user can understand and act on.

    Args:
        problem: what is wrong, one short clause or sentence without a full stop.
        path: the file or folder concerned, where there is one.
        remedy: what to do, one sentence without a full stop; may be empty. A command stands at its end, after a colon,
            and is given no full stop, which would be typed with it.

    ``str(error)`` is the whole message: ``NAME: problem. Remedy.``
    """

    def __init__(self, problem: str, path: Path | str | None = None, remedy: str = "") -> None:
        self.problem = problem
        self.path = Path(path) if path is not None else None
        self.remedy = remedy
        super().__init__(problem)

    def __str__(self) -> str:
        name = f"{self.path.name or self.path}: " if self.path is not None else ""
        stop = "" if _COMMAND.search(self.remedy) else "."
        remedy = f" {self.remedy}{stop}" if self.remedy else ""
        return printable(f"{name}{self.problem}.{remedy}")


class PhotoError(NadirError):
    """A photo that cannot be read or used."""


class ImageryError(NadirError):
    """Aerial imagery that cannot be read, or does not cover what was asked."""


class EncoderError(NadirError):
    """An encoder that is damaged, incomplete, or does not fit."""


class IndexFolderError(NadirError):
    """An index that is damaged, incomplete, half built, or tied to another encoder."""


class WorldError(NadirError):
    """A demo world that cannot be made."""


class DatasetError(NadirError):
    """A dataset folder that is not laid out as its format says."""


class TrainingError(NadirError):
    """A training that cannot start or go on."""


class Cancelled(Exception):  # noqa: N818 - it is a request obeyed, not an error
    """Raised from a progress report to stop the work; nothing is wrong."""
