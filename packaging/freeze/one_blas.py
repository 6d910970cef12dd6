"""One OpenBLAS in the program instead of two.

NumPy's wheel and faiss's each bring one, of 25 and 38 MB, that compute the same. They differ in the names of their
functions and in the size of integers, so a small library of ours (``packaging/one_blas/one_blas.c``) takes the place
of the second and passes every call on to the first.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
from pathlib import Path

from freeze.elf import ElfFile, is_elf

SOURCE = Path(__file__).resolve().parents[1] / "one_blas" / "one_blas.c"
_RUNTIME = re.compile(r"lib(gfortran|quadmath)-.*\.so.*")  # Fortran's, for the library that goes


def unite(folder: Path) -> int:
    """Let faiss in PyInstaller's ``_internal`` use NumPy's OpenBLAS; returns the bytes won.

    Nothing is done where the two are not found, where there is no compiler, or where faiss calls what ours does not
    pass on: another version may.
    """
    ours = next((folder / "numpy.libs").glob("libscipy_openblas64_*.so*"), None)
    second = next((folder / "faiss_cpu.libs").glob("libopenblas*.so*"), None)
    compiler = shutil.which("gcc") or shutil.which("cc")
    if ours is None or second is None or compiler is None or shutil.which("nm") is None:
        return 0
    users = [path for path in (folder / "faiss").iterdir() if is_elf(path)]
    with tempfile.TemporaryDirectory(dir=second.parent) as work:
        made = Path(work) / "made.so"
        if not build(compiler, ours, ElfFile.read(second).soname, made):
            return 0
        called = set().union(*(symbols(path, "--undefined-only") for path in users))
        if called & symbols(second) - symbols(made):
            return 0
        won = second.stat().st_size - made.stat().st_size
        made.chmod(second.stat().st_mode)
        made.replace(second)
    won += _remove_unneeded(folder, second.parent)
    return won


def build(compiler: str, openblas: Path, soname: str, target: Path) -> bool:
    """Compile the library that passes calls on to ``openblas``; whether that went well."""
    command = [compiler, "-O2", "-shared", "-fPIC", "-s", "-o", str(target), str(SOURCE)]
    command += [str(openblas), f"-Wl,-soname,{soname}", "-Wl,--no-undefined,--enable-new-dtags"]
    command += [f"-Wl,-rpath,$ORIGIN/../{openblas.parent.name}", "-Wl,--build-id=none"]
    command += [f"-Wl,-rpath-link,{openblas.parent}"]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def symbols(path: Path, which: str = "--defined-only") -> set[str]:
    """Names of the functions that a library has, or wants."""
    done = subprocess.run(
        ["nm", "-D", which, "--format=posix", str(path)], capture_output=True, text=True, check=True
    )
    return {line.split()[0].partition("@")[0] for line in done.stdout.splitlines() if line}


def _remove_unneeded(folder: Path, libraries: Path) -> int:
    """Take away what only the second OpenBLAS was linked with, and the links to it at the program's top."""
    won = 0
    for path in sorted(libraries.iterdir()):
        if _RUNTIME.fullmatch(path.name):
            won += path.stat().st_size
            path.unlink()
    for link in folder.iterdir():
        if link.is_symlink() and not link.exists():
            link.unlink()
    return won
