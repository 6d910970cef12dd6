"""A disk that fails at every single write of a build and of an addition: nothing is lost, and the end is the same."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from engine import geo
from engine.imagery.geotiff import write_orthophoto
from tests.engine.index.places import LAT, LON, write_place

ROOT = Path(__file__).resolve().parents[3]
SHIM = ROOT / "tests" / "faulty_disk.c"


@pytest.fixture(scope="module")
def shim(tmp_path_factory: pytest.TempPathFactory) -> Path:
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None or not sys.platform.startswith("linux"):
        pytest.skip("a failing disk is played by a small C library, on Linux with a compiler")
    library = tmp_path_factory.mktemp("shim") / "faulty_disk.so"
    command = [compiler, "-shared", "-fPIC", "-O1", "-o", str(library), str(SHIM), "-ldl"]
    subprocess.run(command, check=True, capture_output=True)
    return library


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """In memory where that is possible: the writes are counted, not the disk."""
    memory = Path("/dev/shm")
    parent = memory if memory.is_dir() and os.access(memory, os.W_OK) else tmp_path
    with tempfile.TemporaryDirectory(dir=parent) as name:
        folder = Path(name)
        write_place(folder / "place.tif")
        rng = np.random.default_rng(7)
        pixels = np.kron(rng.integers(0, 256, (40, 40, 3)), np.ones((8, 8, 1))).astype(np.uint8)
        lat, lon = geo.LocalFrame(LAT, LON).to_wgs84(120.0, 0.0)
        write_orthophoto(folder / "more.tif", pixels, lat, lon, 0.5, "Another survey", "CC-BY")
        yield folder


@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    ("what", "errors"),
    [("build", ("ENOSPC", "EIO!", "EROFS")), ("add", ("ENOSPC",))],
    ids=["build", "add"],
)
def test_every_write_fails_once(shim: Path, folder: Path, what: str, errors) -> None:
    """From the n-th write on the disk is full, or may only be read; or the n-th fails alone ("!"). For all n."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.engine.index.faulty", what, str(folder), *errors],
        cwd=ROOT,
        env={**os.environ, "LD_PRELOAD": str(shim), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=580,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    failed = dict(line.split() for line in done.stdout.splitlines())
    assert failed.keys() == set(errors)
    # So many calls there are: fewer would mean that the disk was not asked.
    assert min(int(count) for count in failed.values()) > 50
