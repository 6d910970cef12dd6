"""Indexes put together: shares of one build, indexes of different areas, and area added to an index."""

from __future__ import annotations

import os
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from engine import geo
from engine.encoder import open_encoder
from engine.errors import Cancelled, IndexFolderError
from engine.imagery import open_imagery, open_source
from engine.imagery.geotiff import write_orthophoto
from engine.index import (
    Index,
    Shard,
    add_to_index,
    area_from_geojson,
    build_index,
    build_shard,
    job,
    merge_indexes,
    merge_shards,
    parts,
    verify_index,
)
from engine.index.job import Settings
from tests.engine.index.places import (
    DIMENSION,
    LAT,
    LON,
    PIXELS,
    STRIDE,
    ProjectionEncoder,
    contents,
    write_place,
)
from tests.engine.index.test_pictures_index import write_photos
from tests.street_encoder import save_street_encoder

FRAME = geo.LocalFrame(LAT, LON)


@pytest.fixture(autouse=True, scope="module")
def small_chunks():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(job, "_CHUNK_BYTES", 32 * 3 * PIXELS * PIXELS)
        patch.setattr(parts, "_SEGMENT_BYTES", 3 * 32 * 2 * DIMENSION)
        yield


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_place(tmp_path_factory.mktemp("merging") / "place.tif")


def _box(west: float, south: float, east: float, north: float):
    corners = [(west, south), (east, south), (east, north), (west, north), (west, south)]
    ring = [[float(v) for v in reversed(FRAME.to_wgs84(*c))] for c in corners]
    return area_from_geojson({"type": "Polygon", "coordinates": [ring]})


def _build(path: Path, out: Path, **more) -> Path:
    with open_imagery(path) as source:
        build_index(out, source, ProjectionEncoder(), **more).close()
    return out


def _shard(path: Path, out: Path, number: int, of: int, **more) -> Path:
    settings = more.pop("settings", Settings())
    with open_imagery(path) as source:
        build_shard(out, source, ProjectionEncoder(), Shard(number, of), settings, **more)
    return out


@pytest.mark.parametrize("of", [1, 2, 3, 17])
@pytest.mark.parametrize("extents", [None, (20.0, 40.0)])
def test_shares_make_the_index_that_one_build_makes(place, tmp_path: Path, of, extents) -> None:
    settings = Settings(extents_m=extents)
    whole = _build(place, tmp_path / "whole" / "a.index", extent_m=extents)
    shares = [
        _shard(place, tmp_path / f"{n}.share", n, of, settings=settings) for n in range(1, of + 1)
    ]
    merge_shards(tmp_path / "a.index", shares[::-1]).close()
    assert contents(tmp_path / "a.index") == contents(whole)
    assert verify_index(tmp_path / "a.index") == []


def test_a_share_goes_on_and_is_no_index(place, tmp_path: Path) -> None:
    out = tmp_path / "1.share"

    def stop(done: int, total: int, text: str) -> None:
        if done > 500:
            raise Cancelled

    with pytest.raises(Cancelled):
        _shard(place, out, 1, 2, report=stop)
    other = _shard(place, tmp_path / "2.share", 2, 2)
    with pytest.raises(
        IndexFolderError, match=r"share 1/2 is not finished.*index build .*1.share --resume"
    ):
        merge_shards(tmp_path / "a.index", [out, other])
    with pytest.raises(IndexFolderError, match=r"share of an index.*nadir index merge"):
        Index.open(out)
    with pytest.raises(IndexFolderError, match="share 1/2 was begun here"):
        _shard(place, out, 2, 2)
    with pytest.raises(IndexFolderError, match="a share of an index was begun here"):
        _build(place, out)
    _shard(place, out, 1, 2)
    merge_shards(tmp_path / "whole" / "a.index", [out, other]).close()
    assert contents(tmp_path / "whole" / "a.index") == contents(_build(place, tmp_path / "a.index"))


def test_shares_that_do_not_go_together(place, tmp_path: Path) -> None:
    one = _shard(place, tmp_path / "1.share", 1, 2)
    two = _shard(place, tmp_path / "2.share", 2, 2)
    other = _shard(place, tmp_path / "o.share", 2, 2, settings=Settings(stride_m=9.0))
    out = tmp_path / "a.index"
    for shares, message in (
        ([one], "share 2/2 is missing"),
        ([one, one], "share 2/2 is missing"),
        ([one, two, two], "a share is given twice"),
        ([one, other], "o.share: this is a share of another build"),
        ([one, tmp_path], "no share of an index"),
    ):
        with pytest.raises(IndexFolderError, match=message):
            merge_shards(out, shares)
        assert not out.exists()
    piece = next((two / "building" / "parts").glob("*.part"))
    spoilt = bytearray(piece.read_bytes())
    spoilt[50] ^= 1
    piece.write_bytes(spoilt)
    with pytest.raises(IndexFolderError, match=r"2\.share: .*damaged and was removed"):
        merge_shards(out, [one, two])
    _shard(place, two, 2, 2)
    merge_shards(out, [one, two]).close()
    with pytest.raises(IndexFolderError, match="too few for 19 shares"):
        _shard(place, tmp_path / "x.share", 1, 19)


@pytest.fixture(scope="module")
def halves(place: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Two areas that share a belt of 20 m."""
    folder = tmp_path_factory.mktemp("halves")
    west = _build(place, folder / "west.index", area=_box(-80, -80, 10, 80), attribution="West")
    east = _build(place, folder / "east.index", area=_box(-10, -80, 80, 80), attribution="East")
    return west, east


def test_places_that_both_have_are_kept_once(halves, tmp_path: Path) -> None:
    with (
        merge_indexes(tmp_path / "m.index", halves) as merged,
        Index.open(halves[0]) as west,
        Index.open(halves[1]) as east,
    ):
        assert verify_index(merged.path) == []
        count = west.manifest.count
        assert count < merged.manifest.count < count + east.manifest.count
        lats, lons = (np.asarray(v) for v in merged.centres)
        points = np.stack(FRAME.to_local(lats, lons), axis=1)
        distance = np.linalg.norm(points[:, None] - points[None], axis=2)
        np.fill_diagonal(distance, np.inf)
        # No place is there twice, and none is missing: as dense as one grid.
        assert distance.min() > 0.7 * STRIDE
        everywhere = np.stack(np.meshgrid(np.arange(-75, 76, 3), np.arange(-75, 76, 3)), -1)
        gaps = np.linalg.norm(everywhere.reshape(-1, 1, 2) - points[None], axis=2).min(axis=1)
        assert gaps.max() < 1.45 * STRIDE
        # The first keeps all of its own; the second only what lies beyond it.
        assert (merged.vectors(np.arange(count)) == west.vectors(np.arange(count))).all()
        assert (merged.sources[:count] == 0).all()
        assert (merged.sources[count:] == 1).all()
        assert [facts.attribution for facts in merged.manifest.imagery] == ["West", "East"]
        assert merged.manifest.attribution == "West; East"
        assert any("left out: they were there already" in note for note in merged.manifest.notes)
        for number, index in ((0, west), (1, east)):
            row = int(np.flatnonzero(merged.sources == number)[-1])
            tile = merged.tiles([row])[0]
            near = int(index.near(tile.lat, tile.lon, 0.1)[0])
            assert (merged.crop(row, PIXELS) == index.crop(near, PIXELS)).all()
        ids = np.arange(0, merged.manifest.count, 7)
        shown = np.stack([merged.crop(int(i), PIXELS) for i in ids])
        assert (merged.search(ProjectionEncoder().encode_tiles(shown), 1)[1][:, 0] == ids).all()
        assert merged.imagery.cut(LAT, LON, 60.0, 32)[1] == 1


def test_merged_with_itself_it_is_itself(halves, tmp_path: Path) -> None:
    with (
        merge_indexes(tmp_path / "m.index", [halves[0], halves[0]]) as merged,
        Index.open(halves[0]) as west,
    ):
        assert merged.manifest.count == west.manifest.count
        assert len(merged.manifest.imagery) == 1
        ids = np.arange(west.manifest.count)
        assert np.abs(merged.vectors(ids) - west.vectors(ids)).max() < 0.003
        assert (np.stack(merged.centres) == np.stack(west.centres)).all()


def test_indexes_that_do_not_go_together(place, halves, tmp_path: Path) -> None:
    with open_imagery(place) as source:
        build_index(tmp_path / "o.index", source, ProjectionEncoder("others")).close()
    out = tmp_path / "m.index"
    with pytest.raises(
        IndexFolderError, match=r"o\.index: .*encoder others .*not with projections"
    ):
        merge_indexes(out, [halves[0], tmp_path / "o.index"])
    with pytest.raises(IndexFolderError, match="no such index"):
        merge_indexes(out, [halves[0], tmp_path / "missing.index"])
    assert not out.exists()
    with pytest.raises(IndexFolderError, match="there is an index here already"):
        merge_indexes(halves[1], [halves[0], tmp_path / "o.index"])


@pytest.fixture
def town(tmp_path: Path) -> tuple[Path, Path]:
    """An index, and imagery of the ground to its east."""
    index = _build(write_place(tmp_path / "town.tif"), tmp_path / "town.index")
    rng = np.random.default_rng(7)
    pixels = np.kron(rng.integers(0, 256, (40, 40, 3)), np.ones((8, 8, 1))).astype(np.uint8)
    lat, lon = FRAME.to_wgs84(120.0, 0.0)
    more = write_orthophoto(tmp_path / "more.tif", pixels, lat, lon, 0.5, "Another survey", "CC-BY")
    return index, more


def _add(index: Path, imagery: Path, **options) -> int:
    with open_imagery(imagery) as source:
        return add_to_index(index, source, ProjectionEncoder(), **options)


def test_area_is_added(town) -> None:
    path, more = town
    with Index.open(path) as index:
        before = index.manifest
        vectors = index.vectors(np.arange(before.count))
    added = _add(path, more)
    assert 0 < added < 441
    assert verify_index(path) == []
    with Index.open(path) as index:
        manifest = index.manifest
        assert manifest.count == before.count + added
        assert manifest.folder == "generation-2"
        assert sorted(p.name for p in path.iterdir()) == ["generation-2", "manifest.json"]
        assert [facts.attribution for facts in manifest.imagery] == [
            "Test survey",
            "Another survey",
        ]
        assert manifest.licence == "CC0; CC-BY"
        assert np.abs(index.vectors(np.arange(before.count)) - vectors).max() < 0.003
        found = index.near(*FRAME.to_wgs84(160.0, 0.0), 6.0)
        assert (index.sources[found] == 1).all()
        assert index.crop(int(found[0]), 16).any()
    # All of it is there already.
    assert _add(path, more) == 0
    assert verify_index(path) == []
    with open_imagery(more) as source, pytest.raises(IndexFolderError, match="encoder projections"):
        add_to_index(path, source, ProjectionEncoder("others"))


def test_an_addition_stopped_anywhere_is_the_old_index_or_the_new(
    town, tmp_path: Path, monkeypatch
) -> None:
    """Renames, links and unlinks of an addition are moments at which it is stopped; every fourth of them is."""
    _, more = town
    path, keep = tmp_path / "small.index", tmp_path / "keep.index"
    _build(tmp_path / "town.tif", keep, stride_m=40.0)
    shutil.copytree(keep, path)
    with Index.open(path) as index:
        old = index.hash
    _add(path, more)
    with Index.open(path) as index:
        new = index.hash
    seen: set[str] = set()
    for stop_at in range(1, 200, 4):
        shutil.rmtree(path)
        shutil.copytree(keep, path)
        calls = 0

        def counted(real, stop_at=stop_at):
            def call(*args, **options):
                nonlocal calls
                calls += 1
                if calls == stop_at:
                    raise KeyboardInterrupt
                return real(*args, **options)

            return call

        with monkeypatch.context() as patch:
            for name in ("replace", "link", "unlink", "rename", "mkdir", "rmdir"):
                patch.setattr(os, name, counted(getattr(os, name)))
            try:
                _add(path, more)
                finished = True
            except KeyboardInterrupt:
                finished = False
        with Index.open(path) as index:
            assert index.hash in (old, new)
            seen.add(index.hash)
            assert index.crop(0, 16).any()
        if finished:
            break
        _add(path, more)
        with Index.open(path) as index:
            assert index.hash == new
        assert verify_index(path) == []
    else:
        pytest.fail("it never finished")
    assert seen == {old, new}
    assert stop_at > 15


def test_another_addition_is_not_mistaken_for_it(town) -> None:
    path, more = town

    def stop(done: int, total: int, text: str) -> None:
        if done > 500:
            raise Cancelled

    with pytest.raises(Cancelled):
        _add(path, more, report=stop)
    assert verify_index(path) == []
    with pytest.raises(IndexFolderError, match="another attribution"):
        _add(path, more, attribution="me")
    with pytest.raises(IndexFolderError, match=r"not finished.*--resume"):
        _add(path, more, resume=False)
    assert _add(path, more) > 0


def test_photos_of_the_street_go_together(tmp_path: Path) -> None:
    """Three indexes: two of parts of one folder that share some photos, and one of another folder."""
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        write_photos(tmp_path / name, 12 if name == "one" else 7)
    save_street_encoder(tmp_path / "street.encoder")
    encoder = open_encoder(tmp_path / "street.encoder", threads=1, gpu=False)
    paths: list[Path] = []
    for number, (folder, south, north) in enumerate(
        (("one", 60.1, 60.2011), ("one", 60.2009, 60.3), ("two", 60.1, 60.3))
    ):
        ring = [[24, south], [25, south], [25, north], [24, north], [24, south]]
        area = area_from_geojson({"type": "Polygon", "coordinates": [ring]})
        paths.append(tmp_path / f"{number}.index")
        build_index(paths[-1], open_source(tmp_path / folder), encoder, area=area).close()
    with merge_indexes(tmp_path / "all.index", paths) as merged:
        assert verify_index(merged.path) == []
        assert merged.manifest.count == 12 + 7
        assert merged.manifest.kind == "street"
        names = [tile.name for tile in merged.tiles(range(19))]
        assert sorted(names) == sorted(
            [f"p{n:02d}.jpg" for n in range(12)] + [f"p{n:02d}.jpg" for n in range(7)]
        )
        for row, tile in enumerate(merged.tiles(range(19))):
            folder = "two" if tile.source_number == 2 else "one"
            expected = open_source(tmp_path / folder).read(int(tile.name[1:3]))  # pyright: ignore[reportAttributeAccessIssue]
            assert (merged.picture(row) == expected).all()
    with (
        pytest.raises(IndexFolderError, match="not built in shares"),
        open_source(tmp_path / "one") as source,
    ):
        build_shard(tmp_path / "s", source, encoder, Shard(1, 2), Settings())


def test_shares_are_whole_numbers() -> None:
    for number, of in ((0, 2), (3, 2), (1, 0)):
        with pytest.raises(ValueError, match="share"):
            Shard(number, of)
    assert replace(Shard(1, 2), number=2) == Shard(2, 2)
