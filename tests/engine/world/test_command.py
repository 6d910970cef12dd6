"""``nadir world``: what is on disk, and that it is true."""

from __future__ import annotations

import csv
import hashlib
import json
from pathlib import Path

import pytest

from engine.errors import Cancelled, WorldError
from engine.geo import distance_m
from engine.imagery import open_imagery
from engine.photo import read_photo
from engine.world.command import CENTRE_LAT, CENTRE_LON, make_world
from engine.world.town import make_town


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("world") / "Порт Немо"
    make_world(out, 12, 0.06, 2, 2, gps=True)
    return out


def rows(world: Path) -> list[dict[str, str]]:
    with open(world / "queries.csv", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_the_same_seed_gives_the_same_town_and_another_does_not() -> None:
    assert make_town(3, 200).boxes == make_town(3, 200).boxes
    assert make_town(3, 200).boxes != make_town(4, 200).boxes


def test_queries_say_what_the_files_say(world: Path) -> None:
    table = rows(world)
    assert [r["file"] for r in table] == [
        "panoramas/0000.jpg",
        "panoramas/0001.jpg",
        "photos/0000.jpg",
        "photos/0001.jpg",
    ]
    for row in table:
        facts = read_photo(world / row["file"]).facts
        assert facts.fov_deg == pytest.approx(float(row["fov_deg"]), abs=0.05)
        assert facts.heading_deg == pytest.approx(float(row["heading_deg"]), abs=0.02)
        assert facts.kind == ("panorama" if float(row["fov_deg"]) == 360 else "perspective")
        assert facts.latitude is not None
        assert facts.longitude is not None
        assert (
            distance_m(facts.latitude, facts.longitude, float(row["lat"]), float(row["lon"])) < 0.1
        )


def test_imagery_is_georeferenced_around_point_nemo(world: Path) -> None:
    imagery = open_imagery(world / "imagery.tif")
    lat, lon = imagery.bounds.centre
    assert distance_m(lat, lon, CENTRE_LAT, CENTRE_LON) < 0.3
    assert imagery.resolution_m == pytest.approx(0.25, rel=1e-3)
    assert "Port Nemo" in imagery.attribution
    height = distance_m(imagery.bounds.south, lon, imagery.bounds.north, lon)
    assert height == pytest.approx(1000 * 0.06**0.5, rel=0.02)


def test_photos_can_leave_out_where_they_were_taken(tmp_path: Path) -> None:
    make_world(tmp_path / "w", 5, 0.05, 0, 1)
    facts = read_photo(tmp_path / "w/photos/0000.jpg").facts
    assert facts.latitude is None
    assert facts.fov_source == "exif"


def test_a_world_that_was_stopped_is_made_whole_and_equal(world: Path, tmp_path: Path) -> None:
    out = tmp_path / "again"

    def stop(done: int, total: int, text: str) -> None:
        if done >= 5:
            raise Cancelled

    with pytest.raises(Cancelled):
        make_world(out, 12, 0.06, 2, 2, gps=True, report=stop)
    assert not (out / "queries.csv").exists()
    make_world(out, 12, 0.06, 2, 2, gps=True)
    for row in rows(world):
        a, b = (hashlib.sha256((w / row["file"]).read_bytes()).hexdigest() for w in (world, out))
        assert a == b


def test_other_peoples_files_are_left_alone(tmp_path: Path, world: Path) -> None:
    (tmp_path / "holiday.txt").write_text("mine")
    with pytest.raises(WorldError, match="taken by something else"):
        make_world(tmp_path, 1, 0.05, 1, 1)
    with pytest.raises(WorldError, match="another world"):
        make_world(world, 13, 0.06, 2, 2, gps=True)
    assert json.loads((world / "world.json").read_text())["seed"] == 12


@pytest.mark.parametrize("fov", [(110, 60), (5, 60), (60, 170), (float("nan"), 60)])
def test_an_impossible_camera_is_refused(tmp_path: Path, fov: tuple[float, float]) -> None:
    with pytest.raises(WorldError, match="cannot be photographed"):
        make_world(tmp_path / "w", 1, 0.05, 1, 1, fov_range=fov)
    with pytest.raises(WorldError, match="too many"):
        make_world(tmp_path / "w", 1, 0.05, 1, 10**9)
    assert not (tmp_path / "w").exists()


def test_a_damaged_note_of_another_world_is_refused(tmp_path: Path) -> None:
    (tmp_path / "world.json").write_text("[]")
    with pytest.raises(WorldError, match="another world"):
        make_world(tmp_path, 1, 0.05, 1, 1)


@pytest.mark.parametrize("area", [0.0, -1, 1000, float("nan")])
def test_an_impossible_area_is_refused(tmp_path: Path, area: float) -> None:
    with pytest.raises(WorldError, match="out of range"):
        make_world(tmp_path / "w", 1, area, 1, 1)
