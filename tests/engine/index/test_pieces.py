"""Imagery in pieces that lie far apart: only their ground is counted, gone through, and copied."""

from __future__ import annotations

import json
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from engine import geo
from engine.errors import Cancelled, ImageryError
from engine.geo import Bounds
from engine.imagery import open_imagery
from engine.imagery.geotiff import write_orthophoto
from engine.index import (
    Area,
    Index,
    Shard,
    area_from_geojson,
    build_index,
    build_shard,
    merge_shards,
    verify_index,
)
from engine.index import job as jobs
from engine.index.estimate import estimate_build
from engine.index.facts import FACTS_FILE
from engine.index.grid import Grid
from engine.index.job import Settings, make_job
from engine.index.pieces import MOST_PIECES, PieceGrids, pieces_of
from engine.index.shards import BUILDING
from tests.engine.index.places import STRIDE, ProjectionEncoder, contents

HERE = (52.0, 9.0)
PLACES = {"a": HERE, "b": (39.0, -104.8), "c": (-17.0, 179.9999)}


def _write(path: Path, lat: float, lon: float, size: int = 200, resolution_m: float = 0.5) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(round(abs(lat * 1000 + lon)))
    cells = rng.integers(0, 256, (size // 8, size // 8, 3), dtype=np.uint8)
    pixels = np.kron(cells, np.ones((8, 8, 1), np.uint8))
    return write_orthophoto(path, pixels, lat, lon, resolution_m, f"Survey {path.stem}")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three pieces on three continents, one of them across the 180th meridian."""
    folder = tmp_path_factory.mktemp("pieces") / "surveys"
    for name, (lat, lon) in PLACES.items():
        _write(folder / f"{name}.tif", lat, lon)
    return folder


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs, "_CHUNK_BYTES", 32 * 3 * 32 * 32)


class _Boxes:
    """As much of a source as pieces are found from."""

    def __init__(self, *boxes: tuple[float, float, float, float]) -> None:
        self._boxes = [Bounds(*box) for box in boxes]
        self.bounds = Bounds(-80.0, -179.0, 80.0, 179.0)

    def boxes(self) -> list[Bounds]:
        return self._boxes


def _pieces(apart_m: float, *boxes: tuple[float, float, float, float]) -> tuple[Bounds, ...]:
    return pieces_of(_Boxes(*boxes), apart_m)  # pyright: ignore[reportArgumentType]


def _build(path: Path, out: Path, **more) -> Path:
    with open_imagery(path) as source:
        build_index(out, source, ProjectionEncoder(), **more).close()
    return out


def test_every_piece_has_the_rows_that_it_has_alone(folder: Path, tmp_path: Path) -> None:
    together = Index.open(_build(folder, tmp_path / "all.index"))
    with together:
        lats, lons = together.centres
        sources = np.asarray(together.sources)
        assert [len(set(sources)), list(np.unique(sources))] == [3, [0, 1, 2]]
        # From north to south.
        for number, name in enumerate("abc"):
            alone = Index.open(_build(folder / f"{name}.tif", tmp_path / f"{name}.index"))
            with alone:
                mine = np.flatnonzero(sources == number)
                # A file's box in a folder is measured at fewer points: a difference of a micrometre.
                assert np.allclose(lats[mine], alone.centres[0], rtol=0, atol=1e-9)
                assert np.allclose(lons[mine], alone.centres[1], rtol=0, atol=1e-9)
                ids = np.arange(len(mine))
                shown = together.crop(int(mine[7]), 32).astype(int)
                assert np.abs(shown - alone.crop(7, 32)).mean() < 2  # written as JPEG anew
                likeness = (together.vectors(mine) * alone.vectors(ids)).sum(axis=1)
                assert likeness.min() > 0.999
        box = together.manifest.imagery[2].bounds
        assert box.width_deg < 0.01 and box.contains(-17.0, -179.9999)
        assert together.manifest.attribution == "Survey c; Survey b; Survey a"
    assert verify_index(tmp_path / "all.index") == []
    held = sum(path.stat().st_size for path in (tmp_path / "all.index").glob("imagery*.tif"))
    assert held < 400_000


def test_what_is_foreseen_is_what_is_built(folder: Path, tmp_path: Path) -> None:
    with open_imagery(folder) as source:
        foreseen = estimate_build(source, ProjectionEncoder())
        job = make_job("a", source, ProjectionEncoder(), Settings())
    assert foreseen.places == job.plan.places == 3 * 13 * 13
    with Index.open(_build(folder, tmp_path / "a.index")) as index:
        assert index.manifest.count == foreseen.places
    assert foreseen.bytes < 2_000_000


def test_stopped_and_gone_on_with_or_in_shares_it_is_the_same(folder: Path, tmp_path: Path) -> None:
    whole = contents(_build(folder, tmp_path / "whole" / "a.index"))
    for limit in (2, 4, 7, 12, 20):
        calls = 0

        def stop(done: int, total: int, text: str, limit: int = limit) -> None:
            nonlocal calls
            calls += 1
            if calls > limit:
                raise Cancelled

        with pytest.raises(Cancelled):
            _build(folder, tmp_path / "stopped" / "a.index", report=stop)
    _build(folder, tmp_path / "stopped" / "a.index")
    assert contents(tmp_path / "stopped" / "a.index") == whole
    shares: list[Path] = []
    for number in (1, 2, 3):
        shares.append(tmp_path / f"{number}.share")
        with open_imagery(folder) as source:
            shard = Shard(number, 3)
            build_shard(shares[-1], source, ProjectionEncoder(), shard, Settings())
    merge_shards(tmp_path / "shared" / "a.index", shares).close()
    assert contents(tmp_path / "shared" / "a.index") == whole


def test_a_share_names_no_other_file_as_its_imagery(folder: Path, tmp_path: Path) -> None:
    with open_imagery(folder) as source:
        build_shard(tmp_path / "1.share", source, ProjectionEncoder(), Shard(1, 1), Settings())
    file = tmp_path / "1.share" / BUILDING / FACTS_FILE
    raw = json.loads(file.read_bytes())
    raw["imagery"][1]["file"] = "plan.json"
    file.write_text(json.dumps(raw))
    with pytest.raises(Exception, match="no share of an index"):
        merge_shards(tmp_path / "a.index", [tmp_path / "1.share"])


def test_without_a_copy_it_is_one_imagery(folder: Path, tmp_path: Path) -> None:
    out = _build(folder, folder.parent / "beside.index", embed_imagery=False)
    with Index.open(out) as index:
        assert len(index.manifest.imagery) == 1 and index.manifest.count == 3 * 13 * 13
        assert index.crop(0, 32).any()


def test_an_area_takes_pieces_or_parts_of_them(folder: Path, tmp_path: Path) -> None:
    lat, lon = PLACES["b"]
    ring = [[lon + x, lat + y] for x, y in ((-1, -1), (0, -1), (0, 1), (-1, 1))]
    area: Area = area_from_geojson({"type": "Polygon", "coordinates": [ring]})
    with open_imagery(folder) as source:
        job = make_job("a", source, ProjectionEncoder(), Settings(area=area))
        assert len(job.facts.imagery) == len(job.copied_boxes()) == 1
        lats, lons = job.references(source).centres(0, job.plan.places)
    assert 0 < job.plan.places < 13 * 13
    assert np.abs(lats - lat).max() < 0.01 and lons.max() <= lon


def test_imagery_in_one_piece_keeps_its_lattice(tmp_path: Path) -> None:
    """Side by side, and with less than a block of tiles between them, two files are one box."""
    for number, east in enumerate((0.0, 100.0, 300.0)):
        lat, lon = (float(v) for v in geo.LocalFrame(*HERE).to_wgs84(east, 0.0))
        _write(tmp_path / "near" / f"{number}.tif", lat, lon)
    with open_imagery(tmp_path / "near") as source:
        assert pieces_of(source, 32 * STRIDE) == (source.bounds,)
        job = make_job("a", source, ProjectionEncoder(), Settings())
        expected = Grid(source.bounds, STRIDE)
        places = job.references(source).centres(0, job.plan.places)
        assert (np.stack(places) == np.stack(expected.centres(0, expected.count))).all()
        assert job.facts.ends == () and len(job.facts.imagery) == 1


def test_map_tiles_of_two_towns_are_two_pieces(tmp_path: Path) -> None:
    """One of them across the 180th meridian, where columns begin anew."""
    last = (1 << 18) - 1
    for columns, row in (((last, 0), 143_000), ((140_000, 140_001), 90_000)):
        for column in columns:
            folder = tmp_path / "tiles" / "18" / str(column)
            folder.mkdir(parents=True)
            shade = (column % 200 + 20, row % 200, 90)
            Image.new("RGB", (256, 256), shade).save(folder / f"{row}.png")
            Image.new("RGB", (256, 256), shade[::-1]).save(folder / f"{row + 1}.png")
    with open_imagery(tmp_path / "tiles") as source:
        north, south = pieces_of(source, 32 * STRIDE)
        assert north.south > 0 > south.north
        assert south.width_deg < 0.003 and south.contains(south.centre[0], 180.0)
        assert sum(box.width_deg for box in (north, south)) < 0.006
        job = make_job("a", source, ProjectionEncoder(), Settings())
        assert job.plan.places < 3000
    _build(tmp_path / "tiles", tmp_path / "a.index")
    with Index.open(tmp_path / "a.index") as index:
        lats, lons = index.centres
        assert index.manifest.count > 0.8 * job.plan.places
        assert (np.asarray(index.sources) == (np.asarray(lats) < 0)).all()
        assert np.asarray(lons)[np.asarray(lats) < 0].min() < -179.99


def test_where_pieces_are_parted() -> None:
    one, two = (10.0, 20.0, 10.1, 20.1), (10.0, 20.2, 10.1, 20.3)
    assert len(_pieces(20_000.0, one, two)) == 1
    assert _pieces(5_000.0, two, one) == (Bounds(*one), Bounds(*two))
    # Across the meridian they are neighbours.
    assert len(_pieces(20_000.0, (0.0, 179.9, 1.0, 180.0), (0.0, -180.0, 1.0, -179.9))) == 1
    assert len(_pieces(20_000.0, (0.0, 179.0, 1.0, 179.2), (0.0, -179.0, 1.0, -178.0))) == 2
    # What reaches around the Earth is parted by parallels alone.
    around = (0.0, -180.0, 1.0, 180.0)
    assert len(_pieces(1000.0, around, (0.5, 5.0, 0.6, 5.1), (8.0, 5.0, 8.1, 5.1))) == 2


def test_tiles_of_two_pieces_share_no_ground() -> None:
    """Boxes are farther apart than tiles reach, whatever the stride."""
    lat, lon = HERE
    size, gap = 0.01, 0.02
    near = (lat, lon, lat + size, lon + size), (lat, lon + gap, lat + size, lon + gap + size)
    apart_m = float(geo.distance_m(lat, lon + size, lat, lon + gap))
    assert len(_pieces(0.9 * apart_m, *near)) == 2
    assert len(_pieces(1.1 * apart_m, *near)) == 1


def test_a_thousand_pieces_are_taken_together_and_take_little_memory() -> None:
    rng = np.random.default_rng(4)
    corners = rng.uniform((-60, -179), (60, 178), (1000, 2))
    boxes = [(lat, lon, lat + 0.01, lon + 0.01) for lat, lon in corners.tolist()]
    tracemalloc.start()
    found = _pieces(100.0, *boxes)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert 1 <= len(found) <= MOST_PIECES and peak < 5e6
    for south, west, north, east in boxes[::20]:
        box = Bounds(south, west, north, east)
        assert sum(o.contains(*box.centre) for o in found) == 1 or len(found) == 1


def test_runs_go_over_the_ends_of_pieces() -> None:
    grids = [Grid(Bounds(lat, 9.0, lat + 0.002, 9.002), 20.0) for lat in (50.0, 40.0, 30.0)]
    places = PieceGrids(grids)
    whole = np.concatenate([np.stack(grid.centres(0, grid.count)) for grid in grids], axis=1)
    assert places.count == places.ends[-1] == whole.shape[1]
    for first, last in ((0, 5), (places.ends[0] - 3, places.ends[1] + 2), (0, places.count)):
        assert (np.stack(places.centres(first, last)) == whole[:, first:last]).all()
    assert places.centres(4, 4)[0].shape == (0,)
    with pytest.raises(IndexError):
        places.centres(0, places.count + 1)


def test_pixels_larger_than_a_tile_are_told_before_the_count(tmp_path: Path) -> None:
    path = _write(tmp_path / "world.tif", 48.0, 9.0, size=64, resolution_m=2500.0)
    with (
        open_imagery(path) as source,
        pytest.raises(
            ImageryError, match=r"world.*one shows 2.5 km of ground, and a tile only 40 m"
        ),
    ):
        make_job("a", source, ProjectionEncoder(), Settings())
