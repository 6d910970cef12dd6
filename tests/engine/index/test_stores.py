"""What every store of descriptors must do, files and Milvus alike: the same questions, the same answers."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from engine import geo
from engine.errors import Cancelled
from engine.imagery import open_imagery
from engine.imagery.geotiff import write_orthophoto
from engine.index import Area, Index, area_from_geojson, build_index
from engine.index.filters import Allowed, Filter
from tests.engine.index.places import LAT, LON, ProjectionEncoder

SIDE_M = 160.0


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Index]:
    """An index of 441 tiles; the western ones show the same grey, so that their descriptors are equal."""
    folder = tmp_path_factory.mktemp("stores")
    rng = np.random.default_rng(3)
    pixels = rng.integers(0, 256, (40, 40, 3), dtype=np.uint8).repeat(8, 0).repeat(8, 1)
    pixels[:, :150] = 128
    source = open_imagery(
        write_orthophoto(folder / "place.tif", pixels, LAT, LON, SIDE_M / 320, "Survey", "CC0")
    )
    with source, build_index(folder / "place.index", source, ProjectionEncoder()) as index:
        yield index


@pytest.fixture(scope="module")
def milvus(files: Index, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Index]:
    for package in ("pymilvus", "milvus_lite"):
        pytest.importorskip(package, reason=f"the optional package {package} is not installed")
    from engine.index.milvus_index import MilvusIndex
    from engine.index.milvus_upload import upload

    address = str(tmp_path_factory.mktemp("milvus") / "gallery.db")
    upload(files, address, "place").close()
    with MilvusIndex.connect(address, "place", ProjectionEncoder()) as index:
        yield index


@pytest.fixture(params=["files", "milvus"])
def gallery(request: pytest.FixtureRequest) -> Index:
    return request.getfixturevalue(request.param)


@pytest.fixture
def truth(files: Index) -> np.ndarray:
    return files.vectors(np.arange(files.manifest.count))


def queries_like(truth: np.ndarray, number: int = 24, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    rows = truth[rng.integers(0, len(truth), number)]
    return (rows + 0.05 * rng.standard_normal(rows.shape)).astype(np.float32)


def check(
    gallery: Index, truth: np.ndarray, queries: np.ndarray, k: int, wanted: Filter | Allowed
) -> None:
    """A search gives the best of exactly the tiles that may answer, best first, all that are asked for."""
    allowed = gallery.select(wanted) if isinstance(wanted, Filter) else wanted
    scores, ids = gallery.search(queries, k, allowed)
    may = allowed.ids
    width = min(k, len(may))
    assert scores.shape == ids.shape == (len(queries), width)
    assert scores.dtype == np.float32 and ids.dtype == np.int64
    if not width:
        return
    exact = queries.astype(np.float64) @ truth[may].astype(np.float64).T
    best = -np.sort(-exact, axis=1)[:, :width]
    assert np.abs(scores - best).max() < 1e-4
    assert np.isin(ids, may).all()
    assert all(len(set(row)) == width for row in ids.tolist())
    at = np.searchsorted(may, ids)
    assert np.abs(np.take_along_axis(exact, at, axis=1) - scores).max() < 1e-4
    assert (np.diff(scores, axis=1) <= 0).all()


@pytest.mark.parametrize("k", [1, 10, 440, 441, 5000])
def test_the_best_of_all(gallery: Index, truth: np.ndarray, k: int) -> None:
    check(gallery, truth, queries_like(truth), k, Filter())
    scores, ids = gallery.search(queries_like(truth), k)
    again = gallery.search(queries_like(truth), k, gallery.select(Filter()))
    assert (ids == again[1]).all() and (scores == again[0]).all()


def test_nothing_asked_nothing_given(gallery: Index) -> None:
    dimension = gallery.manifest.dimension
    for queries, k in ((np.zeros((0, dimension)), 5), (np.zeros((3, dimension)), 0)):
        scores, ids = gallery.search(queries.astype(np.float32), k)
        assert scores.shape == ids.shape and scores.size == 0 and len(ids) == len(queries)
    with pytest.raises(ValueError, match="queries must be"):
        gallery.search(np.zeros((1, dimension + 1), np.float32), 3)


def test_equal_scores_go_by_id(gallery: Index, truth: np.ndarray) -> None:
    _, group, counts = np.unique(truth, axis=0, return_inverse=True, return_counts=True)
    same = np.flatnonzero(group.ravel() == counts.argmax())
    assert len(same) > 30
    query = truth[same[:1]]
    for k in (1, 7, len(same)):
        _, ids = gallery.search(query, k)
        assert (ids[0] == same[:k]).all()
    odd = Allowed.of_ids(same[1::2], len(truth))
    assert (gallery.search(query, 30, odd)[1][0] == same[1::2][:30]).all()
    _, ids = gallery.search(np.zeros_like(truth[:2]), 20)
    assert (ids == np.arange(20)).all(), "a photo that shows nothing likes all tiles the same"


def rings(*metres: list[tuple[float, float]]) -> Area:
    """A polygon with holes, corners in metres east and north of the middle."""
    frame = geo.LocalFrame(LAT, LON)
    corners = [[list(map(float, reversed(frame.to_wgs84(*c)))) for c in ring] for ring in metres]
    return area_from_geojson({"type": "Polygon", "coordinates": [[*r, r[0]] for r in corners]})


SQUARE = [(-50.0, -44.0), (60.0, -50.0), (61.0, 30.0), (-30.0, 77.0)]
HOLE = [(-10.0, -10.0), (17.0, -5.0), (5.0, 20.0)]
FILTERS = {
    "an area": Filter(area=rings(SQUARE)),
    "an area with a hole": Filter(area=rings(SQUARE, HOLE)),
    "a circle": Filter(near=(LAT, LON, 40.0)),
    "a circle through tiles": Filter(near=(LAT, LON, 16.0)),
    "a circle of one": Filter(near=(LAT, LON, 2.0)),
    "a circle turned once round": Filter(near=(LAT, LON + 360.0, 40.0)),
    "an area and a circle": Filter(area=rings(SQUARE, HOLE), near=(LAT, LON, 45.0)),
    "all of an extent": Filter(extents_m=(40.0, 77.7)),
    "all of a source": Filter(sources=("place", "elsewhere")),
    "everything said": Filter(rings(SQUARE), (LAT, LON, 45.0), (40.0,), ("place",)),
    "another extent": Filter(extents_m=(39.99,)),
    "another source": Filter(sources=('place" or id >= 0 or source_key in [1', "\x00", "ü")),
    "far away": Filter(near=(-LAT, LON, 1000.0)),
    "all about": Filter(near=(LAT, LON, 1e6)),
}


@pytest.mark.parametrize("name", FILTERS)
def test_filters(gallery: Index, files: Index, truth: np.ndarray, name: str) -> None:
    """Ten results mean ten: exactly the tiles that a filter names answer, each of them if enough are asked for."""
    filter = FILTERS[name]
    lats, lons = files.centres
    wanted = np.ones(len(lats), np.bool_)
    if filter.area is not None:
        wanted &= filter.area.contains(lats, lons)
    if filter.near is not None:
        wanted &= geo.distance_m(*filter.near[:2], lats, lons) <= filter.near[2]
    if filter.extents_m:
        wanted &= np.isin(40.0, filter.extents_m)
    if filter.sources:
        wanted &= "place" in filter.sources
    allowed = gallery.select(filter)
    assert allowed.count == wanted.sum()
    assert (allowed.ids == np.flatnonzero(wanted)).all()
    assert (gallery.select(filter).contains([3, 220, 3]) == wanted[[3, 220, 3]]).all()
    for k in (10, 441):
        check(gallery, truth, queries_like(truth, 6), k, filter)


@pytest.mark.parametrize("share", [0.0, 0.003, 0.3, 0.97, 1.0])
def test_any_set_of_tiles(gallery: Index, truth: np.ndarray, share: float) -> None:
    mask = np.random.default_rng(5).random(len(truth)) < share
    mask[100:150] = share > 0  # a run
    check(gallery, truth, queries_like(truth, 6), 25, Allowed.of_mask(mask))
    with pytest.raises(ValueError):
        gallery.search(truth[:1], 3, Allowed.of_mask(mask[:-1]))


def test_tiles_by_id(gallery: Index, files: Index, truth: np.ndarray) -> None:
    ids = np.array([440, 3, 3, 0, 217])
    assert (gallery.vectors(ids) == truth[ids]).all()
    assert gallery.vectors([]).shape == (0, truth.shape[1])
    assert gallery.tiles(ids) == files.tiles(ids)
    assert gallery.tiles([]) == []
    for mine, theirs in zip(gallery.positions(ids), files.positions(ids), strict=True):
        assert (mine == theirs).all()
    for mine, theirs in zip(gallery.centres, files.centres, strict=True):
        assert (mine == theirs).all()
    for wrong in ([441], [-1], [0, 1 << 40]):
        with pytest.raises(IndexError, match="from 0 to 440"):
            gallery.vectors(wrong)
        with pytest.raises(IndexError, match="from 0 to 440"):
            gallery.tiles(wrong)


def test_tiles_by_place(gallery: Index, files: Index) -> None:
    for radius in (0.5, 8.1, 40.0, 1e5):
        assert (gallery.near(LAT, LON, radius) == files.near(LAT, LON, radius)).all()
    assert not len(gallery.near(0.0, 0.0, 1000.0))
    lats, lons = files.positions(np.array([0, 20, 220, 440]))
    mine, theirs = (index.around(lats, lons, 13.0) for index in (gallery, files))
    assert [row.tolist() for row in mine] == [row.tolist() for row in theirs]
    assert {len(row) for row in mine} == {4, 9}


def test_a_search_can_be_stopped(gallery: Index, truth: np.ndarray) -> None:
    def stop(done: int, total: int, text: str) -> None:
        raise Cancelled

    with pytest.raises(Cancelled):
        gallery.search(queries_like(truth, 8), 5, None, stop)
    check(gallery, truth, queries_like(truth, 8), 5, Filter())


def test_several_at_once_get_the_same(gallery: Index, truth: np.ndarray) -> None:
    queries = queries_like(truth, 16)
    alone = gallery.search(queries, 20, gallery.select(FILTERS["an area"]))
    answers: list[tuple[np.ndarray, np.ndarray]] = []

    def ask() -> None:
        answers.append(gallery.search(queries, 20, gallery.select(FILTERS["an area"])))

    threads = [threading.Thread(target=ask) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(answers) == 6
    assert all((a[0] == alone[0]).all() and (a[1] == alone[1]).all() for a in answers)


def test_one_alone_gets_what_it_gets_in_company(gallery: Index, truth: np.ndarray) -> None:
    queries = queries_like(truth, 40)
    _, together = gallery.search(queries, 15)
    one_by_one = np.concatenate([gallery.search(q[None], 15)[1] for q in queries])
    assert (together == one_by_one).mean() > 0.995, "sums in another order may round apart"


def test_where_it_is_kept_says_nothing_else(files: Index, milvus: Index, tmp_path: Path) -> None:
    assert milvus.hash == files.hash
    assert milvus.manifest == files.manifest
    assert milvus.coverage == files.coverage
