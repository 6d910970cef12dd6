"""What errors say, as it is printed."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.errors import NadirError


@pytest.mark.parametrize(
    ("remedy", "said"),
    [
        ("", "a.tif: is damaged."),
        ("Get it anew", "a.tif: is damaged. Get it anew."),
        ("Choose: this or that", "a.tif: is damaged. Choose: this or that."),
        (
            "Check it with: nadir index verify",
            "a.tif: is damaged. Check it with: nadir index verify",
        ),
        (
            'Install it with: "/a b/bin/python3.11" -m pip install x',
            'a.tif: is damaged. Install it with: "/a b/bin/python3.11" -m pip install x',
        ),
    ],
)
def test_a_command_can_be_typed_as_it_stands(remedy: str, said: str) -> None:
    assert str(NadirError("is damaged", Path("/somewhere/a.tif"), remedy)) == said
