"""The checks of the house, run as tests: style, format, types, imports, pinned versions."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import distributions
from pathlib import Path

import pytest

from bootstrap.environment import pinned

ROOT = Path(__file__).resolve().parents[2]
_CONTRACTS = "import sys; sys.path.insert(0, '.'); from importlinter.cli import lint_imports_command as c; c()"


def _run(*command: str, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *command], cwd=cwd, capture_output=True, encoding="utf-8", timeout=600
    )


def _passes(*command: str) -> None:
    done = _run(*command)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"


def test_style() -> None:
    _passes("-m", "ruff", "check", ".")


def test_format() -> None:
    _passes("-m", "ruff", "format", "--check", ".")


@pytest.mark.timeout(600)
def test_types() -> None:
    _passes("-m", "basedpyright")


def test_import_contracts() -> None:
    _passes("-c", _CONTRACTS, "--no-cache")


@pytest.mark.parametrize(
    ("where", "words", "contract"),
    [
        ("engine/photo.py", "import PySide6.QtCore", "The engine knows no Qt"),
        ("engine/photo.py", "def f():\n    import app.window", "The engine knows no Qt"),
        ("engine/localize.py", "import torch", "torch is imported by"),
        ("app/window.py", "import torch.nn", "torch is imported by"),
        ("engine/photo.py", "import engine.localize", "imports go down"),
        ("engine/geo.py", "import engine.networks.blocks", "imports go down"),
    ],
)
def test_the_import_contracts_are_sharp(
    tmp_path: Path, where: str, words: str, contract: str
) -> None:
    files = dict.fromkeys(
        (
            "engine/__init__.py",
            "engine/photo.py",
            "engine/localize.py",
            "engine/geo.py",
            "app/__init__.py",
        ),
        "",
    )
    files |= {f"engine/{name}.py": "" for name in ("errors", "progress", "files")}
    files |= {"app/window.py": "", "engine/networks/__init__.py": "import torch\n"}
    files |= {"engine/networks/blocks.py": "import torch.nn\n"}
    for name, text in {
        **files,
        "pyproject.toml": (ROOT / "pyproject.toml").read_text("utf-8"),
    }.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    clean = _run("-c", _CONTRACTS, "--no-cache", cwd=tmp_path)
    assert clean.returncode == 0, clean.stdout
    (tmp_path / where).write_text(words + "\n")
    done = _run("-c", _CONTRACTS, "--no-cache", cwd=tmp_path)
    assert done.returncode == 1
    broken = [text for text in done.stdout.replace("\n", " ").split("  ") if "BROKEN" in text]
    assert contract in " ".join(broken), done.stdout


def test_importing_the_engine_and_its_command_line_costs_no_torch() -> None:
    code = "import sys, engine, engine.cli; sys.exit('torch' in sys.modules or 'PySide6' in sys.modules)"
    done = _run("-c", code)
    assert done.returncode == 0, done.stderr


def test_what_is_installed_is_what_is_pinned() -> None:
    for dist in distributions():
        name, version = dist.metadata["Name"], dist.version.split("+")[0]
        expected = pinned(ROOT, name)
        if expected is not None:
            assert version == expected, (
                f"{name} {version} is installed, the lock file says {expected}"
            )
