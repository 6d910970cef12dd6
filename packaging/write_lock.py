"""Write ``packaging/lock.txt`` from what is installed in ``.venv``.

Run it with the environment's own Python after trying newer versions there, and run the tests before and
after: ``.venv/bin/python packaging/write_lock.py``.
"""

from __future__ import annotations

import sys
import tomllib
from importlib.metadata import distributions
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parent.parent
HEADER = """\
# Exact versions of everything Nadir is developed, tested and shipped with. `python3 run.py`,
# `python3 run.py test` and CI hand this file to pip as constraints; what is asked for stands in
# pyproject.toml. Made by packaging/write_lock.py. On systems whose PyTorch comes with CUDA, torch
# itself pins the NVIDIA libraries it needs.
"""


def installed() -> dict[str, tuple[str, str, list[Requirement]]]:
    """Canonical name -> (name, public version, requirements that apply here)."""
    found = {}
    for dist in distributions():
        needs = [Requirement(text) for text in dist.requires or ()]
        needs = [need for need in needs if not need.marker or need.marker.evaluate({"extra": ""})]
        name = dist.metadata["Name"]
        version = dist.version.split("+")[
            0
        ]  # 2.13.0+cpu satisfies ==2.13.0, not the other way round
        found[canonicalize_name(name)] = (name, version, needs)
    return found


def closure(names: list[str]) -> set[str]:
    """Every library that ``names`` need, themselves included."""
    known = installed()
    todo, reached = [canonicalize_name(name) for name in names], set()
    while todo:
        name = todo.pop()
        if name not in reached:
            reached.add(name)
            todo += [canonicalize_name(need.name) for need in known[name][2]]
    return reached


def standing(title: str) -> str:
    """The lines the lock file has for a group that is not installed here: `build` lies in an environment of its own.

    To renew that one, install the extra `build` into .venv for once.
    """
    text = (ROOT / "packaging" / "lock.txt").read_text("utf-8")
    return text.partition(f"\n# {title}\n")[2].partition("\n\n")[0].rstrip("\n") + "\n"


def lock_text() -> str:
    """The whole lock file."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    groups = {"to run": project["dependencies"], **project["optional-dependencies"]}
    known, written, parts = installed(), set(), [HEADER]
    for title, wanted in (("the installer", ["pip"]), *groups.items()):
        asked = [Requirement(text).name for text in wanted]
        if any(canonicalize_name(name) not in known for name in asked):
            parts.append(f"\n# {title}\n{standing(title)}")
            continue
        names = closure(asked) - written
        written |= names
        lines = sorted((f"{known[n][0]}=={known[n][1]}\n" for n in names), key=str.lower)
        parts.append(f"\n# {title}\n{''.join(lines)}")
    return "".join(parts)


if __name__ == "__main__":
    (ROOT / "packaging" / "lock.txt").write_text(lock_text(), "utf-8")
    sys.stdout.write(lock_text())
