"""Galleries in Milvus: uploading, interrupted and again; what is refused, in words; the commands."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from engine.cli import main
from engine.encoder import open_encoder
from engine.errors import Cancelled, ImageryError, IndexFolderError
from engine.imagery import open_source
from engine.index import Index, build_index
from engine.index.filters import Filter
from engine.index.milvus import PROPERTY, MilvusStore
from engine.index.milvus_client import MilvusError, connect
from engine.index.milvus_index import MilvusIndex
from engine.index.milvus_upload import upload
from engine.localize import Query, localize
from engine.photo import read_photo
from tests.engine.datasets.pictures import picture
from tests.engine.flat import Town, make_town, places
from tests.engine.index.places import LAT, LON, ProjectionEncoder, build_place
from tests.street_encoder import save_street_encoder

for _package in ("pymilvus", "milvus_lite"):
    pytest.importorskip(_package, reason=f"the optional package {_package} is not installed")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Index]:
    source, _, index = build_place(tmp_path_factory.mktemp("place"))
    with source, index:
        yield index


@pytest.fixture(scope="module")
def server(place: Index, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The address of a Milvus Lite with the place in the collection "place"."""
    address = str(tmp_path_factory.mktemp("server") / "gallery.db")
    upload(place, address, "place").close()
    return address


def make_collection(server: str, name: str, *, text: str | None = None, dimension: int = 4) -> None:
    """A collection that somebody else made; with ``text`` for a manifest, it looks like one of Nadir's."""
    from pymilvus import DataType, MilvusClient

    client = connect(server)
    schema = MilvusClient.create_schema(auto_id=False)
    schema.add_field("id", DataType.INT64, is_primary=True)
    schema.add_field("vector", DataType.FLOAT_VECTOR, dim=dimension)
    if text is not None:
        for field in ("lat", "lon", "extent_m"):
            schema.add_field(field, DataType.DOUBLE)
        schema.add_field("source", DataType.VARCHAR, max_length=10)
    indexes = client.prepare_index_params()
    indexes.add_index("vector", index_type="FLAT", metric_type="IP")
    properties = {} if text is None else {PROPERTY: text}
    client.create_collection(name, schema=schema, properties=properties)
    client.create_index(name, indexes, sync=False)
    client.load_collection(name)
    client.close()


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("http://127.0.0.1:1", "nothing answers as Milvus at http://127.0.0.1:1"),
        ("http://user:secret@127.0.0.1:1", "at http://127.0.0.1:1 "),
        ("gallery", "no address of a Milvus server"),
        ("ftp://example.org", "no address of a Milvus server"),
        ("missing/gallery.db", "its folder does not exist"),
        ("file.db", "this file is no database of Milvus Lite"),
        ("", "no address of a Milvus server"),
    ],
)
def test_addresses_that_lead_nowhere(
    address: str, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("file.db").write_text("of an older version")
    with pytest.raises(MilvusError, match=words) as caught:
        MilvusStore.open(address, "place")
    assert caught.value.remedy
    assert "secret" not in str(caught.value)
    assert [p.name for p in tmp_path.iterdir()] == ["file.db"]


def test_without_the_package(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "pymilvus", None)
    with pytest.raises(MilvusError, match=r"needs the package pymilvus, .* pip install"):
        MilvusStore.open(str(tmp_path / "gallery.db"), "place")


def test_the_engine_does_not_load_it() -> None:
    import subprocess

    code = (
        "import sys, engine.cli, engine.index, engine.localize, engine.commands.milvus, engine.commands.localize\n"
        "sys.exit(any(name.split('.')[0] in ('pymilvus', 'milvus_lite', 'grpc') for name in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("name", ["", "a b", "1st", "a.b", "../a", "x" * 256, "ä"])
def test_names_that_no_collection_may_have(server: str, place: Index, name: str) -> None:
    with pytest.raises(MilvusError, match="is no name for a collection"):
        MilvusStore.open(server, name)
    with pytest.raises(MilvusError, match="is no name for a collection"):
        upload(place, server, name)


def test_collections_that_are_not_ours(server: str, place: Index) -> None:
    with pytest.raises(MilvusError, match=r"there is no collection nowhere; there are: .*place"):
        MilvusStore.open(server, "nowhere")
    facts = place.manifest.to_dict()
    stories = {
        "foreign": None,
        "empty": "",
        "nonsense": "{",
        "deep": "[" * 100_000,
        "unsafe": json.dumps({**facts, "count": -1}),
        "another_dimension": json.dumps(facts),
        "newer": json.dumps({**facts, "version": 99}),
    }
    for name, text in stories.items():
        make_collection(server, name, text=text)
        with pytest.raises(MilvusError, match=f"{name} does not hold an index of Nadir"):
            MilvusStore.open(server, name)
        with pytest.raises(MilvusError, match=f"{name} does not hold an index of Nadir"):
            upload(place, server, name)
    make_collection(server, "hollow", text=json.dumps(facts), dimension=place.manifest.dimension)
    with pytest.raises(MilvusError, match="hollow holds 0 of 441 tiles"):
        MilvusStore.open(server, "hollow")


def test_a_collection_that_somebody_changed(server: str, place: Index) -> None:
    """Rows under other ids, off the Earth, or that are no numbers: a refusal in words, not an odd answer."""
    upload(place, server, "changed").close()
    client = connect(server)
    rows = client.query("changed", filter="id in [0, 1, 2]", output_fields=["*"])
    for changes, words in (
        ({"id": 999}, "does not know"),
        ({"lat": 95.0}, "does not lie on the Earth"),
        ({"extent_m": -1.0}, "does not lie on the Earth"),
        ({"source_number": 7}, "does not lie on the Earth"),
    ):
        spoiled = {**rows[2], **changes}
        client.delete("changed", ids=[2, 999])
        client.insert("changed", [spoiled])
        client.flush("changed")
        with (
            MilvusIndex.connect(server, "changed") as index,
            pytest.raises(MilvusError, match=words),
        ):
            index.search(place.vectors([2]), 441)
            index.tiles([0, 1, 2])
    client.close()


def test_another_encoder_is_refused(server: str, place: Index) -> None:
    with pytest.raises(IndexFolderError, match="built with the encoder projections"):
        MilvusIndex.connect(server, "place", ProjectionEncoder("another", 1))
    with MilvusIndex.connect(server, "place", ProjectionEncoder()) as index:
        assert index.hash == place.hash


def test_an_upload_that_was_stopped_goes_on(
    server: str, place: Index, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("engine.index.milvus_upload._BATCH_BYTES", 60_000)
    seen: list[int] = []

    def stop(done: int, total: int, text: str) -> None:
        seen.append(done)
        if done > 200:
            raise Cancelled

    with pytest.raises(Cancelled):
        upload(place, server, "stopped", report=stop)
    with pytest.raises(MilvusError, match=rf"stopped holds {seen[-1]} of 441 tiles. Go on with"):
        MilvusStore.open(server, "stopped")
    again: list[int] = []
    store = upload(place, server, "stopped", report=lambda done, total, text: again.append(done))
    assert again[0] == seen[-1] and again[-1] == 441
    ids = np.arange(441)
    assert (store.vectors(ids) == place.vectors(ids)).all()
    store.close()
    # Once more changes nothing, and another index is not mixed into it.
    upload(place, server, "stopped").close()
    make = json.dumps({**place.manifest.to_dict(), "name": "other"})
    make_collection(server, "taken", text=make, dimension=place.manifest.dimension)
    with pytest.raises(MilvusError, match="taken holds another index, other for projections"):
        upload(place, server, "taken")


@pytest.mark.parametrize("kind", ["HNSW", "IVF_SQ8"])
def test_kinds_that_are_not_exact(server: str, place: Index, kind: str) -> None:
    """Faster kinds may miss some, but never answer outside the filter, and are true to their scores."""
    store = upload(place, server, f"kind_{kind}", kind=kind)
    assert (store.factory, store.exact) == (kind, False)
    truth = place.vectors(np.arange(441))
    with MilvusIndex.connect(server, f"kind_{kind}") as index:
        allowed = index.select(Filter(near=(LAT, LON, 40.0)))
        for may in (None, allowed):
            _, ids = index.search(truth[::11], 10, may)
            exact = place.search(
                truth[::11], 10, may and place.select(Filter(near=(LAT, LON, 40.0)))
            )
            hits = [
                len(set(a) & set(b)) for a, b in zip(ids.tolist(), exact[1].tolist(), strict=True)
            ]
            assert np.mean(hits) > 9
            assert may is None or np.isin(ids[ids >= 0], may.ids).all()
    store.close()
    with pytest.raises(MilvusError, match="no way to keep descriptors"):
        upload(place, server, "unkind", kind="MAGIC")


def test_more_than_milvus_gives(server: str, place: Index, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("engine.index.milvus.MAX_RESULTS", 100)
    store = MilvusStore.open(server, "place")
    with pytest.raises(MilvusError, match="gives at most 100 results, not 441"):
        store.search(place.vectors([0]), 1000)
    assert store.search(place.vectors([0]), 100)[1].shape == (1, 100)
    store.close()


def test_pictures_of_tiles_need_the_imagery(server: str, place: Index) -> None:
    with MilvusIndex.connect(server, "place") as index:
        with pytest.raises(ImageryError, match="--imagery"):
            index.crop(0, 32)
    original = place.path.parent / "place.tif"
    for imagery in (original, place.path):
        with MilvusIndex.connect(server, "place", imagery=imagery) as index:
            assert (index.crop(220, 32) == place.crop(220, 32)).mean() > 0.9


def test_several_extents(server: str, tmp_path: Path) -> None:
    source, encoder, index = build_place(tmp_path, extent_m=(20.0, 33.3), stride_m=16.0)
    upload(index, server, "extents").close()
    ids = np.arange(index.manifest.count)
    with source, index, MilvusIndex.connect(server, "extents", encoder) as there:
        assert there.tiles(ids) == index.tiles(ids)
        assert (there.extents == index.extents).all() and (there.sources == index.sources).all()
        assert {tile.extent_m for tile in there.tiles(ids)} == {20.0, 33.3}
        for filter in (Filter(extents_m=(33.3,)), Filter(extents_m=(20.0,), near=(LAT, LON, 30.0))):
            ours, theirs = index.select(filter), there.select(filter)
            assert ours.count == theirs.count > 5
            assert (ours.ids == theirs.ids).all()
            query = index.vectors(ours.ids[:3])
            assert (there.search(query, 500, theirs)[1] == index.search(query, 500, ours)[1]).all()


def test_photos_of_the_street(server: str, tmp_path: Path) -> None:
    lines = ["file,lat,lon,heading"]
    for number in range(5):
        picture(tmp_path / "photos" / f"{number}.jpg", number, (64, 48))
        lines.append(f"{number}.jpg,{60 + number / 1000},24.9,{'' if number == 2 else 72 * number}")
    (tmp_path / "photos" / "photos.csv").write_text("\n".join(lines), "utf-8")
    save_street_encoder(tmp_path / "street.encoder", features=True)
    encoder = open_encoder(tmp_path / "street.encoder", threads=1, gpu=False)
    with build_index(tmp_path / "street.index", open_source(tmp_path / "photos"), encoder) as index:
        upload(index, server, "street").close()
        ids = np.arange(5)
        with MilvusIndex.connect(server, "street", encoder, imagery=index.path) as there:
            assert there.tiles(ids) == index.tiles(ids)
            assert [tile.heading_deg for tile in there.tiles(ids)] == [
                0.0,
                72.0,
                None,
                216.0,
                288.0,
            ]
            assert (there.picture(3) == index.picture(3)).all()
            result = localize(Query(read_photo(tmp_path / "photos" / "3.jpg")), encoder, there)
            assert result.of_photos and result.best is not None and result.best.tile_id == 3
        with (
            MilvusIndex.connect(server, "street", encoder) as there,
            pytest.raises(ImageryError, match="not kept in Milvus"),
        ):
            there.picture(3)


@pytest.fixture(scope="module")
def town(tmp_path_factory: pytest.TempPathFactory) -> Town:
    return make_town(tmp_path_factory.mktemp("town"))


def test_the_commands(
    town: Town, server: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What is found through a server is what is found in the files."""
    from engine.photo.write import save_jpeg

    east, south, heading = places(1)[0]
    photo = tmp_path / "photo.jpg"
    save_jpeg(photo, town.panorama(east, south, heading).pixels)
    index, encoder = town.folder / "flat.index", town.folder / "linear.encoder"
    assert main(["index", "upload", str(index), "--milvus", server, "--collection", "town"]) == 0
    assert "tiles in" in capsys.readouterr().out
    near = town.world.to_wgs84(east, south)
    for more in ([], [f"--near={near[0]},{near[1]},30"]):
        answers = []
        for where in (["--index", str(index)], ["--milvus", server, "--collection", "town"]):
            command = ["localize", str(photo), "--encoder", str(encoder), "--format", "json"]
            assert main([*command, *where, *more]) == 0
            answer = json.loads(capsys.readouterr().out)
            answer = answer["results"][0] if "results" in answer else answer
            answers.append(answer)
        assert answers[0]["index"] == answers[1]["index"]
        ours, theirs = ([c["tile_id"] for c in a["candidates"]] for a in answers)
        assert ours == theirs and len(ours) > 1
    for wrong, words in (
        (["--milvus", server], "--collection"),
        (["--collection", "town"], "--milvus"),
        (["--milvus", server, "--collection", "town", "--index", str(index)], "exclude"),
        (["--milvus", server, "--collection", "place"], "built with the encoder"),
        (["--milvus", "http://127.0.0.1:1", "--collection", "town"], "nothing answers"),
    ):
        assert main(["localize", str(photo), "--encoder", str(encoder), *wrong]) == 1
        said = capsys.readouterr().err
        assert words in said and "Traceback" not in said
