"""What the window asks before a training: how long a step takes, and which towns are counted."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

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
    # In a process of its own: a peak that other tests left behind hides the next one.
    program = """
import sys
import numpy as np
from engine.training.memory import peak_bytes
before, size = peak_bytes(), 192 << 20
with open(sys.argv[1], "wb") as file:
    file.truncate(size)
mapped = np.memmap(sys.argv[1], np.uint8, "r")
assert int(mapped[:: 1 << 12].sum()) == 0  # every page was read
print(peak_bytes() - before < size // 4)
held = np.ones(size, np.uint8)
print(peak_bytes() - before > size // 2)
"""
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path / "pictures")],
        capture_output=True, text=True, check=True, timeout=120, cwd=Path(__file__).parents[3],
    )  # fmt: skip
    assert done.stdout.split() == ["True", "True"]
