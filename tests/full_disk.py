"""A real, tiny disk for tests of what happens when it is full."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


@contextmanager
def full_disk(megabytes: float, *, read_only: bool = False) -> Iterator[Path]:
    """An empty file system of that size; the test is skipped where none can be mounted."""
    if not sys.platform.startswith("linux"):
        pytest.skip("mounting a small file system needs Linux")
    with tempfile.TemporaryDirectory() as folder:
        options = f"size={int(megabytes * 1024)}k" + (",ro" if read_only else "")
        mounted = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", options, "tmpfs", folder], capture_output=True
        )
        if mounted.returncode != 0:
            pytest.skip("mounting a small file system needs root")
        try:
            yield Path(folder)
        finally:
            subprocess.run(["umount", "-l", folder], check=True)
