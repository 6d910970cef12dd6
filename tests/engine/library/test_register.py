"""What the library remembers survives, and nonsense in its file does no harm."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from engine.library import Check, Register, change_register, read_register
from engine.library.coverage import MAX_POINTS, outline


def test_what_is_written_is_read(tmp_path: Path) -> None:
    folder = tmp_path / "not there yet"
    check = Check.now("ab", ("tiles.gpkg: damaged.",))
    register = Register().with_item(Path("/somewhere/a.index")).with_check(Path("/b"), check)
    change_register(folder, lambda _: register)
    assert read_register(folder) == register
    assert read_register(folder).without(Path("/b")).without(Path("/somewhere/a.index")) == (
        Register()
    )


def test_many_at_once_lose_nothing(tmp_path: Path) -> None:
    def add(number: int) -> None:
        change_register(tmp_path, lambda known: known.with_item(Path(f"/{number}.index")))

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(add, range(40)))
    assert len(read_register(tmp_path).elsewhere) == 40


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{",
        "[" * 100_000,
        '{"elsewhere": 3, "checks": []}',
        '{"elsewhere": [3, null], "checks": {"a": {"hash": 3}}}',
        '{"checks": {"a": {"hash": "x", "when": "yesterday", "problems": []}}}',
    ],
)
def test_nonsense_is_left_out(tmp_path: Path, text: str) -> None:
    (tmp_path / "library.json").write_text(text)
    assert read_register(tmp_path) == Register()


def test_a_missing_or_huge_file(tmp_path: Path) -> None:
    assert read_register(tmp_path / "nowhere") == Register()
    (tmp_path / "library.json").write_text(json.dumps({"elsewhere": ["x" * 1000] * 5000}))
    assert read_register(tmp_path) == Register()


def test_outlines_of_odd_shapes_stay_small() -> None:
    rng = np.random.default_rng(3)
    lats, lons = rng.uniform(40, 41, 50_000), rng.uniform(179.5, 180.5, 50_000)
    lons = (lons + 180) % 360 - 180
    rings = outline(lats, lons, 10.0)
    assert 1 <= sum(map(len, rings)) <= MAX_POINTS
    everything = np.concatenate(rings)
    assert np.ptp(everything[:, 0]) < 1.1, "longitudes run on across 180 degrees"
    assert outline(np.zeros(0), np.zeros(0), 5.0) == []
    (one,) = outline(np.array([10.0]), np.array([20.0]), 50.0)
    assert len(one) == 5


def test_two_blocks_are_two_rings_and_a_hole_is_a_ring() -> None:
    lat, lon = np.meshgrid(np.arange(30) * 1e-3, np.arange(30) * 1e-3, indexing="ij")
    keep = np.ones((30, 30), bool)
    keep[10:20, 10:20] = False
    assert len(outline(lat[keep], lon[keep], 111.0)) == 2
    keep[:] = True
    keep[14:17] = False
    assert len(outline(lat[keep], lon[keep], 111.0)) == 2
