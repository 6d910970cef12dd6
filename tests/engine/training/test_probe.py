"""What the window asks before a training: how long a step takes, and which towns are counted."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from engine.errors import DatasetError
from engine.training.probe import check, seconds_a_step
from engine.training.recipes import Recipe
from engine.world.cache import TownAsked, rough_seconds
from tests.engine.training.synthetic import write_town


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
    alike = {"pairs": 24, "validation_pairs": 6, "area_km2": 0.0036}
    assert pairs(replace(tiny, data=replace(tiny.data, towns=[2], validation=[9], **alike))) == 24


def told(recipe: Recipe, data: Path, capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    check(recipe, data, None, 2)
    said = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    return next(event for event in said if event["event"] == "data")


def test_towns_rendered_for_another_recipe_are_not_taken_for_this_ones(
    towns: Path, tiny: Recipe, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = replace(tiny.data, towns=(1, 2), validation=(9,), pairs=999, area_km2=0.0036)
    data = told(replace(tiny, data=asked), towns, capsys)
    assert (data["pairs"], data["to_render"], data["pairs_to_render"]) == (0, 3, 2 * 999 + 500)
    assert data["other"] == 3 and data["validation"] == 0
    # How long the rendering takes is said before anything was measured.
    assert data["render_s"] > 999 * 0.01


def test_how_long_rendering_takes_is_learned_from_towns_that_are_there(
    tmp_path: Path, tiny: Recipe, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = replace(tiny, data=replace(tiny.data, towns=(501,), pairs=100, area_km2=0.5))
    reckoned = told(recipe, tmp_path, capsys)["render_s"]
    meta = {
        "seed": 7, "split": "validation", "pairs": 10, "area_km2": 0.1, "seconds": 5 * rough_seconds(
            TownAsked(7, "validation", 10, 0.1)
        ),
    }  # fmt: skip
    town = write_town(tmp_path, 7, pairs=10, split="validation")
    (town / "meta.json").write_text(
        json.dumps({**json.loads((town / "meta.json").read_text()), **meta})
    )
    assert told(recipe, tmp_path, capsys)["render_s"] == pytest.approx(5 * reckoned, rel=0.02)


def test_nothing_is_promised_to_be_rendered_among_somebodys_own_files(
    tmp_path: Path, tiny: Recipe, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = replace(tiny, data=replace(tiny.data, towns=(501,)))
    (tmp_path / "town-501").mkdir()  # begun and not finished
    assert told(recipe, tmp_path, capsys)["to_render"] == 1
    for name in ("imagery.tif", "queries.csv"):
        (tmp_path / name).touch()
    with pytest.raises(DatasetError, match="a world that nadir world made") as caught:
        check(recipe, tmp_path, None, 2)
    assert "empty" in caught.value.remedy and "format" not in caught.value.remedy
    (tmp_path / "queries.csv").rename(tmp_path / "pairs.csv")
    with pytest.raises(DatasetError, match='data set of the layout "pairs"') as caught:
        check(recipe, tmp_path, None, 2)
    assert "format under [data]" in caught.value.remedy and "cvusa" in caught.value.remedy


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
