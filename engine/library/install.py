"""Bringing an encoder or an index into the library, and taking it out again.

A copy is made under a temporary name, checked to the last byte, and only then given its own name: whoever looks sees
nothing or the whole. Nothing that stands there is ever written over, nothing is deleted outside the library's folder,
and of a folder or a zip only those files are read that its card or its manifest names.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import secrets
import shutil
import stat
import time
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import IO

from engine.encoder import read_package, save_encoder
from engine.errors import IndexFolderError, NadirError
from engine.files import only_one
from engine.index import Manifest, verify_index
from engine.index.manifest import MANIFEST_FILE
from engine.library.items import ENCODER, INDEX, ZIP, Item, Kind, kind_of, look
from engine.progress import Report, part, silent

LOCK_FILE = ".lock"
_ARRIVING, _LEAVING = ".arriving-", ".leaving-"
_CHUNK = 1 << 22
_NAME_BYTES = 120
_PATIENCE_S = 600.0  # a large index takes minutes to be copied
_NOT_IN_NAMES = re.compile(r'[\x00-\x1f\x7f<>:"/\\|?*]+')
_TAKEN = (errno.EEXIST, errno.ENOTEMPTY, errno.ENOTDIR, errno.EACCES)
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_AGAIN = "Get it again from its source"


def install(source: Path, library: Path, report: Report = silent) -> Path:
    """Copy an encoder (a folder or a zip) or an index (a folder or a zip) into the library.

    Returns:
        Where it is now; the one that is there already where it is the same.

    Raises:
        NadirError: it is neither, it is damaged, it does not fit on the disk, or the library cannot be written.
    """
    if source.name in (MANIFEST_FILE, "card.json"):
        source = source.parent
    kind = kind_of(source)
    if not source.exists():
        raise NadirError("there is no such file or folder", source, "Check the path")
    if kind is None:
        raise NadirError(
            "this is neither an encoder nor an index",
            source,
            "Choose a folder NAME.encoder or NAME.index, or a zip of one",
        )
    try:
        library.mkdir(parents=True, exist_ok=True)
        with _alone(library, report):
            _sweep(library)
            arriving = library / f"{_ARRIVING}{secrets.token_hex(6)}"
            try:
                if kind == "encoder":
                    item = _bring_encoder(source, arriving, report)
                else:
                    item = _bring_index(source, arriving, report)
                same = _same(library, item)
                return same if same is not None else _settle(source, library, item)
            finally:
                shutil.rmtree(arriving, ignore_errors=True)
    except OSError as error:
        raise _cannot(error, library) from error


def remove(path: Path, library: Path) -> None:
    """Delete an item that lies in the library's own folder.

    Raises:
        NadirError: it lies elsewhere, something is at work in it, or the disk refuses.
    """
    if path.parent.resolve() != library.resolve() or kind_of(path) is None:
        raise NadirError("lies outside the library, so it is left alone", path)
    try:
        if path.is_symlink():
            path.unlink()  # what it points to is somebody else's
            return
        leaving = library / f"{_LEAVING}{secrets.token_hex(6)}"
        with _alone(library), _not_at_work(path):
            path.rename(leaving)  # all of it is gone at once, or nothing
        if leaving.is_dir():
            shutil.rmtree(leaving)
        else:
            leaving.unlink()
    except FileNotFoundError:
        return
    except OSError as error:
        raise NadirError(
            f"it could not be deleted ({error.strerror})",
            path,
            "Close what has it open, check the permissions, and try again",
        ) from error


# Bringing ---------------------------------------------------------------------------------------------------------


def _bring_encoder(source: Path, arriving: Path, report: Report) -> Item:
    report(0, 2, f"Checking {source.name}")
    card, graphs = read_package(source)
    _room(arriving.parent, sum(map(len, graphs.values())), source)
    report(1, 2, f"Copying {source.name}")
    target = arriving / f"new{ENCODER}"
    arriving.mkdir()
    save_encoder(target, card, graphs)
    from engine.encoder import open_encoder

    open_encoder(target, threads=1, gpu=False)  # its graphs must run, too
    item = look(target)
    if item.error is not None:
        raise item.error
    return item


def _bring_index(source: Path, arriving: Path, report: Report) -> Item:
    target = arriving / f"new{INDEX}"
    target.mkdir(parents=True)
    with _opened(source) as files:
        with files.open(MANIFEST_FILE) as manifest_file:
            text = manifest_file.read((1 << 20) + 1)
        (target / MANIFEST_FILE).write_bytes(text)
        manifest = _manifest(target, source)
        total = sum(facts.bytes for facts in manifest.files.values())
        _room(arriving.parent, total, source)
        copying, done = part(report, 0.0, 0.6), 0
        inner = PurePosixPath(manifest.folder)  # a plain name, or nothing
        (target / inner).mkdir(exist_ok=True)
        for name, facts in manifest.files.items():
            with files.open(str(inner / name)) as from_, open(target / inner / name, "xb") as to:
                left = facts.bytes
                while left:
                    chunk = from_.read(min(_CHUNK, left))
                    if not chunk:
                        break
                    to.write(chunk)
                    left -= len(chunk)
                    done += len(chunk)
                    copying(done, total, f"Copying {source.name}")
                if left or from_.read(1):
                    raise IndexFolderError(
                        f"{name} is not as long as the manifest says", source, _AGAIN
                    )
                to.flush()
                os.fsync(to.fileno())
    problems = verify_index(target, part(report, 0.6, 1.0))
    if problems:
        first = problems[0]
        raise IndexFolderError(f"{first.file}: {first.problem}", source, first.remedy)
    return look(target)


def _manifest(folder: Path, source: Path) -> Manifest:
    from engine.index.manifest import read_manifest

    try:
        manifest = read_manifest(folder)
    except IndexFolderError as error:
        raise IndexFolderError(error.problem, source, error.remedy) from None
    return manifest


class _Files:
    """The files of an index, out of a folder or a zip, by their plain names."""

    def __init__(self, source: Path, archive: zipfile.ZipFile | None) -> None:
        self._source, self._archive = source, archive
        self._members: dict[PurePosixPath, zipfile.ZipInfo] = {}
        self._root = PurePosixPath()
        if archive is None:
            return
        for info in archive.infolist():
            if not info.is_dir():
                self._members[PurePosixPath(info.filename)] = info
        roots = [
            name.parent
            for name in self._members
            if name.name == MANIFEST_FILE and len(name.parts) <= 2
        ]
        if len(roots) != 1:
            raise IndexFolderError(
                f"the zip holds {len(roots)} files {MANIFEST_FILE} where one belongs",
                source,
                _AGAIN,
            )
        self._root = roots[0]

    @contextmanager
    def open(self, name: str) -> Iterator[IO[bytes]]:
        """A file for reading; ``name`` has been checked to be a plain one, with one plain folder before it at most."""
        if self._archive is not None:
            info = self._members.get(self._root / name)
            if info is None:
                raise IndexFolderError(f"{name} is missing", self._source, _AGAIN)
            try:
                with self._archive.open(info) as file:
                    yield file
            except (zipfile.BadZipFile, RuntimeError, NotImplementedError, EOFError) as error:
                raise IndexFolderError(
                    f"{name} in the zip is damaged", self._source, _AGAIN
                ) from error
            return
        path = self._source / name
        linked = path.is_symlink() or (path.parent.is_symlink() and path.parent != self._source)
        if linked or not path.is_file():
            raise IndexFolderError(
                f"{name} is missing, or only a link of that name", self._source, _AGAIN
            )
        flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)
        with os.fdopen(os.open(path, flags), "rb") as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise IndexFolderError(f"{name} is no file", self._source, _AGAIN)
            yield file


@contextmanager
def _opened(source: Path) -> Iterator[_Files]:
    if source.is_dir():
        yield _Files(source, None)
        return
    try:
        archive = zipfile.ZipFile(source)
    except (zipfile.BadZipFile, ValueError, NotImplementedError) as error:
        raise IndexFolderError(
            "is neither an index's folder nor a zip of one", source, _AGAIN
        ) from error
    with archive:
        yield _Files(source, archive)


# Names and places -------------------------------------------------------------------------------------------------


def _same(library: Path, item: Item) -> Path | None:
    """The very same item where the library has it already."""
    ending = ENCODER if item.kind == "encoder" else INDEX
    for path in sorted(library.glob(f"*{ending}")):
        other = look(path)
        if other.error is None and other.hash == item.hash and item.hash:
            return path
    return None


def _settle(source: Path, library: Path, item: Item) -> Path:
    """Give it a name that is free. Renaming a folder never replaces one that holds anything."""
    for target in free_paths(library, plain_name(source, item.kind), item.kind):
        if os.path.lexists(target):
            continue
        try:
            item.path.rename(target)
        except OSError as error:
            if error.errno in _TAKEN and os.path.lexists(target):
                continue  # somebody was quicker
            raise
        return target
    raise AssertionError("names never end")


def plain_name(source: Path, kind: Kind) -> str:
    """The name that an item's folder or zip has, without its endings and without what no folder can be called."""
    name = source.name
    for ending in (ZIP, ENCODER if kind == "encoder" else INDEX):
        if name.lower().endswith(ending):
            name = name[: -len(ending)]
    name = _NOT_IN_NAMES.sub("-", name).strip(". ")
    while len(name.encode()) > _NAME_BYTES:
        name = name[:-1]
    return name.strip(". ") or kind


def free_paths(library: Path, name: str, kind: Kind) -> Iterator[Path]:
    """``NAME.index``, ``NAME-2.index`` and so on."""
    ending = ENCODER if kind == "encoder" else INDEX
    yield library / f"{name}{ending}"
    number = 2
    while True:
        yield library / f"{name}-{number}{ending}"
        number += 1


def _room(folder: Path, needed: int, source: Path) -> None:
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise NadirError(
            f"it needs {needed / 1e6:,.0f} MB, and {free / 1e6:,.0f} MB are free in the library",
            source,
            "Make room, or keep the library on another disk",
        )


@contextmanager
def _alone(library: Path, report: Report = silent) -> Iterator[None]:
    """Wait until nobody else brings anything in or takes it out; ``report`` may end the waiting."""
    deadline = time.monotonic() + _PATIENCE_S
    with contextlib.ExitStack() as held:
        while True:
            try:
                held.enter_context(only_one(library / LOCK_FILE))
                break
            except BlockingIOError as error:
                report(0, 0, "Waiting for another one")
                if time.monotonic() > deadline:
                    raise NadirError(
                        "something else is being brought in or taken out", library, "Wait for it"
                    ) from error
                time.sleep(0.05)
        yield


@contextmanager
def _not_at_work(path: Path) -> Iterator[None]:
    """Hold an unfinished index's own lock, so that no build is at work in it."""
    from engine.index.plan import LOCK_FILE as BUILD_LOCK
    from engine.index.store import BUILDING

    lock = path / BUILDING / BUILD_LOCK
    if not lock.is_file():
        yield
        return
    with contextlib.ExitStack() as held:
        try:
            held.enter_context(only_one(lock))
        except BlockingIOError as error:
            raise NadirError("it is being built", path, "Stop the build first") from error
        if os.name == "nt":
            held.close()  # Windows renames no folder in which a file is open
        yield


def _sweep(library: Path) -> None:
    """What earlier attempts left that were broken off; nobody else is at work here now."""
    for pattern in (f"{_ARRIVING}*", f"{_LEAVING}*"):
        for leftover in library.glob(pattern):
            if leftover.is_dir() and not leftover.is_symlink():
                shutil.rmtree(leftover, ignore_errors=True)
            else:
                leftover.unlink(missing_ok=True)


def _cannot(error: OSError, library: Path) -> NadirError:
    if error.errno in _FULL:
        return NadirError("the disk is full; nothing was changed", library, "Make room there")
    where = (
        Path(os.fsdecode(error.filename)) if isinstance(error.filename, str | bytes) else library
    )
    return NadirError(
        f"it cannot be read or written ({error.strerror or error})",
        where,
        "Check the permissions, or keep the library in another folder",
    )
