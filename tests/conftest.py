"""What all tests share."""

from __future__ import annotations

from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def realdata() -> Path:
    """The folder of real photos and rasters that may stand beside the project; tests skip where it does not."""
    folder = ROOT.parent / "shared" / "realdata"
    if not folder.is_dir():
        pytest.skip("no ../shared/realdata beside the project: tests on real files need it")
    return folder


@pytest.fixture(scope="session")
def golden() -> Path:
    """The folder of numbers that the authors' own code printed (see ``golden_rule``); tests skip where it is not."""
    folder = ROOT.parent / "shared" / "golden"
    if not folder.is_dir():
        pytest.skip(
            "no ../shared/golden beside the project: tests against official outputs need it"
        )
    return folder
