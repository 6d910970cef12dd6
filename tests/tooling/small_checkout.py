"""A checkout in miniature: the real ``run.py`` and ``packaging/bootstrap``, and one tiny library to install.

The library is a wheel made here, so that pip does its real work without a network.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

_CLI = """\
import json, os, sys
import pebble
print(json.dumps({"arguments": sys.argv[1:], "cwd": os.getcwd(), "pebble": pebble.SIZE}))
"""
_PROJECT = """\
[project]
name = "small"
dependencies = ["pebble"]
[project.optional-dependencies]
train = []
test = []
"""


def make_wheel(folder: Path, name: str, version: str) -> Path:
    """A wheel with one module in it, whose ``SIZE`` is the version."""
    folder.mkdir(exist_ok=True)
    notes = f"{name}-{version}.dist-info"
    files = {
        f"{name}.py": f"SIZE = {version!r}\n",
        f"{notes}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
        f"{notes}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = "".join(f"{path},,\n" for path in (*files, f"{notes}/RECORD"))
    path = folder / f"{name}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as wheel:
        for inner, text in {**files, f"{notes}/RECORD": record}.items():
            wheel.writestr(inner, text)
    return path


@dataclass
class SmallCheckout:
    """A folder with a ``run.py`` of its own; :meth:`run` starts it as a person would."""

    root: Path

    @staticmethod
    def make(root: Path) -> SmallCheckout:
        """Lay it out at ``root``."""
        root.mkdir(parents=True)
        shutil.copy(ROOT / "run.py", root)
        ignore = shutil.ignore_patterns("__pycache__")
        shutil.copytree(
            ROOT / "packaging" / "bootstrap", root / "packaging" / "bootstrap", ignore=ignore
        )
        (root / "pyproject.toml").write_text(_PROJECT)
        (root / "engine").mkdir()
        (root / "engine" / "__init__.py").write_text("")
        (root / "engine" / "__main__.py").write_text(_CLI)
        make_wheel(root / "wheels", "pebble", "1.0")
        small = SmallCheckout(root)
        small.pin("1.0")
        return small

    def pin(self, version: str) -> None:
        """Write a lock file that asks for this version of the library."""
        (self.root / "packaging" / "lock.txt").write_text(f"pebble=={version}\n")

    def environ(self) -> dict[str, str]:
        """The environment a run gets: no network, no settings of pip but ours."""
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("PIP_", "PYTHON", "COV"))}
        ours = {
            "PIP_CONFIG_FILE": os.devnull,
            "PIP_NO_INDEX": "1",
            "PIP_FIND_LINKS": (self.root / "wheels").as_uri(),
            "PIP_RETRIES": "1",
        }
        return {**kept, **ours}

    def command(self, *arguments: str) -> list[str]:
        """``python3 run.py ARGUMENTS``, with the Python the tests' environment was made from."""
        base = getattr(sys, "_base_executable", sys.executable)
        return [base, str(self.root / "run.py"), *arguments]

    def run(
        self, *arguments: str, cwd: Path | None = None, variables: dict[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run to the end; standard output and error are kept apart."""
        return subprocess.run(
            self.command(*arguments),
            cwd=cwd or self.root,
            env=self.environ() | (variables or {}),
            capture_output=True,
            encoding="utf-8",
            timeout=300,
        )

    @property
    def site_packages(self) -> Path:
        """Where its libraries lie."""
        return next(self.root.glob(".venv/lib/python3*/site-packages"))
