"""Where the files that come with the program lie, from a checkout as from a frozen build."""

from __future__ import annotations

from pathlib import Path

from engine.shipped import resources


def resource(*parts: str) -> Path:
    """A file or folder under ``resources``."""
    return resources().joinpath(*parts)
