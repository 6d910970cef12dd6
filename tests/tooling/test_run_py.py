"""``run.py`` in a small checkout: first and second run, interruptions, failed downloads, old Pythons."""

from __future__ import annotations

import ast
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.tooling.small_checkout import ROOT, SmallCheckout, make_wheel

pytestmark = pytest.mark.skipif(
    sys.platform == "win32", reason="signals and paths of POSIX systems"
)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> SmallCheckout:
    """A checkout whose first run has been made, in a folder with spaces and letters of several scripts."""
    root = tmp_path_factory.mktemp("run") / "mein Ordner Надир 街"
    small = SmallCheckout.make(root)
    first = small.run("nadir", "info", "a b.jpg")
    assert first.returncode == 0, first.stderr
    assert "[environment] .venv gets" in first.stderr
    assert "ready after" in first.stderr
    assert json.loads(first.stdout)["arguments"] == ["info", "a b.jpg"]
    return small


def test_the_second_run_is_quick_and_quiet(made: SmallCheckout, tmp_path: Path) -> None:
    taken = []
    for _ in range(3):
        start = time.monotonic()
        again = made.run("nadir", "info", cwd=tmp_path)
        taken.append(time.monotonic() - start)
        assert again.returncode == 0
        assert again.stderr == ""
        assert Path(json.loads(again.stdout)["cwd"]) == tmp_path, "relative paths are the user's"
    assert min(taken) < 2.0, "its own work, whatever else the machine does"


def test_a_folder_named_like_ours_where_the_user_stands_is_not_imported(
    made: SmallCheckout, tmp_path: Path
) -> None:
    (tmp_path / "engine").mkdir()
    (tmp_path / "engine" / "__main__.py").write_text("raise SystemExit('the wrong one')\n")
    assert made.run("nadir", "info", cwd=tmp_path).returncode == 0


def test_a_new_lock_file_is_followed(made: SmallCheckout) -> None:
    make_wheel(made.root / "wheels", "pebble", "1.1")
    made.pin("1.1")
    done = made.run("nadir", "info")
    assert json.loads(done.stdout)["pebble"] == "1.1", done.stderr


def test_a_half_installed_library_is_installed_again(made: SmallCheckout) -> None:
    (made.root / ".venv" / "nadir-ready.json").unlink()
    (made.site_packages / "pebble.py").unlink()
    done = made.run("nadir", "info")
    assert done.returncode == 0, done.stderr
    assert "interrupted; again: pebble" in done.stderr


def test_an_environment_that_lost_its_python_is_made_anew(made: SmallCheckout) -> None:
    for link in (made.root / ".venv" / "bin").glob("python*"):
        link.unlink()
    done = made.run("nadir", "info")
    assert done.returncode == 0, done.stderr
    assert "making it anew" in done.stderr


def test_it_waits_for_another_run(made: SmallCheckout) -> None:
    import fcntl

    (made.root / ".venv" / "nadir-ready.json").unlink()
    with open(made.root / ".venv" / ".lock", "a+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        waiting = subprocess.Popen(
            made.command("nadir", "info"),
            env=made.environ(),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            encoding="utf-8",
        )
        assert waiting.stderr is not None
        said = ""
        while "waiting for it" not in said:
            text = waiting.stderr.readline()
            assert text, said
            said += text
        assert waiting.poll() is None
    assert waiting.wait(200) == 0
    waiting.stderr.close()


@pytest.mark.parametrize(
    ("how", "after_s"), [(signal.SIGINT, 0.6), (signal.SIGKILL, 2.0), (signal.SIGTERM, 2.0)]
)
def test_an_interrupted_first_run_goes_on(
    tmp_path: Path, how: signal.Signals, after_s: float
) -> None:
    small = SmallCheckout.make(tmp_path / "checkout")
    first = subprocess.Popen(
        small.command("nadir", "info"),
        env=small.environ(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    time.sleep(after_s)
    os.killpg(first.pid, how) if how != signal.SIGTERM else first.send_signal(how)
    assert first.wait(120) == (-signal.SIGKILL if how == signal.SIGKILL else 130)
    second = small.run("nadir", "info")
    assert second.returncode == 0, second.stderr
    assert json.loads(second.stdout)["pebble"] == "1.0"


@pytest.mark.parametrize(
    ("variables", "words"),
    [
        ({"PIP_NO_INDEX": "1"}, "The package index has no pebble"),
        (
            {"PIP_NO_INDEX": "0", "PIP_INDEX_URL": "http://127.0.0.1:9/simple"},
            "The download failed",
        ),
    ],
)
def test_a_failed_download_is_explained(
    made: SmallCheckout, variables: dict[str, str], words: str
) -> None:
    made.pin("9.9")
    done = made.run("nadir", "info", variables=variables)
    assert done.returncode == 1
    assert words in done.stderr
    assert "Traceback" not in done.stderr
    assert str(made.root / ".venv" / "nadir-install.log") in done.stderr
    made.pin("1.1")
    assert made.run("nadir", "info").returncode == 0, "and the next run goes on"


def test_a_missing_display_is_explained_before_anything_is_installed(tmp_path: Path) -> None:
    small = SmallCheckout.make(tmp_path / "checkout")
    done = small.run(variables=dict.fromkeys(("DISPLAY", "WAYLAND_DISPLAY", "QT_QPA_PLATFORM"), ""))
    assert done.returncode == 1
    assert "There is no display" in done.stderr
    assert "python3 run.py nadir localize PHOTO" in done.stderr
    assert not (small.root / ".venv").exists()


def test_a_folder_that_is_no_environment_is_left_alone(tmp_path: Path) -> None:
    small = SmallCheckout.make(tmp_path / "checkout")
    (small.root / ".venv").mkdir()
    (small.root / ".venv" / "thesis.txt").write_text("irreplaceable")
    done = small.run("nadir", "info")
    assert done.returncode == 1
    assert "thesis.txt" in done.stderr
    assert (small.root / ".venv" / "thesis.txt").exists()


def test_help_needs_nothing(tmp_path: Path) -> None:
    small = SmallCheckout.make(tmp_path / "checkout")
    done = small.run("--help")
    assert done.returncode == 0
    assert "python3 run.py test" in done.stdout
    assert not (small.root / ".venv").exists()


def test_an_old_python_is_told_so() -> None:
    pretend = (
        "import runpy, sys; sys.argv = ['run.py', 'test']; sys.version_info = (3, 8, 10, 'final', 0); "
        f"runpy.run_path({str(ROOT / 'run.py')!r}, run_name='__main__')"
    )
    done = subprocess.run([sys.executable, "-c", pretend], capture_output=True, text=True)
    assert done.returncode == 1
    assert "Python 3.11 or newer is needed; this is Python 3.8." in done.stderr
    assert "Traceback" not in done.stderr


def test_old_pythons_can_parse_it() -> None:
    tree = ast.parse((ROOT / "run.py").read_text("ascii"), feature_version=(3, 4))
    new = (ast.JoinedStr, ast.AnnAssign, ast.NamedExpr, ast.Match)
    assert not [node for node in ast.walk(tree) if isinstance(node, new)]
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]
    assert not any(f.returns or any(a.annotation for a in f.args.args) for f in functions)
