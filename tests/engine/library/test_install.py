"""Bringing encoders and indexes into the library: whole or not at all, and nothing beside it is touched."""

from __future__ import annotations

import json
import os
import shutil
import stat
import subprocess
import sys
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from engine.encoder import open_encoder, zip_encoder
from engine.errors import NadirError
from engine.index import Index, build_index
from engine.library import check_item, install, kind_of, look, remove, scan
from tests.engine.flat import Town, make_town
from tests.full_disk import full_disk
from tests.linear_encoder import save_linear_encoder


@pytest.fixture(scope="module")
def town(tmp_path_factory: pytest.TempPathFactory) -> Town:
    made = make_town(tmp_path_factory.mktemp("town"))
    made.index.close()
    return made


@pytest.fixture
def library(tmp_path: Path) -> Path:
    return tmp_path / "library"


def encoder(town: Town) -> Path:
    return town.folder / "linear.encoder"


def index(town: Town) -> Path:
    return town.folder / "flat.index"


def zipped(folder: Path, target: Path, prefix: str = "") -> Path:
    with zipfile.ZipFile(target, "w") as archive:
        for file in sorted(folder.iterdir()):
            archive.write(file, f"{prefix}{file.name}")
    return target


def contents(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.name != ".lock"
    }


def test_an_encoder_and_an_index_are_copied_and_work(town: Town, library: Path) -> None:
    there = install(encoder(town), library)
    area = install(index(town), library)
    assert (there, area) == (library / "linear.encoder", library / "flat.index")
    assert scan(library) == [area, there]
    assert look(there).hash == town.encoder.hash and look(area).hash == town.index.hash
    with Index.open(area, open_encoder(there)) as opened:
        assert opened.manifest.count == town.index.manifest.count
    assert check_item(there) == () and check_item(area) == ()
    assert {p.name for p in library.iterdir()} == {".lock", area.name, there.name}


def test_the_same_again_is_the_one_that_is_there(town: Town, library: Path, tmp_path: Path) -> None:
    first = install(index(town), library)
    renamed = Path(shutil.copytree(index(town), tmp_path / "another name.index"))
    assert install(renamed, library) == first
    assert install(encoder(town), library) == install(encoder(town), library)
    assert len(scan(library)) == 2


def test_another_of_the_same_name_takes_a_name_of_its_own(
    town: Town, library: Path, tmp_path: Path
) -> None:
    install(encoder(town), library)
    before = contents(library)
    save_linear_encoder(tmp_path / "linear.encoder", seed=5)
    assert install(tmp_path / "linear.encoder", library) == library / "linear-2.encoder"
    assert {name: text for name, text in contents(library).items() if "-2" not in name} == before


def test_several_at_once_wait_for_each_other(town: Town, library: Path, tmp_path: Path) -> None:
    copies = [index(town), encoder(town)]
    for seed in range(3):
        save_linear_encoder(tmp_path / f"{seed}.encoder", seed=seed + 7)
        copies.append(tmp_path / f"{seed}.encoder")
    with ThreadPoolExecutor(5) as pool:
        there = list(pool.map(lambda path: install(path, library), copies))
    assert sorted(there) == sorted(scan(library)) and len(set(there)) == 5


def test_zips_of_both(town: Town, library: Path, tmp_path: Path) -> None:
    packed = zip_encoder(encoder(town), tmp_path / "good.encoder.zip")
    assert install(packed, library) == library / "good.encoder"
    plain = zipped(index(town), tmp_path / "an area.zip", "flat.index/")
    assert kind_of(plain) == "index"
    there = install(plain, library)
    assert there == library / "an area.index" and look(there).hash == town.index.hash


def test_nothing_in_a_zip_leads_out_of_the_library(
    town: Town, library: Path, tmp_path: Path
) -> None:
    packed = zipped(index(town), tmp_path / "evil.index.zip")
    with zipfile.ZipFile(packed, "a") as archive:
        archive.writestr("../../escaped.txt", "out")
        archive.writestr("/escaped.txt", "out")
        archive.writestr("stray.py", "print('no')")
    there = install(packed, library)
    assert {file.name for file in there.iterdir()} == {file.name for file in index(town).iterdir()}
    assert not list(tmp_path.rglob("escaped.txt")) and not Path("/escaped.txt").exists()


def test_a_manifest_that_names_files_elsewhere_is_refused(
    town: Town, library: Path, tmp_path: Path
) -> None:
    spoiled = Path(shutil.copytree(index(town), tmp_path / "spoiled.index"))
    raw = json.loads((spoiled / "manifest.json").read_text())
    raw["files"]["../secret"] = {"sha256": "0" * 64, "bytes": 3}
    (spoiled / "manifest.json").write_text(json.dumps(raw))
    (tmp_path / "secret").write_text("yes")
    with pytest.raises(NadirError, match="not a plain file name"):
        install(spoiled, library)
    assert contents(library) == {}


@pytest.mark.skipif(os.name == "nt", reason="makes symbolic links")
def test_links_are_not_followed(town: Town, library: Path, tmp_path: Path) -> None:
    spoiled = Path(shutil.copytree(index(town), tmp_path / "linked.index"))
    moved = (spoiled / "tiles.gpkg").rename(tmp_path / "tiles.gpkg")
    (spoiled / "tiles.gpkg").symlink_to(moved)
    with pytest.raises(NadirError, match="link"):
        install(spoiled, library)
    assert contents(library) == {}


@pytest.mark.parametrize("name", ["vectors.f16", "tiles.gpkg", "imagery.tif", "manifest.json"])
@pytest.mark.parametrize("how", ["cut", "altered", "missing", "longer"])
def test_what_is_damaged_is_not_taken(
    town: Town, library: Path, tmp_path: Path, name: str, how: str
) -> None:
    spoiled = Path(shutil.copytree(index(town), tmp_path / "spoiled.index"))
    if (name, how) == ("manifest.json", "altered"):
        how = "cut"  # nothing vouches for the manifest but itself
    file = spoiled / name
    whole = file.read_bytes()
    if how == "missing":
        file.unlink()
    else:
        middle = len(whole) // 2
        turned = whole[:middle] + bytes([whole[middle] ^ 1]) + whole[middle + 1 :]
        file.write_bytes({"cut": whole[:middle], "altered": turned, "longer": whole + b"x"}[how])
    with pytest.raises(NadirError) as caught:
        install(spoiled, library)
    assert caught.value.path == spoiled and caught.value.remedy
    assert contents(library) == {}


def test_a_damaged_encoder_is_not_taken(town: Town, library: Path, tmp_path: Path) -> None:
    spoiled = Path(shutil.copytree(encoder(town), tmp_path / "spoiled.encoder"))
    graph = spoiled / "both.onnx"
    graph.write_bytes(graph.read_bytes()[:-7])
    with pytest.raises(NadirError, match="SHA-256"):
        install(spoiled, library)
    (tmp_path / "text.encoder.zip").write_text("no zip")
    with pytest.raises(NadirError, match="zip"):
        install(tmp_path / "text.encoder.zip", library)
    assert contents(library) == {}


def test_what_is_neither_is_named(library: Path, tmp_path: Path) -> None:
    for path in (tmp_path / "photo.jpg", tmp_path / "folder"):
        path.mkdir() if path.suffix == "" else path.write_bytes(b"x")
        with pytest.raises(NadirError, match="neither"):
            install(path, library)
    with pytest.raises(NadirError, match="no such"):
        install(tmp_path / "gone.index", library)


def test_a_full_disk_leaves_nothing_behind(town: Town) -> None:
    with full_disk(0.4) as disk:
        with pytest.raises(NadirError, match=r"free|full"):
            install(index(town), disk / "library")
        (disk / "library").mkdir(exist_ok=True)
        (disk / "filler").write_bytes(bytes(shutil.disk_usage(disk).free - 8192))
        with pytest.raises(NadirError, match=r"free|full"):
            install(encoder(town), disk / "library")
        assert contents(disk / "library") == {}


@pytest.mark.skipif(os.name == "nt", reason="POSIX permissions")
def test_a_library_that_cannot_be_written(town: Town) -> None:
    with full_disk(8, read_only=True) as disk:
        with pytest.raises(NadirError, match="written"):
            install(encoder(town), disk / "library")


def test_one_that_was_killed_half_way_is_swept_up(town: Town, library: Path) -> None:
    code = (
        "import os, sys; from pathlib import Path; from engine.library import install\n"
        "def report(done, total, text):\n"
        "    if 'Copying' in text and done: os._exit(9)\n"
        "install(Path(sys.argv[1]), Path(sys.argv[2]), report)\n"
    )
    ended = subprocess.run([sys.executable, "-c", code, str(index(town)), str(library)])
    assert ended.returncode == 9 and scan(library) == []
    assert [p for p in library.iterdir() if p.name.startswith(".arriving")]
    assert install(index(town), library) == library / "flat.index"
    assert {p.name for p in library.iterdir()} == {".lock", "flat.index"}


def test_removing_deletes_what_lies_in_the_library_alone(
    town: Town, library: Path, tmp_path: Path
) -> None:
    there = install(index(town), library)
    with pytest.raises(NadirError, match="outside"):
        remove(index(town), library)
    with pytest.raises(NadirError, match="outside"):
        remove(library / ".." / town.folder.name / "flat.index", library)
    link = library / "linked.index"
    link.symlink_to(index(town))
    remove(link, library)
    remove(there, library)
    remove(there, library)  # it is gone: nothing to say
    assert scan(library) == [] and (index(town) / "manifest.json").is_file()
    assert {p.name for p in library.iterdir()} == {".lock"}


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="POSIX permissions, not as root")
def test_what_cannot_be_deleted_stays_whole(town: Town, library: Path) -> None:
    there = install(index(town), library)
    library.chmod(stat.S_IRUSR | stat.S_IXUSR)
    with pytest.raises(NadirError, match="deleted"):
        remove(there, library)
    library.chmod(0o755)
    assert look(there).error is None


def test_a_build_at_work_is_not_deleted(town: Town, library: Path) -> None:
    from engine.errors import Cancelled
    from engine.imagery import open_imagery

    out = library / "new.index"
    seen: list[str] = []

    def report(done: int, total: int, text: str) -> None:
        if done > total * 0.5:
            with pytest.raises(NadirError, match="being built"):
                remove(out, library)
            seen.append(text)
            raise Cancelled

    library.mkdir()
    with open_imagery(town.folder / "imagery.tif") as imagery, pytest.raises(Cancelled):
        build_index(out, imagery, town.encoder, stride_m=5.0, report=report)
    assert seen and look(out).unfinished
    remove(out, library)
    assert scan(library) == []


def test_broken_ones_are_listed_with_what_to_do(town: Town, library: Path) -> None:
    library.mkdir()
    (library / "empty.index").mkdir()
    (library / "text.encoder.zip").write_text("no zip")
    (library / "odd.encoder").mkdir()
    (library / "odd.encoder" / "card.json").write_text("{}")
    Path(shutil.copytree(index(town), library / "cut.index")).joinpath("tiles.gpkg").unlink()
    items = [look(path) for path in scan(library)]
    assert len(items) == 4
    for item in items:
        assert item.error is not None and item.error.remedy, item.path
    cut = next(item for item in items if item.path.name == "cut.index")
    assert cut.manifest is not None and cut.name == "flat"


def test_the_outline_of_what_an_index_covers(town: Town, tmp_path: Path) -> None:
    from engine.library import index_outline

    with Index.open(index(town)) as opened:
        rings = index_outline(opened)
        places_lats, places_lons = opened.centres
    assert len(rings) == 1
    lons, lats = rings[0].T
    stride = 5.0 / 111_000
    assert 0 < lats.max() - places_lats.max() < 2 * stride
    assert 0 < places_lons.min() - lons.min() < 3 * stride
    assert np.array_equal(rings[0][0], rings[0][-1])
