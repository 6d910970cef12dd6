"""Importing a released checkpoint: ``nadir import`` in a Python that has what it needs, then into the library."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

from app.library import work
from app.training.interpreter import run_tool
from engine.errors import NadirError
from engine.progress import Report, part

ENDINGS = (".pth", ".pt", ".ckpt", ".tar", ".safetensors", ".npz")


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


def import_checkpoint(python: Path, wanted: Import, root: Path, report: Report) -> work.Brought:
    """Make an encoder of a checkpoint, check it, and give it its place in the library.

    Raises:
        NadirError: it is nobody's that is known, it does not fit, or the library cannot be written.
    """
    last = ""

    def said(line: str) -> None:
        nonlocal last
        last = line.strip()[:120]

    try:
        root.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".importing-", dir=root) as folder:
            out = Path(folder) / f"{wanted.name}.encoder"
            command = import_command(python, wanted, out)
            told = part(report, 0.0, 0.9)
            for _ in run_tool(command, lambda *_: told(0, 0, last), said=said):
                pass
            return work.bring_in(out, root, report)
    except OSError as error:
        raise NadirError(
            f"the library cannot be written ({error.strerror})", root, "Check the disk"
        ) from error
