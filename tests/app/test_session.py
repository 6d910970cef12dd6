"""The session with a real encoder, a real index and real photos."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from PySide6.QtGui import QImage

from app.bench import Load
from app.notices import Notice
from app.photos import Stage
from app.session import PAUSE_MS, Session
from engine.encoder import open_encoder
from engine.geo import distance_m, heading_difference
from tests.sights import HERE, Sights, big_photo


@pytest.fixture
def session(qtbot) -> Iterator[Session]:
    made = Session()
    yield made
    assert made.shut_down()


@pytest.fixture
def ready(session: Session, sights: Sights, qtbot) -> Session:
    session.bench.open(sights.encoder, sights.index)
    qtbot.waitUntil(lambda: session.bench.pair is not None, timeout=20_000)
    return session


def answered(session: Session) -> bool:
    return session.answer.stage == Stage.READY


def test_a_panorama_is_located_with_tiles_and_evidence(
    ready: Session, sights: Sights, qtbot
) -> None:
    ready.add_files([sights.panorama])
    qtbot.waitUntil(lambda: ready.evidence is not None and bool(ready.answer.crops), timeout=20_000)
    best = ready.candidate
    assert best is not None and best.rank == 1
    assert distance_m(best.lat, best.lon, sights.lat, sights.lon) < 5
    assert heading_difference(best.heading_deg, HERE[2]) < 5
    assert ready.current is not None and ready.current.heading_deg is None
    assert ready.current.heading_shown_deg == best.heading_deg
    evidence = ready.evidence
    assert evidence is not None and evidence.tile is not None
    assert evidence.photo_heat is not None and evidence.tile_heat is not None
    assert set(ready.answer.crops) == {c.rank for c in ready.result.candidates}  # type: ignore[union-attr]


def test_photos_dropped_before_the_area_is_open_are_located_then(
    session: Session, sights: Sights, qtbot
) -> None:
    session.add_files([sights.photo])
    qtbot.waitUntil(lambda: session.photos[0].stage == Stage.READY, timeout=20_000)
    assert session.result is None
    session.bench.open(sights.encoder, sights.index)
    qtbot.waitUntil(lambda: answered(session), timeout=20_000)


def test_the_heading_in_the_file_is_used_and_can_be_set_aside(
    ready: Session, sights: Sights, qtbot
) -> None:
    ready.add_files([sights.headed])
    qtbot.waitUntil(lambda: answered(ready), timeout=20_000)
    assert ready.result is not None and ready.result.plan.heading_deg == pytest.approx(HERE[2])
    ready.correct(heading_known=False)
    assert (
        ready.answer.stage == Stage.WORKING and ready.result is not None
    )  # the old one stays in view
    qtbot.waitUntil(lambda: answered(ready), timeout=20_000)
    assert ready.result.plan.heading_deg is None


def test_corrections_are_answered_once_after_a_pause(ready: Session, sights: Sights, qtbot) -> None:
    ready.add_files([sights.photo])
    qtbot.waitUntil(lambda: answered(ready), timeout=20_000)
    searches: list[str] = []
    ready.jobs.changed.connect(
        lambda job: (
            searches.append(job.title)
            if job.key == "locate" and job.state.value == "waiting"
            else None
        )
    )
    for value in (70.0, 75.0, 80.0):
        ready.correct(fov_deg=value)
    qtbot.wait(PAUSE_MS * 2)
    qtbot.waitUntil(lambda: answered(ready), timeout=20_000)
    assert ready.result is not None and ready.result.plan.fov_deg == 80.0
    assert len(searches) == 1


def test_another_kind_of_photo_can_be_claimed(ready: Session, sights: Sights, qtbot) -> None:
    ready.add_files([sights.panorama])
    qtbot.waitUntil(lambda: answered(ready), timeout=20_000)
    ready.correct(panorama=False)
    qtbot.waitUntil(lambda: answered(ready), timeout=20_000)
    assert ready.result is not None and ready.result.plan.kind == "perspective"
    assert ready.current is not None and ready.current.fov_deg < 180


def test_several_photos_one_of_them_spoiled(ready: Session, sights: Sights, qtbot) -> None:
    ready.add_files([sights.text, sights.photo, sights.folder, sights.panorama])
    qtbot.waitUntil(
        lambda: all(item.stage in (Stage.READY, Stage.FAILED) for item in ready.photos),
        timeout=20_000,
    )
    assert [item.stage for item in ready.photos] == [
        Stage.FAILED,
        Stage.READY,
        Stage.FAILED,
        Stage.READY,
    ]
    for notice in ready.notices.kept:
        assert notice.headline.startswith(("letter.jpg:", f"{sights.folder.name}:"))
        assert notice.remedy
    ready.choose(ready.photos[3])
    qtbot.waitUntil(lambda: answered(ready), timeout=20_000)


def test_the_same_file_again_is_chosen_not_added(ready: Session, sights: Sights, qtbot) -> None:
    ready.add_files([sights.photo, sights.panorama])
    ready.add_files([sights.panorama])
    assert len(ready.photos) == 2 and ready.current is ready.photos[1]
    qtbot.waitUntil(lambda: answered(ready), timeout=20_000)


def test_bytes_and_pictures_of_the_clipboard(ready: Session, sights: Sights, qtbot) -> None:
    ready.add(
        [(sights.photo.read_bytes(), "from a browser.jpg"), (QImage(str(sights.photo)), "Pasted")]
    )
    qtbot.waitUntil(lambda: all(i.stage == Stage.READY for i in ready.photos), timeout=20_000)
    assert ready.photos[0].facts is not None and ready.photos[0].facts.fov_source == "exif"
    assert ready.photos[1].facts is not None and ready.photos[1].facts.fov_source == "assumed"
    ready.add([(QImage(), "Nothing")])
    qtbot.waitUntil(lambda: ready.photos[2].stage == Stage.FAILED, timeout=20_000)


def test_pixels_of_few_photos_stay_in_memory(
    ready: Session, sights: Sights, qtbot, tmp_path
) -> None:
    copies = []
    for number in range(5):
        copies.append(tmp_path / f"{number}.jpg")
        copies[-1].write_bytes(sights.photo.read_bytes())
    ready.add_files(copies)
    for item in ready.photos:
        ready.choose(item)
        qtbot.waitUntil(lambda: answered(ready), timeout=20_000)
    assert sum(item.photo is not None for item in ready.photos) == 3
    ready.choose(ready.photos[0])  # read again; the answer is still there
    assert answered(ready)
    qtbot.waitUntil(lambda: ready.photos[0].photo is not None, timeout=20_000)


def test_reading_is_stopped_and_taken_up_again(ready: Session, tmp_path: Path, qtbot) -> None:
    paths = [big_photo(tmp_path / "a.jpg")]
    paths += [tmp_path / f"{name}.jpg" for name in "bcd"]
    for path in paths[1:]:
        path.write_bytes(paths[0].read_bytes())
    ready.add_files(paths)
    qtbot.waitUntil(lambda: ready.photos[0].stage == Stage.WORKING)
    ready.stop()
    qtbot.waitUntil(lambda: ready.jobs.idle, timeout=20_000)
    assert [item.stage for item in ready.photos[1:]] == [Stage.CANCELLED] * 3
    ready.choose(ready.photos[2])
    qtbot.waitUntil(lambda: ready.photos[2].stage == Stage.READY, timeout=30_000)


def test_removing_the_current_photo_shows_its_neighbour(
    ready: Session, sights: Sights, qtbot
) -> None:
    ready.add_files([sights.photo, sights.panorama])
    first, second = ready.photos
    ready.remove(first)
    assert ready.current is second
    qtbot.waitUntil(lambda: answered(ready), timeout=20_000)
    ready.remove(second)
    assert ready.current is None and ready.result is None


def test_candidates_are_looked_at_in_turn(ready: Session, sights: Sights, qtbot) -> None:
    ready.add_files([sights.photo])
    qtbot.waitUntil(lambda: answered(ready), timeout=20_000)
    ready.step(1)
    assert ready.candidate is not None and ready.candidate.rank == 2
    qtbot.waitUntil(lambda: 2 in ready.answer.evidence, timeout=20_000)
    ready.step(-5)
    assert ready.answer.rank == 2
    ready.set_comparing(True)
    qtbot.waitUntil(lambda: ready.compared is not None, timeout=20_000)
    pictures = ready.compared
    assert pictures is not None and pictures.photo.size() == pictures.tile.size()


def test_an_encoder_that_does_not_fit_is_refused_with_both_names(
    ready: Session, sights: Sights, qtbot
) -> None:
    ready.bench.open(sights.other_encoder, None)
    qtbot.waitUntil(lambda: not ready.bench.loading, timeout=20_000)
    error = ready.bench.index.error
    assert ready.bench.encoder.load == Load.READY and ready.bench.index.load == Load.FAILED
    assert error is not None and "linear" in str(error) and "other" in str(error)
    ready.bench.go_back()
    qtbot.waitUntil(lambda: ready.bench.pair is not None, timeout=20_000)
    assert ready.bench.encoder.path == sights.encoder


def test_what_belongs_together_is_opened_together(
    ready: Session, sights: Sights, qtbot, tmp_path
) -> None:
    other_index = tmp_path / "beside.index"
    shutil.copytree(sights.index, other_index)
    manifest = json.loads((other_index / "manifest.json").read_text())
    manifest["encoder_hash"] = open_encoder(sights.other_encoder).hash
    (other_index / "manifest.json").write_text(json.dumps(manifest))
    told: list[Notice] = []
    ready.notices.arrived.connect(told.append)
    bench = ready.bench
    bench.known = ((sights.encoder, sights.other_encoder), (sights.index, other_index))
    bench.open(sights.other_encoder, None)
    qtbot.waitUntil(lambda: bench.pair is not None, timeout=20_000)
    assert bench.last_good == (sights.other_encoder, other_index)
    assert len(told) == 1 and "beside" in told[0].headline
    bench.open(None, sights.index)
    qtbot.waitUntil(lambda: bench.pair is not None, timeout=20_000)
    assert bench.last_good == (sights.encoder, sights.index)
    bench.open(sights.encoder, None)  # it fits already
    qtbot.waitUntil(lambda: bench.pair is not None, timeout=20_000)
    assert bench.last_good == (sights.encoder, sights.index)
    assert len(told) == 2 and not ready.notices.kept


def test_a_damaged_encoder_leaves_the_open_one(
    ready: Session, sights: Sights, qtbot, tmp_path
) -> None:
    bad = tmp_path / "bad.encoder"
    bad.mkdir()
    (bad / "card.json").write_text("{}")
    ready.bench.open(bad, None)
    qtbot.waitUntil(lambda: ready.bench.pair is not None, timeout=20_000)
    assert ready.bench.encoder.path == sights.encoder
    assert "bad.encoder" in ready.notices.kept[0].headline


@pytest.mark.parametrize("spoil", ["missing", "short", "no manifest", "no folder"])
def test_a_spoiled_index_is_explained(
    session: Session, sights: Sights, qtbot, tmp_path, spoil
) -> None:
    index = sights.copy_index(tmp_path)
    if spoil == "missing":
        (index / "vectors.f16").unlink()
    elif spoil == "short":
        data = (index / "vectors.f16").read_bytes()
        (index / "vectors.f16").write_bytes(data[:-100])
    elif spoil == "no manifest":
        (index / "manifest.json").unlink()
    else:
        index = tmp_path / "nowhere.index"
    session.bench.open(sights.encoder, index)
    qtbot.waitUntil(lambda: session.bench.index.load == Load.FAILED, timeout=20_000)
    error = session.bench.index.error
    assert error is not None and index.name in str(error)
    assert error.remedy


def test_results_are_written_by_the_ending_of_the_name(
    ready: Session, sights: Sights, qtbot, tmp_path: Path
) -> None:
    ready.add_files([sights.photo])
    qtbot.waitUntil(lambda: answered(ready), timeout=20_000)
    for name in ("a.json", "b.geojson", "c.txt", "d.kml", "e.gpx", "f.csv", "g.html"):
        ready.export(tmp_path / name)
    qtbot.waitUntil(lambda: len(list(tmp_path.iterdir())) == 7, timeout=20_000)
    assert json.loads((tmp_path / "a.json").read_text())["format"] == "nadir-result"
    assert json.loads((tmp_path / "b.geojson").read_text())["type"] == "FeatureCollection"
    ready.export(tmp_path / "no folder" / "d.json")
    qtbot.waitUntil(
        lambda: any("d.json" in notice.headline for notice in ready.notices.kept), timeout=20_000
    )


def test_shutting_down_in_the_middle_of_work(sights: Sights, tmp_path: Path, qtbot) -> None:
    session = Session()
    session.bench.open(sights.encoder, sights.index)
    session.add_files([big_photo(tmp_path / "big.jpg"), sights.panorama])
    qtbot.wait(30)
    assert session.shut_down()
