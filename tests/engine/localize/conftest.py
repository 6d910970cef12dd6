"""A flat world, made once."""

from __future__ import annotations

import pytest

from tests.engine.flat import Town, make_town


@pytest.fixture(scope="session")
def town(tmp_path_factory) -> Town:
    """A town with its encoder and index open."""
    return make_town(tmp_path_factory.mktemp("flat"))
