"""Importing a released checkpoint: ``nadir import`` in a Python that has what it needs, then into the library."""

from __future__ import annotations

import re
import tempfile
from dataclasses import dataclass
from pathlib import Path

from app.intake import WEIGHTS_ENDINGS
from app.library import work
from app.training.interpreter import run_tool
from engine.errors import NadirError
from engine.progress import Report, part

ENDINGS = (*WEIGHTS_ENDINGS, ".tar")

_SCRATCH = ".importing-"
_DIFFERS = re.compile(r"differs from the network by (\d[\d.]*(?:e[+-]?\d+)?) at most")


@dataclass(frozen=True)
class Import:
    """What is to be imported; empty texts and zeros: what its authors say."""

    checkpoint: Path
    name: str
    query_size: str = ""
    reference_size: str = ""
    extent_m: float = 0.0
    stride_m: float = 0.0
    half: bool = False
    options: tuple[str, ...] = ()
    first_stage: Path | None = None


def import_command(python: Path, wanted: Import, out: Path) -> list[str]:
    """What is run."""
    command = [str(python), "-m", "engine", "import", str(wanted.checkpoint), "--out", str(out)]
    for flag, value in (
        ("--query-size", wanted.query_size),
        ("--reference-size", wanted.reference_size),
        ("--extent-m", f"{wanted.extent_m:g}" if wanted.extent_m else ""),
        ("--stride-m", f"{wanted.stride_m:g}" if wanted.stride_m else ""),
        ("--precision", "fp16" if wanted.half else ""),
        ("--first-stage", str(wanted.first_stage) if wanted.first_stage is not None else ""),
    ):
        if value:
            command += [flag, value]
    for option in wanted.options:
        command += ["--option", option]
    return command


def import_checkpoint(
    python: Path, wanted: Import, root: Path, report: Report
) -> tuple[work.Brought, float | None]:
    """Make an encoder of a checkpoint, check it, and give it its place in the library.

    Returns:
        Where it is, and how far its graphs are from the network: the largest difference of any number of their output;
        None where that was not said.

    Raises:
        NadirError: it is nobody's that is known, it does not fit, or the library cannot be written.
    """
    last, apart = "", []

    def said(line: str) -> None:
        nonlocal last
        if (told := _DIFFERS.search(line)) is not None:
            apart.append(float(told[1]))
        # Where it is made is nobody's business: it is moved when it is whole.
        last = re.sub(rf"\S*{re.escape(_SCRATCH)}[^/\\]*[/\\]", "", line).strip()[:120]

    try:
        root.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=_SCRATCH, dir=root) as folder:
            out = Path(folder) / f"{wanted.name}.encoder"
            command = import_command(python, wanted, out)
            told = part(report, 0.0, 0.9)
            for _ in run_tool(command, lambda *_: told(0, 0, last), said=said):
                pass
            return work.bring_in(out, root, report), max(apart, default=None)
    except OSError as error:
        raise NadirError(
            f"the library cannot be written ({error.strerror})", root, "Check the disk"
        ) from error
