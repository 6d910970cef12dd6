"""Where rows lie, from mapped files: the same answers as measuring every row, on any part of the Earth."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from engine import geo
from engine.errors import IndexFolderError
from engine.geo import Bounds
from engine.index import FileFacts, ImageryFacts, Manifest, area_from_geojson
from engine.index.grid import Grid
from engine.index.mapped import MappedTiles

EXTENTS = (35.5, 70.7)


def _facts(count: int, extents: tuple[float, ...] = EXTENTS) -> Manifest:
    box = Bounds(-90.0, -180.0, 90.0, 180.0)
    names = ("a.tif", "b.tif")
    imagery = tuple(ImageryFacts(None, name, "0" * 64, "EPSG:4326", 0.2, box) for name in names)
    return Manifest(
        name="a",
        kind="aerial",
        encoder_name="e",
        encoder_hash="0" * 64,
        extents_m=extents,
        stride_m=20.0,
        tile_pixels=10,
        count=count,
        dimension=4,
        layout="exact",
        faiss_factory="SQfp16",
        coverage=box,
        imagery=imagery,
        files={"vectors.f16": FileFacts("0" * 64, 1)},
        plan_hash="0" * 64,
        made_by="test",
    )


def _write(folder: Path, lat: float, lon: float, *, mixed: bool) -> MappedTiles:
    frame = geo.LocalFrame(lat, lon)
    south, west = (float(v) for v in frame.to_wgs84(-1000, -700))
    north, east = (float(v) for v in frame.to_wgs84(1000, 700))
    grid = Grid(Bounds(south, west, north, east), 20.0)
    centres: NDArray[np.float64] = np.stack(grid.centres(0, grid.count), axis=1)
    rng = np.random.default_rng(1)
    if mixed:  # as of photos in no order
        rng.shuffle(centres)
    count = len(centres)
    centres.tofile(folder / "centres.f64")
    rng.choice(np.array(EXTENTS, np.float32), count).tofile(folder / "extents.f32")
    rng.integers(0, 2, count).astype(np.uint16).tofile(folder / "sources.u16")
    return MappedTiles(folder, _facts(count))


@pytest.mark.parametrize(
    ("lat", "lon", "mixed"),
    [(0.0, 9.0, False), (-48.87, 179.9999, True), (70.0, -180.0, False), (85.0, 0.0, False)],
)
def test_the_same_as_measuring_every_row(tmp_path: Path, lat: float, lon: float, mixed) -> None:
    tiles = _write(tmp_path, lat, lon, mixed=mixed)
    lats, lons = (np.asarray(v) for v in tiles.centres())
    rng = np.random.default_rng(2)
    asked = geo.LocalFrame(lat, lon).to_wgs84(*rng.uniform(-1100, 1100, (2, 10)))
    for radius in (0.5, 33.0, 250.0, 5000.0):
        for at_lat, at_lon in zip(*asked, strict=True):
            distance = geo.distance_m(at_lat, at_lon, lats, lons)
            found = tiles.near(float(at_lat), float(at_lon), radius)
            assert sorted(found) == np.flatnonzero(distance <= radius).tolist()
            assert (np.diff(distance[found]) >= 0).all()
        every = tiles.around(*asked, radius)
        for at_lat, at_lon, found in zip(*asked, every, strict=True):
            per_lat, per_lon = geo.metres_per_degree(at_lat)
            east = ((lons - at_lon + 180.0) % 360.0 - 180.0) * per_lon
            away = np.hypot(east, (lats - at_lat) * per_lat)
            assert found.tolist() == np.flatnonzero(away <= radius).tolist()
    for _ in range(6):
        corners = rng.uniform(-1000, 1000, (2, rng.integers(3, 9)))
        per_lat, per_lon = geo.metres_per_degree(lat)
        ring = np.stack([lon + corners[0] / per_lon, lat + corners[1] / per_lat], axis=1)
        area = area_from_geojson({"type": "Polygon", "coordinates": [ring.tolist()]})
        assert tiles.within(area).tolist() == np.flatnonzero(area.contains(lats, lons)).tolist()


def test_rows_of_an_extent_or_a_source(tmp_path: Path) -> None:
    tiles = _write(tmp_path, 48.0, 9.0, mixed=False)
    extents, sources = np.asarray(tiles.extents), np.asarray(tiles.sources)
    ids = np.arange(0, tiles.count, 37)
    for row, tile in zip(ids, tiles.tiles(ids), strict=True):
        assert tile.extent_m in EXTENTS  # as the manifest writes it, not as 32 bits
        assert tile.extent_m == pytest.approx(extents[row])
        assert tile.source == "ab"[sources[row]]
    wanted = np.flatnonzero((extents == np.float32(70.7)) & (sources == 1))
    assert tiles.having((70.7,), ("b",)).tolist() == wanted.tolist()
    assert len(tiles.having((), ())) == tiles.count
    assert len(tiles.having((12.0,), ())) == len(tiles.having((), ("c",))) == 0
    for wrong in (-1, tiles.count):
        with pytest.raises(IndexError):
            tiles.tiles([wrong])
    assert tiles.problem() == ""


@pytest.mark.parametrize("value", [np.nan, np.inf, 91.0, -1e300])
def test_positions_that_are_none(tmp_path: Path, value: float) -> None:
    tiles = _write(tmp_path, 48.0, 9.0, mixed=False)
    count = tiles.count
    tiles.close()
    centres = np.fromfile(tmp_path / "centres.f64").reshape(-1, 2)
    centres[7, 0] = value
    centres.tofile(tmp_path / "centres.f64")
    tiles = MappedTiles(tmp_path, _facts(count))
    for use in (
        lambda: tiles.near(48.0, 9.0, 10.0),
        lambda: tiles.tiles([7]),
        lambda: tiles.positions(np.array([7])),
    ):
        with pytest.raises(IndexFolderError, match="not on the Earth"):
            use()
    assert "not on the Earth" in tiles.problem()
    assert tiles.tiles([8])[0].id == 8


def test_sources_and_extents_that_the_manifest_does_not_know(tmp_path: Path) -> None:
    tiles = _write(tmp_path, 48.0, 9.0, mixed=False)
    sources = np.fromfile(tmp_path / "sources.u16", np.uint16)
    sources[3] = 2
    sources.tofile(tmp_path / "sources.u16")
    with pytest.raises(IndexFolderError, match=r"sources\.u16"):
        tiles.tiles([3])
    assert "imagery is not in the manifest" in tiles.problem()
    np.zeros_like(sources).tofile(tmp_path / "sources.u16")
    extents = np.fromfile(tmp_path / "extents.f32", np.float32)
    extents[3] = np.nan
    extents.tofile(tmp_path / "extents.f32")
    assert "extent is not one of the manifest's" in tiles.problem()
    with pytest.raises(IndexFolderError, match=r"centres\.f64"):
        MappedTiles(tmp_path, replace(_facts(tiles.count + 1), extents_m=(70.7,)))
