"""Tests of the window's state and its parts; no window is shown."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.qt_setup import no_leaked_threads, prepare_qt
from tests.sights import Sights, make_sights

_PROBLEM = prepare_qt()


@pytest.fixture(autouse=True)
def _clean(qapp) -> Iterator[None]:
    if _PROBLEM:
        pytest.skip(_PROBLEM)
    with no_leaked_threads():
        yield


@pytest.fixture(scope="session")
def sights(tmp_path_factory) -> Sights:
    """An area with its encoder, photos taken there, spoiled files."""
    return make_sights(tmp_path_factory.mktemp("sights"))
