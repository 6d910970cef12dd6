"""Setting up a Python to train with: what is found, what is shown, what is left when it fails."""

from __future__ import annotations

import sys
import threading
import time
from pathlib import Path

import pytest

from app.training import interpreter, set_up
from engine import shipped, training_python
from engine.errors import Cancelled, TrainingError


@pytest.fixture(autouse=True)
def room(monkeypatch: pytest.MonkeyPatch) -> None:
    """What these tests set up is small."""
    monkeypatch.setattr(training_python.Needs, "room", 1)


def quietly(_done: int, _total: int, _text: str) -> None:
    return None


def test_a_python_of_the_system_is_found(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    old = tmp_path / "python3"
    old.write_text("#!/bin/sh\nexit 1\n")
    old.chmod(0o755)
    (tmp_path / "python3.13").symlink_to(Path(sys.executable).resolve())
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(sys, "executable", "/opt/nadir/nadir")
    assert interpreter.pythons_on_path() == [old, tmp_path / "python3.13"]
    assert training_python.base_python() == tmp_path / "python3.13"


def test_without_a_good_one_there_is_none(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert training_python.base_python() is None


def frozen(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    (folder / "source").mkdir(parents=True)
    (folder / "source" / "training-requirements.txt").write_text("torch==2.0\n")
    monkeypatch.setattr(sys, "frozen", True, raising=False)
    monkeypatch.setattr(sys, "_MEIPASS", str(folder), raising=False)


def test_the_frozen_program_shows_what_it_would_run(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with pytest.raises(TrainingError):
        training_python.commands(Path("/usr/bin/python3"), tmp_path)
    frozen(monkeypatch, tmp_path / "_internal")
    steps = training_python.commands(Path("/usr/bin/python3"), tmp_path / "my python")
    make, fill = training_python.shown(steps).splitlines()
    assert make.startswith("/usr/bin/python3 -m venv") and "'" in make
    assert fill.endswith("_internal/source/training-requirements.txt")
    assert shipped.training_packages().startswith("-r ")
    assert interpreter.environment()["PYTHONPATH"].startswith(str(tmp_path / "_internal/source"))
    monkeypatch.setattr(interpreter, "own_environment", lambda: tmp_path / "my python")
    (tmp_path / "my python/bin").mkdir(parents=True)
    (tmp_path / "my python/bin/python").touch()
    assert interpreter.candidates("")[0] == tmp_path / "my python/bin/python"


def test_the_frozen_program_starts_itself(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert shipped.own_command() == [sys.executable, "-m", "engine"]
    frozen(monkeypatch, tmp_path)
    assert shipped.own_command() == [sys.executable]
    assert shipped.resources() == tmp_path / "resources"


def make_folder(folder: Path) -> list[str]:
    return [sys.executable, "-c", f"import pathlib; pathlib.Path({str(folder)!r}).mkdir()"]


def test_it_is_set_up_and_told(tmp_path: Path) -> None:
    folder, told = tmp_path / "data" / "python", []
    steps = [
        make_folder(folder),
        [sys.executable, "-uc", "print('Collecting torch'); import time; time.sleep(0.4)"],
    ]
    found = set_up.set_up(steps, folder, lambda *what: told.append(what))
    assert found == interpreter.python_in(folder) and folder.is_dir()
    assert (1, 2, "Collecting torch") in told


def test_what_failed_leaves_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "python"
    code = "import sys; print('ERROR: No matching distribution found for torch'); sys.exit(1)"
    with pytest.raises(TrainingError, match="No matching distribution"):
        set_up.set_up([make_folder(folder), [sys.executable, "-c", code]], folder, quietly)
    assert not folder.exists()
    assert "No matching distribution" in set_up.log_of(folder).read_text()


RETRY = (
    "WARNING: Retrying (Retry(total=4, connect=None, read=None, redirect=None, status=None)) after connection broken "
    "by 'NewConnectionError(...: Failed to establish a new connection: [Errno -3] Temporary failure in name "
    "resolution')': /simple/torch/"
)


def test_without_a_network_it_says_so(tmp_path: Path) -> None:
    folder, told = tmp_path / "python", []
    code = (
        f"import sys, time; print({RETRY!r}, flush=True); time.sleep(0.4); "
        "print('ERROR: No matching distribution found for torch'); sys.exit(1)"
    )
    with pytest.raises(TrainingError) as caught:
        set_up.set_up(
            [make_folder(folder), [sys.executable, "-c", code]],
            folder,
            lambda *what: told.append(what[2]),
        )
    assert "the package index cannot be reached" in caught.value.problem
    assert "network" in caught.value.remedy and "python.log" in caught.value.remedy
    assert not any("Retry(" in text or "simple" in text for text in told)
    assert any("trying again" in text for text in told)
    assert RETRY in set_up.log_of(folder).read_text()


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (
            "Collecting torch==2.13.0 (from -r /opt/nadir/source/training-requirements.txt (line 4))",
            "Collecting torch==2.13.0",
        ),
        (
            "  Downloading https://an.index/packages/ab/torch-2.13.0-cp311.whl (900 MB)".strip(),
            "Downloading torch-2.13.0-cp311.whl (900 MB)",
        ),
    ],
)
def test_pips_lines_are_shortened(line: str, said: str) -> None:
    assert set_up.plain(line) == said
    assert len(set_up.plain("Installing collected packages: " + "numpy, " * 60)) <= 120


def test_what_pip_unpacks_goes_with_the_rest(tmp_path: Path) -> None:
    folder = tmp_path / "python"
    code = "import tempfile; open(tempfile.mkdtemp() + '/wheel', 'w').write('x'); print(tempfile.gettempdir())"
    steps = [make_folder(folder), [sys.executable, "-c", code]]
    set_up.set_up(steps, folder, quietly)
    (unpacked,) = set_up.log_of(folder).read_text().split()
    assert Path(unpacked).parent == folder and list(folder.iterdir()) == []


def test_a_tools_scratch_goes_when_it_is_cut_off(tmp_path: Path) -> None:
    code = (
        "import json, tempfile, time; "
        "print(json.dumps({'event': 'at', 'folder': tempfile.mkdtemp()}), flush=True); time.sleep(60)"
    )
    seen: list[Path] = []

    def report(_done: int, _total: int, _text: str) -> None:
        if seen:
            raise Cancelled

    with pytest.raises(Cancelled):
        for event in interpreter.run_tool([sys.executable, "-c", code], report):
            seen.append(Path(event["folder"]))
    assert len(seen) == 1 and not seen[0].exists() and not seen[0].parent.exists()


def test_the_size_is_known_before() -> None:
    assert training_python.needs_of("linux").disk > 2 * training_python.needs_of("win32").disk


def test_what_was_cancelled_leaves_nothing_running(tmp_path: Path) -> None:
    folder, pid_file = tmp_path / "python", tmp_path / "pid"
    code = f"import os, time; open({str(pid_file)!r}, 'w').write(str(os.getpid())); time.sleep(60)"
    stop = threading.Event()

    def report(_done: int, _total: int, _text: str) -> None:
        if (pid_file.is_file() and pid_file.read_text()) or stop.is_set():
            raise Cancelled

    began = time.monotonic()
    with pytest.raises(Cancelled):
        set_up.set_up([make_folder(folder), [sys.executable, "-c", code]], folder, report)
    assert time.monotonic() - began < 20 and not folder.exists()
    assert not Path(f"/proc/{pid_file.read_text()}").exists()
