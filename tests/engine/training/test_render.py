"""Towns that a recipe names are rendered once, and only then."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from engine.training.cache import open_towns
from engine.training.render import render_towns
from engine.training.sections import DataSection
from engine.training.wanted import kept_towns, wanted_towns
from tests.engine.training.synthetic import write_town


def test_missing_towns_are_rendered_and_finished_ones_kept(tmp_path: Path) -> None:
    wanted = DataSection(
        towns=(501,), validation=(502,), pairs=3, validation_pairs=2, area_km2=0.06
    )
    events: list[dict[str, Any]] = []

    def emit(event: str, **values: Any) -> None:
        events.append({"event": event, **values})

    (tmp_path / "town-501").mkdir()  # begun and not finished: no meta.json
    render_towns(wanted, tmp_path, emit)
    assert [e["done"] for e in events] == [0, 1, 2]
    town = open_towns(tmp_path, "train")[0]
    assert len(town) == 3
    assert len(open_towns(tmp_path, "validation")[0]) == 2
    picture = np.asarray(town.panoramas[0])
    assert picture.std() > 10
    before = (tmp_path / "town-501" / "panoramas.npy").stat().st_mtime_ns
    render_towns(wanted, tmp_path, emit)
    assert len(events) == 3
    assert (tmp_path / "town-501" / "panoramas.npy").stat().st_mtime_ns == before
    assert json.loads((tmp_path / "town-501" / "meta.json").read_text())["pairs"] == 3


def silently(event: str, **values: Any) -> None:
    return None


def test_a_town_counts_only_if_it_is_the_one_that_is_asked_for(tmp_path: Path) -> None:
    asked = DataSection(towns=(501,), validation=(502,), pairs=3, validation_pairs=2, area_km2=0.06)
    render_towns(asked, tmp_path, silently)
    mine = tmp_path / "town-501" / "panoramas.npy"
    before = mine.read_bytes()
    for other in (
        replace(asked, pairs=2),  # the first of three are not these two
        replace(asked, area_km2=0.05),
        replace(asked, towns=(), validation=(501,)),
    ):
        assert not next(iter(wanted_towns(other, tmp_path))).there
    fewer = replace(asked, validation=(), pairs=2)
    render_towns(fewer, tmp_path, silently)
    render_towns(fewer, tmp_path / "fresh", silently)
    (town,) = wanted_towns(fewer, tmp_path)
    assert town.there and town.folder.name != "town-501" and mine.read_bytes() == before
    for name in ("panoramas.npy", "ortho.npy", "positions.npy"):
        fresh = tmp_path / "fresh" / "town-501" / name
        assert (town.folder / name).read_bytes() == fresh.read_bytes()
    assert all(town.there for town in wanted_towns(asked, tmp_path))
    assert len(list(tmp_path.glob("town-*"))) == 3


def test_towns_of_earlier_versions_are_known_by_the_size_of_their_picture(tmp_path: Path) -> None:
    asked = DataSection(towns=(501,), pairs=2, area_km2=0.06)
    render_towns(asked, tmp_path, silently)
    file = tmp_path / "town-501" / "meta.json"
    meta = json.loads(file.read_text())
    del meta["area_km2"], meta["seconds"]
    file.write_text(json.dumps(meta))
    assert [town.there for town in wanted_towns(asked, tmp_path)] == [True]
    assert [t.there for t in wanted_towns(replace(asked, area_km2=0.07), tmp_path)] == [False]


def test_a_training_goes_on_with_the_towns_it_began_with(tmp_path: Path) -> None:
    write_town(tmp_path, 1)
    write_town(tmp_path, 9, pairs=6, split="validation")
    asked = DataSection(towns=(1, 2), validation=(9,), pairs=999)
    before = {"names": ["town-1", "town-2"]}  # as an earlier version's checkpoint has it
    kept = kept_towns(before, asked, tmp_path)
    assert kept == {seed: tmp_path / f"town-{seed}" for seed in (1, 2, 9)}
    assert [t.there for t in wanted_towns(asked, tmp_path, kept)] == [True, False, True]
    now = {"names": ["town-1-train-999-1km2"], "validation": "town-9-validation-500-1km2"}
    kept = kept_towns(now, asked, tmp_path)
    assert kept == {
        1: tmp_path / "town-1-train-999-1km2",
        9: tmp_path / "town-9-validation-500-1km2",
    }
    assert kept_towns({"names": []}, asked, tmp_path) == {}
