"""The library through which faiss calls NumPy's OpenBLAS gives what faiss's own gives, function by function."""

from __future__ import annotations

import ctypes
import importlib
import importlib.util
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from freeze import one_blas
from freeze.elf import ElfFile

COMPILER = shutil.which("gcc")
pytestmark = pytest.mark.skipif(
    sys.platform != "linux" or COMPILER is None or shutil.which("nm") is None,
    reason="the program is only made smaller on Linux, with a C compiler",
)
Array = np.ndarray[Any, Any]


def _site() -> Path:
    found = importlib.util.find_spec("numpy")
    assert found is not None and found.origin is not None
    return Path(found.origin).parents[1]


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> tuple[ctypes.CDLL, ctypes.CDLL]:
    """faiss's OpenBLAS, and ours that passes on to NumPy's."""
    site = _site()
    numpys = next((site / "numpy.libs").glob("libscipy_openblas64_*.so*"), None)
    own = next((site / "faiss_cpu.libs").glob("libopenblas*.so*"), None)
    if numpys is None or own is None:
        pytest.skip("these wheels of NumPy and faiss bring no OpenBLAS of their own")
    made = tmp_path_factory.mktemp("blas") / "faiss_cpu.libs" / "made.so"
    made.parent.mkdir()
    (made.parents[1] / "numpy.libs").symlink_to(site / "numpy.libs")
    assert COMPILER is not None
    assert one_blas.build(COMPILER, numpys, ElfFile.read(own).soname, made)
    importlib.import_module(
        "faiss"
    )  # knows where the libraries lie that its OpenBLAS is linked with
    return ctypes.CDLL(str(own)), ctypes.CDLL(str(made))


def _call(library: ctypes.CDLL, name: str, *arguments: object) -> None:
    """Call as faiss does: everything by address, integers of 32 bits."""
    given: list[Any] = []
    for argument in arguments:
        if isinstance(argument, str):
            given.append(ctypes.c_char_p(argument.encode()))
        elif isinstance(argument, int):
            given.append(ctypes.byref(ctypes.c_int32(argument)))
        elif isinstance(argument, float):
            given.append(ctypes.byref(ctypes.c_float(argument)))
        else:
            assert isinstance(argument, np.ndarray)
            given.append(ctypes.c_void_p(argument.ctypes.data))
    getattr(library, f"{name}_")(*given)


def _matrix(rows: int, columns: int, kind: str = "f4") -> Array:
    values = np.random.default_rng(rows * 100 + columns).standard_normal((rows, columns))
    return np.asfortranarray(values.astype(kind))


def _info() -> Array:
    return np.full(1, 7, "i4")


Play = Callable[[Callable[..., None]], tuple[Array, ...]]


def gemm(call: Callable[..., None], kind: str) -> tuple[Array, ...]:
    a, b, c = _matrix(5, 7, kind), _matrix(7, 3, kind), np.zeros((5, 3), kind, order="F")
    one, zero = np.ones(1, kind), np.zeros(1, kind)
    call("sgemm" if kind == "f4" else "dgemm", "N", "N", 5, 3, 7, one, a, 5, b, 7, zero, c, 5)
    np.testing.assert_allclose(c, a @ b, rtol=1e-4)
    return (c,)


def sgemv(call: Callable[..., None]) -> tuple[Array, ...]:
    a, x, y = _matrix(6, 4), _matrix(6, 1), np.zeros(4, "f4")
    call("sgemv", "T", 6, 4, 1.0, a, 6, x, 1, 0.0, y, 1)
    np.testing.assert_allclose(y, (a.T @ x)[:, 0], rtol=1e-4)
    return (y,)


def ssyrk(call: Callable[..., None]) -> tuple[Array, ...]:
    a, c = _matrix(4, 9), np.zeros((4, 4), "f4", order="F")
    call("ssyrk", "U", "N", 4, 9, 1.0, a, 4, 0.0, c, 4)
    np.testing.assert_allclose(np.triu(c), np.triu(a @ a.T), rtol=1e-4)
    return (c,)


def qr(call: Callable[..., None]) -> tuple[Array, ...]:
    a, tau, work, info = _matrix(8, 5), np.zeros(5, "f4"), np.zeros(1, "f4"), _info()
    before = a.copy()
    call("sgeqrf", 8, 5, a, 8, tau, work, -1, info)
    assert info[0] == 0 and work[0] >= 5
    room = np.zeros(int(work[0]), "f4")
    call("sgeqrf", 8, 5, a, 8, tau, room, len(room), info)
    triangle = np.triu(a[:5])
    call("sorgqr", 8, 5, 5, a, 8, tau, room, len(room), info)
    assert info[0] == 0
    np.testing.assert_allclose(a @ triangle, before, atol=1e-5)
    return a, tau, info


def svd(call: Callable[..., None], kind: str) -> tuple[Array, ...]:
    name = "sgesvd" if kind == "f4" else "dgesvd"
    a, s, info = _matrix(6, 4, kind), np.zeros(4, kind), _info()
    before = a.copy()
    u, v, room = (np.zeros(shape, kind, order="F") for shape in ((6, 6), (4, 4), (400,)))
    call(name, "A", "A", 6, 4, a, 6, s, u, 6, v, 4, room, len(room), info)
    assert info[0] == 0
    np.testing.assert_allclose(u[:, :4] @ np.diag(s) @ v, before, atol=1e-5)
    return s, np.abs(u[:, :4]), np.abs(v)


def inverse(call: Callable[..., None], kind: str) -> tuple[Array, ...]:
    letter = "s" if kind == "f4" else "d"
    a, pivots, info = _matrix(7, 7, kind), np.full(9, -5, "i4"), _info()
    before = a.copy()
    call(f"{letter}getrf", 7, 7, a, 7, pivots, info)
    assert info[0] == 0 and (pivots[7:] == -5).all()
    found, room = pivots.copy(), np.zeros(200, kind)
    call(f"{letter}getri", 7, a, 7, pivots, room, len(room), info)
    assert info[0] == 0
    np.testing.assert_allclose(a @ before, np.eye(7), atol=1e-3)
    return a, found


def dsyev(call: Callable[..., None]) -> tuple[Array, ...]:
    half = _matrix(5, 5, "f8")
    a = np.asfortranarray(half + half.T)
    values, room, info = np.zeros(5), np.zeros(200), _info()
    call("dsyev", "V", "U", 5, a, 5, values, room, len(room), info)
    np.testing.assert_allclose(values, np.linalg.eigvalsh(half + half.T), atol=1e-9)
    return values, np.abs(a), info


def sgelsd(call: Callable[..., None]) -> tuple[Array, ...]:
    a, b, s = _matrix(90, 60), _matrix(90, 2), np.zeros(60, "f4")
    wanted = np.linalg.lstsq(a, b, rcond=None)[0]
    rank, info, work, whole = _info(), _info(), np.zeros(1, "f4"), np.zeros(1, "i4")
    call("sgelsd", 90, 60, 2, a, 90, b, 90, s, -1.0, rank, work, -1, whole, info)
    assert info[0] == 0 and whole[0] > 60
    room, integers = np.zeros(int(work[0]), "f4"), np.full(int(whole[0]) + 1, -5, "i4")
    call("sgelsd", 90, 60, 2, a, 90, b, 90, s, -1.0, rank, room, len(room), integers, info)
    assert info[0] == 0 and rank[0] == 60 and integers[-1] == -5
    np.testing.assert_allclose(b[:60], wanted, atol=1e-3)
    return b[:60], s, rank


PLAYS: dict[str, Play] = {
    "sgemm": lambda call: gemm(call, "f4"),
    "dgemm": lambda call: gemm(call, "f8"),
    "sgemv": sgemv,
    "ssyrk": ssyrk,
    "sgeqrf sorgqr": qr,
    "sgesvd": lambda call: svd(call, "f4"),
    "dgesvd": lambda call: svd(call, "f8"),
    "sgetrf sgetri": lambda call: inverse(call, "f4"),
    "dgetrf dgetri": lambda call: inverse(call, "f8"),
    "dsyev": dsyev,
    "sgelsd": sgelsd,
}


@pytest.mark.parametrize("name", PLAYS)
def test_a_function_gives_the_same(name: str, both: tuple[ctypes.CDLL, ctypes.CDLL]) -> None:
    own, ours = (PLAYS[name](lambda *a, lib=lib: _call(lib, *a)) for lib in both)
    for one, other in zip(own, ours, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-4)


def test_a_wrong_argument_is_told(both: tuple[ctypes.CDLL, ctypes.CDLL]) -> None:
    said = []
    for library in both:
        pivots, info = np.zeros(3, "i4"), _info()
        _call(library, "sgetrf", 3, 3, np.zeros((3, 3), "f4", order="F"), 1, pivots, info)
        said.append(int(info[0]))
    assert said == [-4, -4]


def test_every_function_that_faiss_calls_is_passed_on_and_tried_here(both: object) -> None:
    site = _site()
    own = next((site / "faiss_cpu.libs").glob("libopenblas*.so*"))
    called: set[str] = set()
    for path in (site / "faiss").glob("*.so"):
        called |= one_blas.symbols(path, "--undefined-only")
    called &= one_blas.symbols(own)
    tried = {f"{word}_" for name in PLAYS for word in name.split()}
    assert "sgemm_" in called and called == tried


def test_the_second_openblas_goes_and_faiss_still_computes(tmp_path: Path) -> None:
    """In a copy of the wheels, as PyInstaller lays them out."""
    site = _site()
    for name in ("numpy", "numpy.libs"):
        (tmp_path / name).symlink_to(site / name)
    for name in ("faiss", "faiss_cpu.libs"):
        shutil.copytree(site / name, tmp_path / name)
    if not list((tmp_path / "faiss_cpu.libs").glob("libopenblas*")):
        pytest.skip("this wheel of faiss brings no OpenBLAS of its own")
    fortran = next((tmp_path / "faiss_cpu.libs").glob("libgfortran-*"))
    (tmp_path / fortran.name).symlink_to(Path("faiss_cpu.libs") / fortran.name)
    assert one_blas.unite(tmp_path) > 30e6
    assert not fortran.exists() and not (tmp_path / fortran.name).is_symlink()
    code = (
        "import numpy as np, faiss, sys; assert faiss.__file__.startswith(sys.argv[1]); "
        "x = np.random.default_rng(0).standard_normal((3000, 64)).astype('f4'); "
        "i = faiss.index_factory(64, 'PCA32,Flat'); i.train(x); i.add(x); "
        "assert (i.search(x[:50], 1)[1][:, 0] == np.arange(50)).all()"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)],
        env={"PYTHONPATH": str(tmp_path), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr


def test_another_openblas_than_is_known_stays(tmp_path: Path) -> None:
    (tmp_path / "numpy.libs").mkdir()
    (tmp_path / "faiss_cpu.libs").mkdir()
    (tmp_path / "faiss_cpu.libs" / "libopenblas-x.so").write_bytes(b"\x7fELF\x02\x01 no library")
    assert one_blas.unite(tmp_path) == 0
    assert (tmp_path / "faiss_cpu.libs" / "libopenblas-x.so").is_file()
