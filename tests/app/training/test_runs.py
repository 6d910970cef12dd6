"""Runs on disk and their processes: known again, told apart, ended with all they started."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from app.notices import headline_of
from app.training import processes, work
from app.training.interpreter import broken
from app.training.launch import Plan, begin, end_now, train_command, wait_gone
from app.training.runs import (
    Launch,
    Run,
    State,
    check_name,
    differences,
    find_runs,
    free_name,
    last_lines,
    read_launch,
    read_run,
    write_launch,
)
from app.training.setup_words import data_words, rendering_words
from app.training.words import at_length, complaint, duration, recall_words, what_failed
from engine.errors import TrainingError

POSIX = pytest.mark.skipif(os.name == "nt", reason="POSIX processes")
PARENT = """
import subprocess, sys, time
subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"], start_new_session=True)
time.sleep(60)
"""


def events(folder: Path, *entries: dict[str, object]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "events.jsonl").write_text("".join(json.dumps(e) + "\n" for e in entries))


@POSIX
def test_a_process_is_known_by_the_moment_it_began(tmp_path: Path) -> None:
    process = processes.start(
        [sys.executable, "-c", "import sys, time; print('oh', file=sys.stderr); time.sleep(60)"],
        folder=tmp_path,
        environment={processes.TOKEN: "one"},
        errors=tmp_path / "stderr.log",
    )
    mark = processes.mark_of(process.pid)
    assert mark and processes.lives(process.pid, mark)
    assert not processes.lives(process.pid, "another moment")
    assert os.getsid(process.pid) != os.getsid(0)
    assert processes.end("one", process.pid, mark)
    assert not processes.lives(process.pid, mark)  # not yet waited for, and gone all the same
    process.wait()
    assert processes.mark_of(process.pid) == "" == processes.mark_of(0)


@POSIX
def test_the_whole_family_ends_even_children_in_sessions_of_their_own(tmp_path: Path) -> None:
    process = processes.start(
        [sys.executable, "-c", PARENT],
        folder=tmp_path,
        environment={processes.TOKEN: "family-1"},
        errors=tmp_path / "stderr.log",
    )
    mark = processes.mark_of(process.pid)
    deadline = time.monotonic() + 10
    while len(processes.family("family-1", process.pid, mark)) < 2 and time.monotonic() < deadline:
        time.sleep(0.02)
    members = processes.family("family-1", process.pid, mark)
    assert len(members) == 2
    assert processes.end("family-1", process.pid, mark)
    process.wait()
    assert all(processes.mark_of(member) == "" for member in members)


@POSIX
def test_strangers_are_never_family() -> None:
    us, above = os.getpid(), os.getppid()
    assert processes.family("") == [] == processes.family("nobody bears this")
    for pid in (-1, 0, 1, us, above):
        assert us not in processes.family("", pid, processes.mark_of(pid))
    assert processes.family("", 0, "") == [] == processes.family("", 1, processes.mark_of(1))
    # A number that the system has given to somebody else since.
    assert processes.family("", us, "another moment") == []


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_orphans_are_found_by_their_token(tmp_path: Path) -> None:
    orphan = "import subprocess, sys; subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])"
    done = subprocess.run(
        [sys.executable, "-c", orphan],
        env={**os.environ, processes.TOKEN: "orphan-1"},
        check=True,
        start_new_session=True,
    )
    assert done.returncode == 0
    until = time.monotonic() + 10  # it is left behind before it is under way
    while not (found := processes.family("orphan-1")) and time.monotonic() < until:
        time.sleep(0.05)
    (left,) = found
    assert processes.end("orphan-1") and processes.mark_of(left) == ""


def test_what_was_started_is_kept_and_read_again(tmp_path: Path) -> None:
    launch = Launch(
        "tiny", "/data", ("cuda:0", "cuda:1"), 5.0, "python", 12, "mark", "token", "now"
    )
    write_launch(tmp_path, launch)
    assert read_launch(tmp_path) == launch
    for spoiled in (
        "",
        "[]",
        '{"recipe": 3, "data": ""}',
        '{"recipe": "a", "data": "b", "pid": "x"}',
    ):
        (tmp_path / "run.json").write_text(spoiled)
        assert read_launch(tmp_path) is None


def test_states(tmp_path: Path) -> None:
    def state(name: str, *entries: dict[str, object], launched: bool = True) -> State:
        events(tmp_path / name, *entries)
        if launched:
            write_launch(tmp_path / name, Launch("tiny", "", pid=0, mark=""))
        run = read_run(tmp_path / name)
        assert run is not None
        return run.state

    assert state("a", {"event": "run"}, {"event": "done", "step": 5}) == State.DONE
    assert state("b", {"event": "run"}, {"event": "stopped", "step": 5}) == State.STOPPED
    assert state("c", {"event": "run"}, {"event": "step", "step": 5}) == State.FAILED
    assert state("d", {"event": "error", "problem": "no"}) == State.FAILED
    assert state("e", launched=False) == State.EMPTY
    mine = Launch("tiny", "", pid=os.getpid(), mark=processes.mark_of(os.getpid()))
    run = Run(tmp_path / "c", mine)
    run.take(run.look())
    assert run.state == State.TRAINING and run.live
    (tmp_path / "c" / "pause").touch()
    run.take(run.look())
    assert run.state == State.PAUSING
    run.story.take([{"event": "paused"}])
    assert run.state == State.PAUSED
    (tmp_path / "c" / "stop").touch()
    run.take(run.look())
    assert run.state == State.STOPPING
    assert {path.name for path in find_runs(tmp_path)} == {"a", "b", "c", "d", "e"}
    assert find_runs(tmp_path / "nowhere") == []


def test_names(tmp_path: Path) -> None:
    assert check_name(tmp_path, "port-nemo, 2. Versuch") == ""
    assert check_name(tmp_path, "  ") == "empty"
    assert check_name(tmp_path, "a/b") == check_name(tmp_path, "..") == "characters"
    assert check_name(tmp_path, "ü" * 100) == "characters"
    events(tmp_path / "tiny-1", {"event": "run"})
    assert check_name(tmp_path, "tiny-1") == "taken"
    assert free_name(tmp_path, "tiny") == "tiny-2"


def test_commands(tmp_path: Path) -> None:
    one = Launch("tiny", "", ("cpu",), 3.0, "python")
    command = train_command(tmp_path, one, tmp_path, resume=True)
    assert command[:4] == ["python", "-m", "engine", "train"]
    assert command[-1] == "--resume" and command[command.index("--minutes") + 1] == "3"
    two = Launch("tiny", "", ("cuda:0", "cuda:2"), None, "python")
    command = train_command(tmp_path, two, tmp_path, resume=False)
    assert command[1:6] == ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    assert "--minutes" not in command and "--resume" not in command


def test_differences_between_recipes() -> None:
    one = {"seed": 1, "loss": {"name": "a", "scale": 14.0}}
    two = {"seed": 1, "loss": {"name": "b"}, "note": "x"}
    assert differences([one, two]) == [
        ("loss.name", ["a", "b"]),
        ("loss.scale", [14.0, None]),
        ("note", [None, "x"]),
    ]
    assert differences([one, one]) == []


def test_a_run_that_cannot_start_says_why(tmp_path: Path) -> None:
    plan = Plan("new", tmp_path, "tiny", None, ("cpu",), None, tmp_path / "no-python")
    with pytest.raises(TrainingError, match="cannot be started"):
        begin(plan)
    events(tmp_path / "there", {"event": "run"})
    with pytest.raises(TrainingError, match="stands there already"):
        begin(Plan("there", tmp_path, "tiny", None, ("cpu",), None, Path(sys.executable)))


@POSIX
def test_a_trainer_that_breaks_off_is_explained(tmp_path: Path) -> None:
    script = tmp_path / "python"
    script.write_text(
        "#!/bin/sh\necho 'Traceback (most recent call last):' >&2\necho 'ImportError: no torch' >&2\nexit 3\n"
    )
    script.chmod(0o755)
    run = begin(Plan("new", tmp_path / "runs", "tiny", None, ("cpu",), None, script))
    assert wait_gone(run, 10)
    run.take(run.look())
    assert run.state == State.FAILED and run.code == 3
    headline, text = what_failed(run)
    assert "exit code 3" in headline
    assert text.startswith("ImportError: no torch.") and "no checkpoint yet" in text
    end_now(run)  # of one that is gone: nothing happens


def test_the_end_of_a_log(tmp_path: Path) -> None:
    file = tmp_path / "stderr.log"
    file.write_bytes(b"10%\r20%\r100%\n\n\xffoops\n" + b"x" * 50_000 + b"\nlast\n")
    assert last_lines(file, 2).endswith("\nlast")
    assert last_lines(tmp_path / "none") == ""
    assert complaint("Traceback\nValueError: bad\nnvidia: warning\n") == "nvidia: warning"
    assert complaint("nadir: towns: is empty.\nother\n") == "towns: is empty."


def test_times_as_people_say_them() -> None:
    said = [duration(s) for s in (0.2, 59, 600, 3600 * 2, 3600 * 2 + 300, 3600 * 50)]
    assert said == ["1 s", "59 s", "10 min", "2 h", "2 h 5 min", "2 d 2 h"]


def test_a_recipe_says_what_it_trains(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text(
        "# SAIG with SMD on rendered towns: four blocks\n# of 128 channels. More.\nseed = 1\n"
        '# not this\n[about]\ndata = "Towns"\n[data]\ntowns = [1]\n'
    )
    facts = work.recipe_facts(file)
    assert (facts.name, facts.title, facts.data) == (
        "mine",
        "SAIG with SMD on rendered towns",
        "Towns",
    )
    assert facts.renders and facts.notes.endswith("blocks of 128 channels. More.")
    file.write_text("seed = [")
    assert work.recipe_facts(file) == work.Shipped("mine", "", "", "", False)
    shipped = work.shipped_recipes(lambda *_: None)
    assert shipped[0].name == "port-nemo" and all(recipe.title for recipe in shipped)
    assert [recipe.renders for recipe in shipped] == sorted(
        (recipe.renders for recipe in shipped), reverse=True
    )


def test_a_mean_of_recalls_is_called_so(tmp_path: Path) -> None:
    run = Run(tmp_path, None)
    queries = {"360 known": {"R@1<25m": 0.3}}
    run.story.take([{"event": "validation", "step": 10, "queries": queries}])
    assert "best recall 30.0 %" in at_length(run) and recall_words(run, 0.3) == "recall 30.0 %"
    queries = {"360 known": {"R@1<25m": 0.175}, "90 known": {"R@1<25m": 0.525}}
    run = Run(tmp_path, None)
    run.story.take([{"event": "validation", "step": 20, "queries": queries}])
    assert "best mean of the 2 recalls 35.0 %" in at_length(run)
    assert recall_words(run, 0.35) == "mean recall 35.0 %"


def test_what_is_to_be_rendered_and_for_how_long() -> None:
    data = {"pairs": 0, "to_render": 2, "pairs_to_render": 32500, "render_s": 840.0, "other": 1}
    words = data_words(data, rendered=True)
    assert "32,500 pairs in 2 towns are rendered first, about 14 min." in words
    assert "another recipe" in words and "14 min" in rendering_words(data)
    assert "into this folder" in data_words(data, rendered=False)
    assert rendering_words({"pairs": 3}) == ""


def test_a_file_keeps_its_name() -> None:
    error = broken("nadir: rubbish.pth: is no file of weights. Choose another.", 1)
    assert headline_of(error).startswith("rubbish.pth: is no")
    assert headline_of(broken("nadir: cannot go on", 1)) == "Cannot go on."
