"""Every command that a page names is one that the program takes; the README's own are run."""

from __future__ import annotations

import hashlib
import importlib.util
import itertools
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from bootstrap import start
from bootstrap.console import Console
from bootstrap.environment import Environment
from engine.cli import _southern, make_parser
from engine.geo import tile_bounds
from engine.imagery import open_imagery
from engine.training.recipes import load_recipe
from freeze.archives import Release, tarball
from tests.tooling.test_guide import PAGES, PROBLEM, ROOT, blocks, lay_out, run_nadir

README = ROOT / "README.md"

# How the README's commands are made small enough to run here: what stands there, what is run.
REDUCED = {
    "--area-km2 1 --panoramas 300 --photos 300": "--area-km2 0.02 --panoramas 2 --photos 2",
    "--near=48.2,16.37,500": "--near=-48.870459,-123.387642,150",
    "import statewide.safetensors": "import best_model.pth --option aggregation=spoc "
    "--query-size 64x96 --reference-size 64x96",
    "ortho.tif --encoder statewide.encoder": "ortho.tif --encoder statewide.encoder "
    "--extent-m 60 --stride-m 30",
}

# What commands with gaps in them mean: as they stand in a sentence, and what a reader would type.
MEANT = {
    "nadir evaluate --dataset DIR --format world|cvusa|vigor|...": (
        "nadir evaluate --dataset DIR --format world|cvusa|vigor"
    ),
    "nadir import … --precision fp16": "nadir import CHECKPOINT --precision fp16",
    "nadir train --recipe NAME": "nadir train --recipe port-nemo",
    "nadir world OUT --seed N": "nadir world OUT --seed 7",
    "python3 run.py nadir": "python3 run.py nadir doctor",
    "python3 run.py nadir ...": "python3 run.py nadir doctor",
}

# What sentences leave out because it goes without saying there.
LEFT_OUT = {
    "export": "--checkpoint best.pt --out NAME.encoder",
    "import": "--out NAME.encoder",
    "localize": "photo.jpg",
    "train": "--out RUN",
}

# What needs root, or a program that was built: the proof of the packages does it. The text says where in it.
PROOF = ROOT / "packaging" / "smoke_test.py"
PROVEN = {
    "./install.sh": 'unpacked / "install.sh"',
    "~/.local/lib/nadir/uninstall.sh": 'installed / "uninstall.sh"',
    "sudo apt install ./nadir_VERSION_amd64.deb": '"apt-get", "install"',
    "sudo apt remove nadir": '"dpkg", "--purge", "nadir"',
}

_FENCE = re.compile(r"^```(.*?)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_SPAN = re.compile(r"(?<!`)`([^`]+)`(?!`)")
_VERBS = re.compile(r"[a-z]+( [a-z]+)*")

_PARSE_ONLY = """
import argparse, runpy, sys

parse = argparse.ArgumentParser.parse_args

def parse_only(*words, **options):
    parse(*words, **options)
    print("TAKEN")
    raise SystemExit

argparse.ArgumentParser.parse_args = parse_only
kind, name, *words = sys.argv[1:]
sys.argv = [name, *words]
run = runpy.run_module if kind == "module" else runpy.run_path
run(name, run_name="__main__")
"""


def spans(page: Path) -> list[str]:
    """What stands in backquotes in the sentences and tables of a page, each on one line."""
    text = _FENCE.sub("", page.read_text("utf-8"))
    return [" ".join(span.replace("\\|", "|").split()) for span in _SPAN.findall(text)]


def is_command(span: str) -> bool:
    """Whether code in a sentence is something to type: several words, the first that of a program."""
    first, *rest = span.split(" ")
    if re.fullmatch(r"[\w.~/][\w.~/-]*", first) is None:
        return False
    return bool(rest) or first.startswith("./") or (first[0] == "~" and first.endswith(".sh"))


def lines(page: Path) -> list[str]:
    """The commands of a page's blocks, without their comments."""
    found = [line for _, code in blocks(page, "sh") for line in code.splitlines()]
    return [shlex.join(shlex.split(line, comments=True)) for line in found if line.strip()]


IN_BLOCKS = sorted({line for page in PAGES for line in lines(page)})
IN_SENTENCES = sorted({span for page in PAGES for span in spans(page) if is_command(span)})


@pytest.mark.parametrize("page", [pytest.param(page, id=page.name) for page in PAGES])
def test_every_block_says_what_it_is(page: Path) -> None:
    for language, code in _FENCE.findall(page.read_text("utf-8")):
        assert language in ("sh", "python", "text"), code


def test_commands_are_found() -> None:
    assert len(IN_BLOCKS) >= 30 and len(IN_SENTENCES) >= 25
    assert set(MEANT) <= set(IN_SENTENCES), sorted(set(MEANT) - set(IN_SENTENCES))
    assert set(PROVEN) <= set(IN_SENTENCES), sorted(set(PROVEN) - set(IN_SENTENCES))


@pytest.mark.parametrize("command", IN_BLOCKS)
def test_a_command_in_a_block_is_taken(command: str, tmp_path: Path, monkeypatch) -> None:
    check(shlex.split(command), tmp_path, monkeypatch)


@pytest.mark.parametrize("command", IN_SENTENCES)
def test_a_command_in_a_sentence_is_taken(command: str, tmp_path: Path, monkeypatch) -> None:
    if command in PROVEN:
        assert PROVEN[command] in PROOF.read_text("utf-8")
        return
    choices = [word.split("|") for word in shlex.split(MEANT.get(command, command))]
    for words in itertools.product(*choices):
        program, *rest = words
        if program != "nadir":
            check(list(words), tmp_path, monkeypatch)
        elif _VERBS.fullmatch(" ".join(rest)):
            assert status_of([*rest, "--help"]) == 0, command
        elif status_of(rest) != 0:
            assert_nadir_takes([*rest, *LEFT_OUT.get(rest[0], "").split()])


def check(words: list[str], folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """That the program named takes exactly these words. Fails for a program that is not known here."""
    match words:
        case ["nadir", *rest]:
            assert_nadir_takes(rest)
        case ["python3", "run.py", *rest]:
            assert_run_py_takes(rest, monkeypatch)
        case ["python3" | ".venv/bin/python" as python, "-m", module, *rest]:
            assert_program_takes(python, "module", module, rest)
        case ["python3" | ".venv/bin/python" as python, script, *rest] if script.endswith(".py"):
            assert_program_takes(python, "script", script, rest)
        case ["sha256sum", *_]:
            assert_sums_hold(words, folder)
        case ["./nadir/nadir"]:
            assert_archive_holds(words, folder)
        case _:
            pytest.fail(f"nothing here tries: {shlex.join(words)}")


def status_of(words: list[str]) -> int:
    """What the real parser of ``nadir`` makes of the words: 0, or its exit status."""
    try:
        make_parser(words[0]).parse_args(_southern(words))
    except SystemExit as end:
        return int(end.code or 0)
    return 0


def assert_nadir_takes(words: list[str]) -> None:
    """That ``nadir`` takes the words, and knows the recipe they name."""
    assert status_of(words) == 0, f"nadir {shlex.join(words)}"
    if "--recipe" in words:
        load_recipe(words[words.index("--recipe") + 1])


def assert_run_py_takes(words: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """That ``run.py`` hands these words on to a program that takes them. What it does with them: test_run_py.py."""
    handed: list[tuple[str, list[str]]] = []

    def catch(name: str, position: int) -> None:
        def caught(*arguments: object) -> int:
            taken = arguments[position]
            assert isinstance(taken, list)
            handed.append((name, taken))
            return 0

        monkeypatch.setattr(start, name, caught)

    for name in ("prepare", "forget", "_try_out"):
        monkeypatch.setattr(start, name, lambda *_, **__: False)
    catch("_open_window", 0)
    catch("_test", 0)
    catch("_become", 1)
    assert start._dispatch(words, Environment(ROOT), Console(sys.stderr)) == 0
    for name, rest in handed:
        if name == "_become":
            assert rest[:2] == ["-m", "engine"]
            assert_nadir_takes(rest[2:])
        elif name == "_test":
            assert_pytest_takes([word for word in rest if word != "--headed"])
        else:
            assert not rest, f"run.py would take {rest[0]} for a photo"


def assert_pytest_takes(words: list[str]) -> None:
    """That there are such tests. A folder of them is there or not; what else is said, pytest itself is asked."""
    if any(word.startswith("-") for word in words):
        done = run_python("-m", "pytest", "--collect-only", "-q", "-p", "no:cacheprovider", *words)
        assert done.returncode == 0, done.stdout
    else:
        assert all((ROOT / word).exists() for word in words), words


def assert_program_takes(python: str, kind: str, name: str, words: list[str]) -> None:
    """That a script or module of the checkout is there, and that its own parser takes the words.

    A system's ``python3`` has nothing but the standard library, and a script does not see the folder one stands in.
    """
    options = ["-S"] if python == "python3" else []
    options += ["-P"] if kind == "script" else []
    done = run_python(*options, "-c", _PARSE_ONLY, kind, name, *words)
    assert done.stdout.endswith("TAKEN\n"), f"{name} {shlex.join(words)}\n{done.stderr}"


def run_python(*words: str) -> subprocess.CompletedProcess[str]:
    """Run Python in the checkout."""
    return subprocess.run(
        [sys.executable, *words], cwd=ROOT, capture_output=True, encoding="utf-8", timeout=100
    )


def assert_sums_hold(words: list[str], folder: Path) -> None:
    """That the check passes for whoever has one of the files, and fails where that one is damaged."""
    if shutil.which(words[0]) is None:
        pytest.skip(f"no {words[0]} here")
    (folder / "one").write_bytes(b"whole")
    sums = "".join(f"{hashlib.sha256(b'whole').hexdigest()}  {name}\n" for name in ("one", "other"))
    (folder / "SHA256SUMS").write_text(sums, "ascii")
    assert subprocess.run(words, cwd=folder).returncode == 0
    (folder / "one").write_bytes(b"damaged")
    assert subprocess.run(words, cwd=folder).returncode != 0


def assert_archive_holds(words: list[str], folder: Path) -> None:
    """That the command starts the program where the archive was unpacked; here it holds a program that says hello."""
    if sys.platform != "linux":
        pytest.skip("for Linux")
    program = folder / "program"
    program.mkdir()
    (program / "nadir").write_text("#!/bin/sh\necho hello\n")
    (program / "nadir").chmod(0o755)
    (folder / "icons").mkdir()
    facts: dict[str, str] = dict.fromkeys(("VERSION", "DATE", "LIBC", "PYTHON", "ORT"), "1")
    svg = ROOT / "resources" / "icons" / "nadir.svg"
    release = Release(
        program, folder / "icons", svg, folder, folder, facts, ROOT / "LICENSE", 0, False
    )
    archive = tarball(release)
    subprocess.run(["tar", "-xf", str(archive), "-C", str(folder)], check=True)
    inside = folder / archive.name.partition(".tar.")[0]
    done = subprocess.run(words, cwd=inside, capture_output=True, text=True)
    assert done.stdout == "hello\n", done.stderr


def test_the_program_of_every_figure_is_there() -> None:
    named = {span for page in PAGES for span in spans(page) if re.fullmatch(r"tests(\.\w+)+", span)}
    assert named
    for module in named:
        assert importlib.util.find_spec(module) is not None, module


def test_the_parser_is_asked() -> None:
    assert status_of(["index", "bild"]) != 0
    assert status_of(["localize", "photo.jpg", "--nearer", "1,2,3"]) != 0
    with pytest.raises(AssertionError):
        assert_program_takes("python3", "script", "packaging/build.py", ["--smaller"])
    with pytest.raises(AssertionError):
        assert_program_takes("python3", "module", "tests.benchmarks", [])


@pytest.mark.skipif(bool(PROBLEM), reason=PROBLEM)
def test_the_manual_names_every_option_of_the_window(capsys) -> None:
    from app.main import parse

    with pytest.raises(SystemExit):
        parse(["--help"])
    options = set(re.findall(r"--[a-z][a-z-]*", capsys.readouterr().out))
    manual = (ROOT / "packaging" / "linux" / "nadir.1").read_text("utf-8")
    assert {"--demo", "--encoder"} <= options
    assert not [option for option in options if option not in manual]


@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    "code",
    [
        pytest.param(code, id=title.replace(" ", "-"))
        for title, code in blocks(README, "sh")
        if re.search(r"^nadir ", code, re.MULTILINE)
    ],
)
def test_the_commands_of_the_readme_run(code: str, tmp_path: Path) -> None:
    lay_out(tmp_path)
    with open_imagery(tmp_path / "whole.tif") as source:
        lat, lon = source.bounds.centre
        (tmp_path / "ortho.tif").unlink()
        source.write_copy(tmp_path / "ortho.tif", tile_bounds(lat, lon, 120.0))
        (tmp_path / "more").mkdir()
        source.write_copy(tmp_path / "more" / "north.tif", tile_bounds(lat + 0.001, lon, 100.0))
    for line in code.splitlines():
        for said, run in REDUCED.items():
            line = line.replace(said, run)
        run_nadir(shlex.split(line, comments=True), tmp_path)


def test_everything_reduced_is_still_there() -> None:
    text = "".join(code for _, code in blocks(README, "sh"))
    assert not [said for said in REDUCED if said not in text]
