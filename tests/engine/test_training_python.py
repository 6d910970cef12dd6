"""The installed program leaves training to another Python: it is found, set up, and given the command line."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from engine import training_python
from engine.errors import TrainingError

ROOT = Path(__file__).resolve().parents[2]
posix = pytest.mark.skipif(sys.platform == "win32", reason="scripts of a Unix shell stand in")

# A program as PyInstaller makes it, but for being frozen: it has no PyTorch, and the engine as source beside it.
PROGRAM = """
import importlib.util, sys
sys.frozen, sys._MEIPASS = True, {inside!r}
find = importlib.util.find_spec
importlib.util.find_spec = lambda name, *rest: None if name == "torch" else find(name, *rest)
from engine import training_python
training_python.Needs.room = 1  # the stand-ins need none
from engine.cli import main
sys.exit(main(sys.argv[1:]))
"""


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """The installed program's folder, with an empty PATH beside it."""
    source = tmp_path / "_internal/source"
    source.mkdir(parents=True)
    (source / "engine").symlink_to(ROOT / "engine")
    (source / "training-requirements.txt").write_text("--no-index\n")
    (tmp_path / "_internal/resources").symlink_to(ROOT / "resources")
    (tmp_path / "bin").mkdir()
    for tool in ("mkdir", "chmod"):
        (tmp_path / "bin" / tool).symlink_to(f"/bin/{tool}")
    (tmp_path / "work").mkdir()
    return tmp_path


def nadir(place: Path, *words: str) -> subprocess.CompletedProcess[str]:
    code = PROGRAM.format(inside=str(place / "_internal"))
    environ = {"PATH": str(place / "bin"), "HOME": str(place), "PYTHONPATH": str(ROOT)}
    environ["PYTHONSAFEPATH"] = "1"  # as the frozen program's own Python is
    return subprocess.run(
        [sys.executable, "-c", code, *words],
        cwd=place / "work",
        env=environ,
        capture_output=True,
        text=True,
        timeout=120,
    )


def script(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)


@posix
@pytest.mark.parametrize("where", ["bin/python3", ".local/share/nadir/training-python/bin/python"])
def test_another_python_runs_what_needs_pytorch(place: Path, where: str) -> None:
    script(place / where, f'exec {sys.executable} "$@"')
    for name in ("torch.py", "json.py", "engine/__main__.py", "engine/__init__.py"):
        (place / "work" / name).parent.mkdir(exist_ok=True)
        (place / "work" / name).write_text("raise SystemExit('a stranger file was run')")
    done = nadir(place, "export", "--checkpoint", "none.pt", "--out", "x.encoder")
    assert done.returncode == 1 and "none.pt" in done.stderr and "PyTorch" not in done.stderr
    assert "stranger" not in done.stderr
    done = nadir(place, "train", "--help")
    assert done.returncode == 0 and "--recipe" in done.stdout
    said = nadir(place, "doctor").stdout
    assert f"ok Python         {place / where}" in said and "torch" not in said


@posix
def test_without_one_it_says_how_to_get_it(place: Path) -> None:
    script(place / "bin/python3", "exit 1")
    for verb in training_python.VERBS:
        done = nadir(place, verb, "x")
        assert done.returncode == 1 and "nadir doctor --set-up-training" in done.stderr
    assert "none with PyTorch" in nadir(place, "doctor").stdout


@posix
def test_it_is_set_up_on_request_and_nothing_is_left_when_that_fails(place: Path) -> None:
    """With a stand-in that makes environments whose pip works or fails; the real one takes gigabytes of network."""
    data = place / ".local/share/nadir"
    pip = f'#!/bin/sh\\n[ -d "$TMPDIR" ] && echo "pip: $4 $7" && exit {{}}\\nexec {sys.executable} "$@"\\n'
    make = f"""
case $1 in
-I) exit 0 ;;
-m) mkdir -p "$4/bin" && printf '{pip}' >"$4/bin/python" && chmod +x "$4/bin/python" ;;
*) exit 1 ;;
esac"""
    script(place / "bin/python3", make.format("3"))
    done = nadir(place, "doctor", "--set-up-training")
    assert done.returncode == 1 and "failed: see above" in done.stderr
    assert f"python3 -m venv --clear {data}/training-python" in done.stdout
    assert "training-requirements.txt" in done.stdout
    assert not list(data.iterdir())
    script(place / "bin/python3", make.format("0"))
    done = nadir(place, "doctor", "--set-up-training")
    assert done.returncode == 0 and "trains and imports" in done.stdout
    assert [path.name for path in data.iterdir()] == ["training-python"]


def test_a_disk_without_room_is_told_before_anything_is_begun(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training_python, "own_environment", lambda: tmp_path / "data" / "python")
    monkeypatch.setattr(training_python, "base_python", lambda: Path(sys.executable))
    monkeypatch.setattr(training_python.Needs, "room", 10**18)
    with pytest.raises(TrainingError, match="setting up PyTorch needs about"):
        training_python.set_up(lambda command: pytest.fail(f"{command} was to be run"))
    assert not list((tmp_path / "data").iterdir())


@posix
def test_without_any_python_it_says_what_to_install(place: Path) -> None:
    done = nadir(place, "doctor", "--set-up-training")
    assert done.returncode == 1 and "python3-venv" in done.stderr


def test_a_checkout_needs_none_of_it(capsys: pytest.CaptureFixture[str]) -> None:
    from engine.cli import main

    assert main(["doctor", "--set-up-training"]) == 1
    assert "only the installed program" in capsys.readouterr().err
    with pytest.raises(TrainingError):
        training_python.commands(Path("python3"))


def test_the_data_lies_where_the_window_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    from PySide6.QtCore import QCoreApplication, QStandardPaths

    before = QCoreApplication.applicationName()
    QCoreApplication.setApplicationName("nadir")
    try:
        place = QStandardPaths.StandardLocation.AppDataLocation
        assert training_python.data_folder() == Path(QStandardPaths.writableLocation(place))
        if sys.platform == "linux":
            monkeypatch.setenv("XDG_DATA_HOME", os.sep + "somewhere else")
            assert training_python.data_folder() == Path(QStandardPaths.writableLocation(place))
    finally:
        QCoreApplication.setApplicationName(before)
