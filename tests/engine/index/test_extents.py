"""Tiles of several extents read together: what the encoder is given, and what of it the index keeps."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from engine.errors import Cancelled
from engine.imagery import open_imagery
from engine.index import Index, build_index, job, verify_index
from engine.index.plan import Plan
from tests.engine.index.places import (
    EXTENT,
    LAT,
    LON,
    PIXELS,
    Branches,
    ProjectionEncoder,
    Reference,
    write_place,
)

EXTENTS = (EXTENT, 2 * EXTENT, 0.5 * EXTENT)


class ThreeExtents(ProjectionEncoder):
    """The mean of the projections of three cuts, and a record of what was asked for."""

    def __init__(self) -> None:
        super().__init__("three extents")
        self.card = replace(self.card, tile_extents_m=EXTENTS)
        self.given: list[np.ndarray] = []

    def encode_tiles(self, tiles: np.ndarray) -> np.ndarray:
        self.given.append(tiles)
        vectors = sum(super(ThreeExtents, self).encode_tiles(tiles[:, i]) for i in range(3))
        assert isinstance(vectors, np.ndarray)
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_place(tmp_path_factory.mktemp("extents") / "place.tif")


def test_every_tile_comes_with_all_its_cuts(place: Path, tmp_path: Path):
    encoder = ThreeExtents()
    with open_imagery(place) as source, build_index(tmp_path / "a.index", source, encoder) as index:
        tiles = np.concatenate(encoder.given)
        assert tiles.shape == (index.manifest.count, 3, PIXELS, PIXELS, 3)
        assert index.manifest.extent_m == 0.5 * EXTENT
        for tile_id in (0, 100, index.manifest.count - 1):
            for number, extent in enumerate(EXTENTS):
                cut = index.crop(tile_id, PIXELS, extent_m=extent)
                assert np.abs(cut.astype(int) - tiles[tile_id, number]).mean() < 2
            assert np.array_equal(
                index.crop(tile_id, PIXELS), index.crop(tile_id, PIXELS, extent_m=EXTENT / 2)
            )
        # Places are kept by the nearest of the cuts, which are there to a quarter at every place of the grid.
        assert index.manifest.count == 441
        vectors = index.vectors(np.arange(10))
        assert np.abs(vectors - encoder.encode_tiles(tiles[:10])).max() < 0.02
        assert verify_index(index.path) == []


def test_another_extent_moves_all_of_them(place: Path, tmp_path: Path):
    encoder = ThreeExtents()
    with (
        open_imagery(place) as source,
        build_index(tmp_path / "a.index", source, encoder, extent_m=10.0, stride_m=40.0) as index,
    ):
        assert index.manifest.extent_m == 10.0
        middle = int(np.argmin(np.abs(index.centres[0] - LAT) + np.abs(index.centres[1] - LON)))
        tiles = np.concatenate(encoder.given)
        for number, extent in enumerate((20.0, 40.0, 10.0)):
            cut = source.cut(LAT, LON, extent, PIXELS)[0]
            assert np.abs(cut.astype(int) - tiles[middle, number]).mean() < 2


@pytest.mark.parametrize("missing", [0, 255])
def test_what_lies_beyond_the_imagery_is_what_the_card_says(
    place: Path, tmp_path: Path, missing: int
):
    encoder = ThreeExtents()
    encoder.card = replace(encoder.card, branches=Branches(Reference(missing_value=missing)))
    with (
        open_imagery(place) as source,
        build_index(tmp_path / "a.index", source, encoder, stride_m=40.0) as index,
    ):
        tiles = np.concatenate(encoder.given)
        north_west = int(np.argmax(index.centres[0] - index.centres[1]))
        # 160 m of imagery: the place at its corner has a quarter of every cut, whatever the extent.
        for number, extent in enumerate(EXTENTS):
            cut = tiles[north_west, number]
            assert (cut[: PIXELS // 2 - 1] == missing).all()
            assert (cut[PIXELS // 2 + 1 :, PIXELS // 2 + 1 :] != missing).any(axis=2).all()
            shown = index.crop(north_west, PIXELS, extent_m=extent, missing=missing)
            assert np.abs(shown.astype(int) - cut).mean() < 2


def test_a_begun_build_goes_on(place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(job, "_CHUNK_BYTES", 64 * 9 * PIXELS * PIXELS)
    out = tmp_path / "a.index"

    def stop(done: int, total: int, text: str) -> None:
        if done > total // 2:
            raise Cancelled

    with open_imagery(place) as source:
        with pytest.raises(Cancelled):
            build_index(out, source, ThreeExtents(), report=stop)
        encoder = ThreeExtents()
        build_index(out, source, encoder).close()
        assert 0 < sum(len(given) for given in encoder.given) < 441
        whole = build_index(tmp_path / "b.index", source, ThreeExtents())
    with whole, Index.open(out) as index:
        assert np.array_equal(index.vectors(np.arange(441)), whole.vectors(np.arange(441)))


def test_plans_of_one_extent_keep_their_hash():
    """What was built before tiles had several extents is still recognised as built."""
    plan = Plan(
        name="",
        encoder_name="",
        encoder_hash="",
        dimension=1,
        tile_pixels=1,
        imagery_name="",
        imagery_fingerprint="",
        extent_m=1.0,
        stride_m=1.0,
        area_hash="",
        minimum_valid=0.5,
        embed_imagery=True,
        attribution="",
        licence="",
        places=1,
        chunk=1,
        made_by="",
    )
    assert plan.hash == "d0f0007492c92820e07129ab9ae12ac3177267c1648fdbfd5d276d3bb77e9ae0"
    assert replace(plan, extents_m=(1.0, 2.0)).hash != plan.hash
