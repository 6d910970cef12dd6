"""Spoiling samples and asking a process about each; a process that dies or hangs is started again."""

from __future__ import annotations

import json
import os
import random
import selectors
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from engine.index.manifest import MANIFEST_FILE
from tests.fuzz.probe import SECONDS
from tests.fuzz.spoil import SPOILERS, spoil_shares

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Fault:
    """Something that must not be.

    Args:
        seed: gives the same case again.
        sample: the name of the index that was spoiled.
        spoiled: in which way.
        what: went wrong.
    """

    seed: int
    sample: str
    spoiled: str
    what: str

    def __str__(self) -> str:
        return f"seed {self.seed}, {self.sample}, {self.spoiled}\n{self.what}"


class Probe:
    """A process that answers for one index after the other (:mod:`tests.fuzz.probe`)."""

    def __init__(self, sample: Path, outside: Path) -> None:
        self._arguments = (str(sample), str(outside))
        self._process: subprocess.Popen[str] | None = None
        self._said = tempfile.TemporaryFile("w+")  # noqa: SIM115 - as long as the probe; a pipe would run full

    def ask(self, index: Path) -> str:
        """Its answer; "fault: ..." where it died or did not answer in time."""
        if self._process is None:
            self._process = self._started()
            ready = self._line(300)
            if ready != "ready":
                return f"fault: it does not start: {ready}"
        stdin = self._process.stdin
        assert stdin is not None
        stdin.write(f"{index}\n")
        stdin.flush()
        return self._line(SECONDS + 30)

    def _started(self) -> subprocess.Popen[str]:
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1"}
        return subprocess.Popen(
            [sys.executable, "-X", "faulthandler", "-m", "tests.fuzz.probe", *self._arguments],
            cwd=ROOT,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._said,
            text=True,
        )

    def _line(self, seconds: float) -> str:
        """What it says next."""
        assert self._process is not None and self._process.stdout is not None
        with selectors.DefaultSelector() as selector:
            selector.register(self._process.stdout, selectors.EVENT_READ)
            if not selector.select(seconds):
                return f"fault: it hangs: {self.close()}"
        line = self._process.stdout.readline()
        return json.loads(line) if line else f"fault: it died: {self.close()}"

    def close(self) -> str:
        """End it; what it said last."""
        process, self._process = self._process, None
        if process is None:
            return ""
        if process.poll() is None:
            process.kill()
        process.communicate()
        self._said.seek(0)
        said = self._said.read()
        self._said.seek(0)
        self._said.truncate()
        return f"exit code {process.returncode}\n{said[-3000:]}"


def spoil(sample: Path, seed: int, copy: Path, outside: Path) -> str:
    """Copy an index and spoil the copy; in which way."""
    rng = random.Random(seed)
    if copy.exists() or copy.is_symlink():
        shutil.rmtree(copy)
    shutil.copytree(sample, copy)
    spoilers, weights = zip(*SPOILERS, strict=True)
    (chosen,) = rng.choices(spoilers, weights)
    if not (copy / MANIFEST_FILE).exists():
        chosen = spoil_shares
    return chosen(copy, rng, outside)


def fuzz(
    samples: dict[str, Path], seeds: range, folder: Path, probe: Probe
) -> tuple[dict[str, int], list[Fault]]:
    """Try every seed on a sample; how often each outcome came, and the faults."""
    outside = folder / "outside"
    outcomes: dict[str, int] = {}
    faults: list[Fault] = []
    names = sorted(samples)
    (folder / "try").mkdir(exist_ok=True)
    if not outside.exists():
        outside.mkdir()
        for file in (file for name in names for file in samples[name].rglob("*") if file.is_file()):
            shutil.copyfile(file, outside / file.name)
    for seed in seeds:
        name = names[seed % len(names)]
        spoiled = spoil(samples[name], seed, folder / "try" / "spoiled.index", outside)
        answer = probe.ask(folder / "try" / "spoiled.index")
        kind = answer.split(":")[0]
        outcomes[kind] = outcomes.get(kind, 0) + 1
        if kind == "fault":
            faults.append(Fault(seed, name, spoiled, answer))
    return outcomes, faults
