"""Reading a trainer's events: whole lines only, nothing unknown in the way, resumed runs told once."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from app.training.events import Story, Tail, told


def line(event: str, **values: Any) -> str:
    return json.dumps({"event": event, "version": 1, **values}) + "\n"


def step(number: int, **values: Any) -> dict[str, Any]:
    return {"event": "step", "step": number, "loss": 1.0 / number, **values}


def test_a_line_is_read_once_it_is_whole(tmp_path: Path) -> None:
    file = tmp_path / "events.jsonl"
    tail = Tail(file)
    assert tail.read() == []
    text = line("step", step=1, loss=2.5)
    file.write_text(text[:12])
    assert tail.read() == []
    with open(file, "a") as opened:
        opened.write(text[12:] + line("step", step=2, loss=2.0))
    assert [event["step"] for event in tail.read()] == [1, 2]
    assert tail.read() == []


def test_damaged_lines_are_passed_over_and_counted(tmp_path: Path) -> None:
    file = tmp_path / "events.jsonl"
    file.write_bytes(b'\xff\xfe{"event"\n[1, 2]\n{"no": 1}\n\n' + line("done", step=3).encode())
    tail = Tail(file)
    assert [event["event"] for event in tail.read()] == ["done"]
    assert tail.damaged == 3


def test_a_file_that_was_replaced_is_read_from_its_start(tmp_path: Path) -> None:
    file = tmp_path / "events.jsonl"
    file.write_text(line("step", step=1) + line("step", step=2))
    tail = Tail(file)
    tail.read()
    file.write_text(line("run", step=0))
    assert [event["event"] for event in tail.read()] == ["run"]


def test_the_story_of_a_run() -> None:
    story = Story()
    story.take(
        [
            {"event": "data", "done": 1, "total": 3},
            {"event": "run", "recipe": {"seed": 4}, "step": 0, "parameters": 10},
            step(10, share=0.25, elapsed_s=5.0, memory_bytes=100),
            {"event": "something later", "step": "x"},
            step(20, share=0.5, elapsed_s=10.0, memory_bytes=120, new_key="?"),
            {
                "event": "validation",
                "step": 20,
                "queries": {
                    "360 known": {"R@1<25m": 0.5, "median_error_m": 3.0},
                    "90 known": {"R@1<25m": 0.25},
                },
                "pairs": [
                    {"photo": "pairs/20/0-photo.jpg", "tile": "pairs/20/0-tile.jpg", "rank": 2},
                    {"photo": "../../etc/passwd", "tile": "pairs/20/0-tile.jpg"},
                    {"photo": "/etc/passwd", "tile": "pairs/20/0-tile.jpg"},
                    "no pair",
                ],
            },
            {"event": "checkpoint", "step": 20, "file": "/runs/a/best.pt", "best": True},
            {"event": "checkpoint", "step": 20, "file": "/runs/a/checkpoint.pt", "best": False},
        ]
    )
    assert story.phase == "training" and story.recipe == {"seed": 4}
    assert (story.step, story.share) == (20, 0.5)
    assert story.remaining_s == 10.0
    assert story.series["memory_bytes"].values == [100, 120]
    assert story.score == 0.375
    assert story.recalls["360 known median_error_m"].last == 3.0
    (gallery,) = story.galleries
    assert [pair.photo for pair in gallery.pairs] == ["pairs/20/0-photo.jpg"]
    assert (story.best, story.checkpoint) == ("/runs/a/best.pt", "/runs/a/checkpoint.pt")
    story.take([{"event": "paused", "step": 20}])
    assert story.phase == "paused"
    story.take([{"event": "stopped", "step": 21, "elapsed_s": 11.0}])
    assert (story.phase, story.step) == ("stopped", 21)


def test_what_came_after_the_checkpoint_is_told_anew_by_a_resumed_run() -> None:
    story = Story()
    story.take([{"event": "run", "step": 0}, step(10), step(20), step(30)])
    story.take([{"event": "run", "step": 15}, step(20), step(40)])
    assert story.series["loss"].steps == [10, 20, 40]
    assert story.series["loss"].values == [0.1, 0.05, 0.025]


def test_numbers_that_are_none_and_events_without_values_do_no_harm() -> None:
    story = Story()
    story.take(
        [
            {"event": "run"},
            {"event": "step", "step": None, "loss": None, "lr": True, "scale": "high"},
            {"event": "step", "step": 3, "loss": float("nan")},
            {"event": "validation", "queries": [1, 2], "pairs": 7},
            {"event": "checkpoint"},
            {"event": "error"},
        ]
    )
    assert "loss" not in story.series and story.phase == "error" and story.problem == ""


def test_being_interrupted_is_no_fault() -> None:
    story = Story()
    story.take([{"event": "error", "problem": "cancelled"}])
    assert story.phase == "stopped"


def test_the_log_leaves_out_what_is_long() -> None:
    text = told(
        {"event": "run", "version": 1, "recipe": {"a": 1}, "device": "cpu", "loss": 0.123456789}
    )
    assert text == "run          device=cpu  loss=0.123457"
