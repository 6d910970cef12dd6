"""What the window asks before a training: how long a step takes, and which towns are counted."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from engine.training.memory import peak_bytes
from engine.training.probe import check, seconds_a_step
from engine.training.recipes import Recipe


@pytest.mark.parametrize(
    ("ends", "seconds"),
    [
        ([9.0, 13.0, 15.0, 17.0, 19.0], 2.0),  # the first two warm up
        ([9.0, 13.0, 16.0], 3.0),
        ([9.0, 13.0], 4.0),  # a machine that is slow or busy leaves no others
        ([9.0], 8.0),
    ],
)
def test_a_step_takes_what_was_seen_of_it(ends: list[float], seconds: float) -> None:
    assert seconds_a_step(1.0, ends) == pytest.approx(seconds)


def test_only_the_recipes_own_towns_are_counted(
    towns: Path, tiny: Recipe, capsys: pytest.CaptureFixture[str]
) -> None:
    def pairs(recipe: Recipe) -> int:
        check(recipe, towns, None, 2)
        said = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
        return next(event["pairs"] for event in said if event["event"] == "data")

    assert pairs(tiny) == 48
    assert pairs(replace(tiny, data=replace(tiny.data, towns=[2], validation=[9]))) == 24


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="Linux tells them apart")
def test_the_pages_of_a_mapped_file_are_not_memory_in_use(tmp_path: Path) -> None:
    before = peak_bytes()
    size = 192 << 20
    with (tmp_path / "pictures").open("wb") as file:
        file.truncate(size)
    mapped = np.memmap(tmp_path / "pictures", np.uint8, "r")
    assert int(mapped[:: 1 << 12].sum()) == 0  # every page was read
    assert peak_bytes() - before < size // 4
    held = np.ones(size, np.uint8)
    assert peak_bytes() - before > size // 2
    del held
    assert peak_bytes() - before > size // 2, "the most there was"
