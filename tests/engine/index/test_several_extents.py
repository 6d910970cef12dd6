"""Several rows at every place: tiles of different sizes in one index."""

from __future__ import annotations

import numpy as np
import pytest

from engine.imagery import open_imagery
from engine.index import Index, build_index, verify_index
from engine.index.grid import Grid
from engine.index.references import GridReferences
from tests.engine.index.places import PIXELS, ProjectionEncoder, write_place

EXTENTS = (20.0, 32.7, 40.0)


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory):
    folder = tmp_path_factory.mktemp("several")
    with open_imagery(write_place(folder / "place.tif")) as source:
        index = build_index(
            folder / "a.index", source, ProjectionEncoder(), extent_m=(40.0, 20.0, 32.7)
        )
    with index:
        yield index


def test_every_place_has_a_row_for_each(index: Index) -> None:
    assert index.manifest.extents_m == EXTENTS
    assert index.manifest.extent_m == 20.0
    assert index.manifest.count == 3 * 441
    tiles = index.tiles(np.arange(9))
    assert [tile.extent_m for tile in tiles] == [*EXTENTS] * 3
    assert len({(tile.lat, tile.lon) for tile in tiles}) == 3
    assert index.extents[:4].tolist() == pytest.approx([20.0, 32.7, 40.0, 20.0])
    assert verify_index(index.path) == []


def test_each_row_is_a_cut_of_its_own_extent(index: Index) -> None:
    encoder = ProjectionEncoder()
    ids = np.arange(600, 630)
    pixels = np.stack([index.crop(int(i), PIXELS) for i in ids])
    vectors = encoder.encode_tiles(pixels)
    scores, found = index.search(vectors, 1)
    assert (found[:, 0] == ids).all()
    assert scores.min() > 0.98


def test_rows_can_be_loaded_from_anywhere(index: Index) -> None:
    """Any run of rows is what that run of all rows is, wherever it begins among a place's extents."""
    source = index.imagery
    grid = Grid(source.bounds, 8.0)
    rows = GridReferences(source, grid, EXTENTS, pixels=PIXELS)
    whole = rows.load(0, 60)
    assert whole.good.tolist() == list(range(60))
    lats, lons = rows.centres(0, 60)
    for first, last in ((0, 1), (1, 2), (2, 9), (7, 8), (13, 60)):
        loaded = rows.load(first, last)
        # What is read together with other tiles may be moved by an eighth of a pixel.
        assert np.abs(loaded.data.astype(int) - whole.data[first:last]).mean() < 2
        assert (rows.extents(first, last) == rows.extents(0, 60)[first:last]).all()
        assert (np.stack(rows.centres(first, last)) == np.stack([lats, lons])[:, first:last]).all()
