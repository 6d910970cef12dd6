"""Which tiles may answer, and indexes of several extents."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from engine.cli import main
from engine.geo import distance_m
from engine.imagery import open_imagery
from engine.index import Index, build_index
from engine.index.filters import Allowed, Filter
from engine.localize import Query, localize
from engine.localize.search import _neighbourhoods
from engine.photo.write import save_jpeg
from tests.engine.flat import STRIDE_M, Town, places


@pytest.fixture(scope="module")
def two(town: Town, tmp_path_factory: pytest.TempPathFactory):
    """The town's tiles at two extents, kept in lists, whose short lists are re-ranked."""
    folder = tmp_path_factory.mktemp("two")
    extent = town.index.manifest.extent_m
    with open_imagery(town.folder / "imagery.tif") as imagery:
        index = build_index(
            folder / "two.index",
            imagery,
            town.encoder,
            extent_m=(extent, 1.5 * extent),
            stride_m=STRIDE_M,
            layout="ivf-pq",
        )
    with index:
        yield index


def test_several_extents_are_one_candidate_a_place(town: Town, two) -> None:
    small, large = two.manifest.extents_m
    assert two.manifest.layout == "ivf-pq" and (two.extents == np.float32(large)).any()
    for place in places(3, seed=4):
        result = localize(Query(town.panorama(*place)), town.encoder, two)
        lat, lon = town.world.to_wgs84(place[0], place[1])
        best = result.best
        assert best is not None and distance_m(lat, lon, best.lat, best.lon) < 3 * STRIDE_M
        spots = {(c.tile_lat, c.tile_lon) for c in result.candidates}
        assert len(spots) == len(result.candidates)
        assert {c.extent_m for c in result.candidates} <= {small, large}


def test_only_tiles_of_one_extent_are_mixed(two: Index) -> None:
    small, large = two.manifest.extents_m
    lat, lon = two.manifest.coverage.centre
    near = two.near(lat, lon, 0.8 * STRIDE_M)
    assert {tile.extent_m for tile in two.tiles(near)} == {small, large}
    lats, lons = two.positions(near)
    queries = np.ones((1, two.manifest.dimension), np.float32)
    reach = np.full(len(near), 1.6 * STRIDE_M)
    around = _neighbourhoods(lats, lons, two, queries, near, None, reach)
    assert {len(each.east) for each in around} == {9}
    only = two.select(Filter(extents_m=(large,)))
    some = near[only.contains(near)]
    lats, lons = two.positions(some)
    first = _neighbourhoods(lats, lons, two, queries, some, only, reach[: len(some)])[0]
    assert len(first.east) == 9


def test_filters_by_extent_and_distance(town: Town, two) -> None:
    _, large = two.manifest.extents_m
    east, south, heading = places(1, seed=4)[0]
    lat, lon = town.world.to_wgs84(east, south)
    wanted = Filter(near=(lat, lon, 30.0), extents_m=(large,))
    result = localize(Query(town.panorama(east, south, heading), filter=wanted), town.encoder, two)
    assert result.plan.tiles == two.select(wanted).count > 20
    assert {c.extent_m for c in result.candidates} == {large}
    assert all(distance_m(lat, lon, c.tile_lat, c.tile_lon) <= 30 for c in result.candidates)
    assert result.timings.search_run <= result.timings.search <= result.timings.total
    everything = localize(
        Query(town.panorama(east, south, heading), filter=Filter()), town.encoder, two
    )
    assert everything.plan.tiles == two.manifest.count


def test_on_the_command_line(
    town: Town, two, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    east, south, heading = places(1, seed=4)[0]
    lat, lon = town.world.to_wgs84(east, south)
    photo = tmp_path / "p.jpg"
    save_jpeg(photo, town.panorama(east, south, heading).pixels, 92)
    common = ["localize", str(photo), "--index", str(two.path), "--format", "json"]
    common += ["--encoder", str(town.folder / "linear.encoder"), f"--near={lat},{lon},40"]
    large = two.manifest.extents_m[1]
    assert main([*common, "--tile-extent-m", f"{large:.1f}"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["plan"]["tiles"] == two.select(Filter(None, (lat, lon, 40.0), (large,))).count
    for wrong, word in (
        (("--source", "nowhere"), "--source may be: "),
        (("--tile-extent-m", "7"), "--tile-extent-m may be: "),
    ):
        assert main([*common, *wrong]) == 1
        told = capsys.readouterr()
        assert told.out == "" and word in told.err
    for wrong in ("1,2", "91,0,5", "0,0,-5", "a,b,c", "nan,0,5"):
        with pytest.raises(SystemExit):
            main(["localize", str(photo), f"--near={wrong}"])
        capsys.readouterr()


def test_filters_that_make_no_sense() -> None:
    for near in ((91.0, 0.0, 5.0), (0.0, 0.0, -1.0), (float("nan"), 0.0, 5.0)):
        with pytest.raises(ValueError, match="near is"):
            Filter(near=near)
    with pytest.raises(IndexError, match="from 0 to 8"):
        Allowed.of_ids([9], 9)
    asked: list[int] = []

    def resolve() -> np.ndarray:
        asked.append(1)
        return np.array([True, False, True])

    allowed = Allowed(3, resolve, Filter())
    assert not asked
    assert allowed.count == 2 and allowed.ids.tolist() == [0, 2]
    assert allowed.contains([2, 1]).tolist() == [True, False] and len(asked) == 1
    assert allowed.bitmap.tolist() == [5]
