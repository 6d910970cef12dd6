"""Towns that a recipe names are rendered once, and only then."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from engine.training.cache import open_towns
from engine.training.render import render_towns
from engine.training.sections import DataSection


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
