"""Where the files that come with the program lie, from a checkout as from a frozen build."""

from __future__ import annotations

import sys
from pathlib import Path

DEMO_ENCODER = "port-nemo-1.encoder"
DEMO_INDEX = "port-nemo.index"
SAMPLES = "samples"


def resource(*parts: str) -> Path:
    """A file or folder under ``resources``."""
    base = Path(getattr(sys, "_MEIPASS", Path(__file__).resolve().parent.parent))
    return base.joinpath("resources", *parts)
