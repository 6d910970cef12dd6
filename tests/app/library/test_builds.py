"""Builds as processes: what is run, how they are found again, and how they stand, without a window."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from app.library import builds
from app.library.builds import Build, Launch, Plan, State
from app.training import processes

PLAN = Plan("harbour", "/imagery.tif", "/one.encoder")


def written(root: Path, launch: Launch) -> Path:
    """A build's folder, as the window leaves it."""
    folder = root / builds.BUILDS / launch.plan.name
    folder.mkdir(parents=True)
    (folder / builds.BUILD).write_text(json.dumps(asdict(launch)), "utf-8")
    return folder


def tell(folder: Path, *events: dict[str, object]) -> None:
    with open(folder / builds.EVENTS, "a", encoding="utf-8") as file:
        for event in events:
            file.write(json.dumps(event) + "\n")


def found(root: Path) -> Build:
    (build,) = builds.find_builds(root)
    return build


def test_what_is_run_goes_on_where_it_ended(tmp_path: Path) -> None:
    plan = replace(
        PLAN,
        area={"type": "Polygon", "coordinates": []},
        extents_m=(50.0, 100.5),
        stride_m=12.5,
        layout="sq8",
        allow=("a.example", "b.example:8080"),
        zoom=18,
    )
    command = builds.build_command(tmp_path, plan, tmp_path / "harbour.index")
    text = " ".join(command)
    for words in (
        "index build",
        "--imagery /imagery.tif",
        "--encoder /one.encoder",
        "--events",
        "--resume",
        f"--area {tmp_path / builds.AREA}",
        "--extent-m 50 --extent-m 100.5",
        "--stride-m 12.5",
        "--layout sq8",
        "--allow a.example",
        "--allow b.example:8080",
        "--zoom 18",
    ):
        assert words in text, words
    plain = builds.build_command(tmp_path, PLAN, tmp_path / "harbour.index")
    assert not {"--area", "--extent-m", "--stride-m", "--layout", "--allow"} & set(plain)


def test_names_are_checked(tmp_path: Path) -> None:
    for name, wrong in (
        ("", "empty"),
        ("  ", "empty"),
        ("a/b", "characters"),
        (".hidden", "characters"),
        ("dot.", "characters"),
        (" space", "characters"),
        ("x" * 121, "characters"),
        ("Straße am Hafen ñ 東京", ""),
    ):
        assert builds.check_name(tmp_path, name) == wrong, name
    (tmp_path / "taken.index").mkdir()
    written(tmp_path, Launch(replace(PLAN, name="begun")))
    assert builds.check_name(tmp_path, "taken") == builds.check_name(tmp_path, "begun") == "taken"
    assert builds.free_name(tmp_path, "taken") == "taken-2"
    assert builds.free_name(tmp_path, "a/b: c.") == "a-b- c"
    assert builds.free_name(tmp_path, "///") == "-"


def test_how_a_build_stands_is_found_in_its_folder(tmp_path: Path) -> None:
    """One that works, pauses, is broken off, fails, and is done; found anew each time, as by another window."""
    sleeper = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    try:
        launch = Launch(PLAN, sleeper.pid, processes.mark_of(sleeper.pid), "token")
        folder = written(tmp_path, launch)
        assert found(tmp_path).state == State.STARTING
        tell(folder, {"event": "plan", "tiles": 200})
        tell(
            folder,
            {"event": "progress", "done": 50, "total": 200, "seconds_left": 7.5, "rows": [40, 180]},
        )
        working = found(tmp_path)
        assert working.state == State.WORKING and working.story.share == 0.25
        assert (
            working.story.rows == (40, 180) and working.story.seconds_left == 7.5 and working.live
        )
        (folder / builds.PAUSE).touch()
        assert found(tmp_path).state == State.PAUSING
    finally:
        sleeper.kill()
        sleeper.wait()
    assert found(tmp_path).state == State.PAUSED
    (folder / builds.PAUSE).unlink()
    assert found(tmp_path).state == State.BROKEN_OFF
    tell(folder, {"event": "error", "problem": "the disk is full", "remedy": "Make room"})
    failed = found(tmp_path)
    assert failed.state == State.FAILED and failed.story.problem == "the disk is full"
    (tmp_path / "harbour.index").mkdir()
    (tmp_path / "harbour.index" / "manifest.json").write_text("{}")
    assert found(tmp_path).state == State.DONE


@pytest.mark.parametrize(
    "text", ["", "[]", '{"plan": 3}', '{"plan": {"name": 3}}', '{"plan": {}}', "[" * 50_000]
)
def test_a_damaged_note_is_passed_over(tmp_path: Path, text: str) -> None:
    folder = written(tmp_path, Launch(PLAN))
    (folder / builds.BUILD).write_text(text)
    assert builds.find_builds(tmp_path) == []


def test_odd_events_do_no_harm(tmp_path: Path) -> None:
    folder = written(tmp_path, Launch(PLAN))
    tell(
        folder,
        {"event": "progress", "done": "many", "total": -4, "seconds_left": "soon", "rows": [1]},
        {"event": "unheard of"},
    )
    with open(folder / builds.EVENTS, "a") as file:
        file.write("no json\n{\n")
    build = found(tmp_path)
    assert build.story.share == 0.0 and build.state == State.BROKEN_OFF


@pytest.mark.skipif(os.name == "nt", reason="POSIX signals")
def test_giving_up_deletes_what_was_made_but_no_finished_index(tmp_path: Path) -> None:
    written(tmp_path, Launch(PLAN))
    out = tmp_path / "harbour.index"
    (out / "building").mkdir(parents=True)
    builds.discard(found(tmp_path))
    assert not out.exists() and builds.find_builds(tmp_path) == []
    written(tmp_path, Launch(PLAN))
    out.mkdir()
    (out / "manifest.json").write_text("{}")
    builds.discard(found(tmp_path))
    assert (out / "manifest.json").is_file(), "it was done before it was given up"


def test_a_name_that_is_being_built_is_not_begun_twice(tmp_path: Path) -> None:
    from engine.errors import NadirError

    written(tmp_path, Launch(PLAN))
    with pytest.raises(NadirError, match="being built"):
        builds.begin(tmp_path, PLAN)
