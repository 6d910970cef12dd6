"""Writing files so that a reader never sees half of one: a temporary name beside the target, synced, renamed.
And a lock, so that two do not write at once.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any


@contextmanager
def atomic_write(path: Path, mode: str = "wb") -> Iterator[IO[Any]]:
    """Open a temporary file beside ``path``; on leaving without an error it is synced and takes the name.

    On an error the temporary file is removed and whatever stood at ``path`` is untouched; an :class:`OSError` names
    ``path``. A link is written through; a pipe or a device (``/dev/stdout``) cannot be replaced and is written to.
    """
    path = Path(path)
    encoding = None if "b" in mode else "utf-8"
    if path.exists() and not (path.is_file() or path.is_dir()):
        with open(path, mode, encoding=encoding) as file:
            yield file
        return
    path = Path(os.path.realpath(path))
    if path.is_dir():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    # Not made from the target's name, which may be as long as a name can be already.
    temporary = path.with_name(f".nadir-{os.getpid()}-{threading.get_ident()}.part")
    try:
        with open(temporary, mode, encoding=encoding) as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException as error:
        with contextlib.suppress(OSError):
            temporary.unlink()
        if isinstance(error, OSError) and error.filename in (None, str(temporary)):
            error.filename, error.filename2 = str(path), None
        raise


@contextmanager
def only_one(path: Path) -> Iterator[None]:
    """Hold the lock that ``path`` is; the system lets go of it when the process dies. The file stays.

    Raises:
        BlockingIOError: another process holds it.
    """
    with open(path, "ab") as file:
        try:
            _lock(file.fileno())
        except OSError as error:
            if error.errno not in (errno.EAGAIN, errno.EACCES, errno.EDEADLK):
                raise
            raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN), str(path)) from error
        yield


try:
    import fcntl

    def _lock(handle: int) -> None:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)

except ImportError:  # Windows
    import msvcrt

    def _lock(handle: int) -> None:
        locking: Any = vars(msvcrt)
        locking["locking"](handle, locking["LK_NBLCK"], 1)


def write_json(path: Path, value: Any) -> None:
    """Write ``value`` as readable JSON, atomically."""
    with atomic_write(path, "w") as file:
        json.dump(value, file, indent=2, ensure_ascii=False, allow_nan=False)
        file.write("\n")


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file's bytes, in hexadecimal."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
