"""Indexes from strangers: a clear refusal or a right answer; no crash, no hang, little memory, no file elsewhere."""

from __future__ import annotations

import json
import shutil
import sqlite3
import sys
from collections.abc import Iterator
from contextlib import closing
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.errors import IndexFolderError
from engine.index.manifest import MANIFEST_FILE, Manifest, manifest_from_dict, read_manifest
from tests.fuzz.run import Probe, fuzz
from tests.fuzz.samples import make_samples, seal_again

CASES = 130


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("hostile")


@pytest.fixture(scope="module")
def samples(folder: Path) -> dict[str, Path]:
    return make_samples(folder)


@pytest.fixture(scope="module")
def outside(folder: Path, samples: dict[str, Path]) -> Path:
    """A folder that no index may lead to."""
    outside = folder / "outside"
    outside.mkdir()
    for sample in samples.values():
        for file in (path for path in sample.rglob("*") if path.is_file()):
            shutil.copyfile(file, outside / file.name)
    return outside


@pytest.fixture(scope="module")
def probe(samples: dict[str, Path], outside: Path) -> Iterator[Probe]:
    if sys.platform != "linux":
        pytest.skip("memory is limited by RLIMIT_AS, and files are watched by inotify")
    probe = Probe(samples["sq8"], outside)
    yield probe
    probe.close()


def test_every_sample_is_answered(samples: dict[str, Path], tmp_path: Path, probe: Probe) -> None:
    for name, path in samples.items():
        assert probe.ask(Path(shutil.copytree(path, tmp_path / name))) == "answered", name


def test_spoiled_at_random(samples: dict[str, Path], folder: Path, probe: Probe) -> None:
    """``python -m tests.fuzz`` does the same for as long as one likes."""
    outcomes, faults = fuzz(samples, range(CASES), folder, probe)
    assert not faults, "\n\n".join(map(str, faults))
    assert outcomes["refused"] > CASES / 4 and outcomes["answered"] > CASES / 20


@pytest.fixture
def spoiled(samples: dict[str, Path], tmp_path: Path) -> Path:
    """A copy of an index that a test may spoil."""
    return Path(shutil.copytree(samples["sq8"], tmp_path / "spoiled.index"))


VRT = """<VRTDataset rasterXSize="160" rasterYSize="160"><SRS>EPSG:4326</SRS>
<GeoTransform>-123.4, 1e-5, 0, -48.8, 0, -1e-5</GeoTransform><VRTRasterBand dataType="Byte" band="1"><SimpleSource>
<SourceFilename relativeToVRT="0">{path}</SourceFilename></SimpleSource></VRTRasterBand></VRTDataset>"""


def test_imagery_that_names_other_files(spoiled: Path, outside: Path, probe: Probe) -> None:
    """GDAL follows names in a VRT, and reads what lies beside a GeoTIFF; an index has only its own file."""
    original = (spoiled / "imagery.tif").read_bytes()
    for text in (VRT.format(path=outside / "imagery.tif"), f"GTIFF_RAW:{outside / 'imagery.tif'}"):
        (spoiled / "imagery.tif").write_text(text)
        seal_again(spoiled)
        assert probe.ask(spoiled).startswith("refused: ")
    (spoiled / "imagery.tif").write_bytes(original)
    seal_again(spoiled)
    for name in (
        "imagery.tif.aux.xml",
        "imagery.tif.ovr",
        "imagery.tif.msk",
        "imagery.tfw",
        "imagery.vrt",
    ):
        (spoiled / name).write_text(VRT.format(path=outside / "imagery.tif"))
    assert probe.ask(spoiled) == "answered with problems"


def test_journals_beside_the_table_are_left_alone(spoiled: Path, probe: Probe) -> None:
    """SQLite would play back a journal that lies beside a database, and delete it."""
    with closing(sqlite3.connect(spoiled / "tiles.gpkg", isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("UPDATE tiles SET lat = 0")
        for kind in ("wal", "shm"):
            shutil.copyfile(spoiled / f"tiles.gpkg-{kind}", spoiled / f"kept-{kind}")
    for kind in ("wal", "shm"):
        (spoiled / f"kept-{kind}").rename(spoiled / f"tiles.gpkg-{kind}")
    (spoiled / "tiles.gpkg-journal").write_bytes(b"\xd9\xd5\x05\xf9\x20\xa1\x63\xd7" + bytes(504))
    seal_again(spoiled)
    before = {path.name: path.read_bytes() for path in spoiled.iterdir()}
    assert not probe.ask(spoiled).startswith("fault")
    assert {path.name: path.read_bytes() for path in spoiled.iterdir()} == before


SLOW = """ALTER TABLE tiles RENAME TO other;
CREATE VIEW tiles AS WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < 1000000000000)
SELECT i AS id, x'00' AS geom, 0.0 AS lat, 0.0 AS lon, 40.0 AS extent_m, 'x' AS source FROM n"""
COLUMN = """ALTER TABLE tiles RENAME TO other;
CREATE TABLE tiles (id INTEGER PRIMARY KEY, geom BLOB, lat REAL, lon REAL, extent_m REAL, source TEXT AS ({how}));
INSERT INTO tiles (id, geom, lat, lon, extent_m) SELECT id, geom, lat, lon, extent_m FROM other"""
LONG = "length(printf('%.*c', 900000, 'a') LIKE '%a%a%a%a%a%a%a%b')"
QUOTED = LONG.replace("'", "''")
COMPUTED = {
    "a view without end": SLOW,
    "a column of 400 MB": COLUMN.format(how="hex(zeroblob(200000000))"),
    "a column that takes years": COLUMN.format(how=LONG),
    "a check that takes years": f"""PRAGMA writable_schema = ON;
UPDATE sqlite_schema SET sql = replace(sql, 'source TEXT NOT NULL', 'source TEXT CHECK ({QUOTED})')""",
    "an index that takes years": f"""PRAGMA writable_schema = ON;
INSERT INTO sqlite_schema SELECT 'index', 'i', 'tiles', rootpage, 'CREATE INDEX i ON tiles (({QUOTED}))'
FROM sqlite_schema WHERE name = 'tiles'""",
}


@pytest.mark.parametrize("kind", ["sq8", "version-1", "street"])
@pytest.mark.parametrize("how", COMPUTED)
def test_tables_that_compute(
    samples: dict[str, Path], tmp_path: Path, probe: Probe, kind: str, how: str
) -> None:
    spoiled = Path(shutil.copytree(samples[kind], tmp_path / "spoiled.index"))
    with closing(sqlite3.connect(spoiled / "tiles.gpkg", isolation_level=None)) as connection:
        connection.executescript(COMPUTED[how])
    seal_again(spoiled)
    answer = probe.ask(spoiled)
    assert answer.startswith("refused: ") or answer == "answered with problems", answer


def test_a_folder_that_leads_elsewhere(spoiled: Path, outside: Path, probe: Probe) -> None:
    raw = json.loads((spoiled / MANIFEST_FILE).read_text("utf-8"))
    (spoiled / "generation-1").symlink_to(outside)
    for name in (
        "../outside",
        str(outside),
        "generation-1",
        "generation-1/../../outside",
        ".",
        "..",
    ):
        (spoiled / MANIFEST_FILE).write_text(json.dumps({**raw, "folder": name}), "utf-8")
        assert probe.ask(spoiled).startswith("refused: "), name


@pytest.mark.parametrize("name", ["parts", "parts/000000.part", "imagery.tif", "plan.json", "lock"])
def test_a_share_whose_files_are_links(
    samples: dict[str, Path], outside: Path, tmp_path: Path, probe: Probe, name: str
) -> None:
    """What is unfinished at a part's end is cut off, which must not happen to another file."""
    both = Path(shutil.copytree(samples["shares"], tmp_path / "shares"))
    linked = both / "1.index" / "building" / name
    victim = outside / "tiles.gpkg" if linked.is_file() else outside
    before = victim.stat()
    shutil.rmtree(linked) if linked.is_dir() else linked.unlink()
    linked.symlink_to(victim)
    assert "only a link" in probe.ask(both)
    after = victim.stat()
    assert (after.st_size, after.st_mtime_ns) == (before.st_size, before.st_mtime_ns)


LEAVES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=40),
    st.sampled_from(
        ["../x", "/etc/passwd", "imagery.tif", "a\x00", "0" * 64, "EPSG:4326", 1 << 80]
    ),
)
VALUES = st.recursive(
    LEAVES,
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=4)
    ),
    max_leaves=8,
)


def _keys(raw: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    for key in list(raw) if isinstance(raw, dict) else range(len(raw)):
        yield (*path, key)
        if isinstance(raw[key], dict | list):
            yield from _keys(raw[key], (*path, key))


@pytest.mark.parametrize("kind", ["sq8", "extents", "street", "version-1"])
@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_manifests_of_any_content(samples: dict[str, Path], kind: str, data: st.DataObject) -> None:
    """A manifest is refused in words, or is one that says the same when it is written again."""
    raw = json.loads((samples[kind] / MANIFEST_FILE).read_text("utf-8"))
    spoiled = deepcopy(raw)
    for path in data.draw(st.lists(st.sampled_from(list(_keys(raw))), min_size=1, max_size=3)):
        owner = spoiled
        try:
            for key in path[:-1]:
                owner = owner[key]
            way = data.draw(st.sampled_from(["set", "set", "set", "drop", "add"]))
            if way == "drop" and isinstance(owner, dict):
                owner.pop(path[-1], None)
            elif way == "add" and isinstance(owner, dict):
                owner[data.draw(st.text(max_size=12))] = data.draw(VALUES)
            else:
                owner[path[-1]] = data.draw(VALUES)
        except (KeyError, IndexError, TypeError):
            continue  # an earlier change took it away
    try:
        manifest = manifest_from_dict(spoiled)
    except IndexFolderError as error:
        assert error.problem and len(str(error)) < 1000
        return
    again = manifest_from_dict(json.loads(json.dumps(manifest.to_dict(), allow_nan=False)))
    assert again == manifest and again.hash == manifest.hash


@settings(max_examples=150, deadline=None)
@given(
    st.one_of(
        st.binary(max_size=300),
        VALUES.map(lambda v: json.dumps(v).encode()),
        st.just(b"[" * 500_000),
    )
)
def test_manifest_files_of_any_content(
    tmp_path_factory: pytest.TempPathFactory, content: bytes
) -> None:
    folder = tmp_path_factory.getbasetemp() / "any.index"
    folder.mkdir(exist_ok=True)
    (folder / MANIFEST_FILE).write_bytes(content)
    with pytest.raises(IndexFolderError) as caught:
        read_manifest(folder)
    assert len(str(caught.value)) < 1000


def test_what_is_read_is_what_was_written(samples: dict[str, Path]) -> None:
    for sample in (path for name, path in samples.items() if name != "shares"):
        manifest = read_manifest(sample)
        assert isinstance(manifest, Manifest)
        assert manifest_from_dict(manifest.to_dict()) == manifest
