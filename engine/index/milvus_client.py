"""Talking to Milvus through its official client: connecting, and every failure in plain words.

The client (``pymilvus``) is an optional package and takes half a second to import, so it is imported when an address
is first given. An address comes from whoever runs the program, never from an index.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from engine.errors import IndexFolderError

HOW_TO_GET = 'Install it with: pip install "pymilvus>=2.6" "milvus-lite>=3.1"'
MAX_RESULTS = 16_384
"""What Milvus gives at most to one query, and takes queries at a time."""

_SERVER = re.compile(r"(https?|tcp|unix)://\S+")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,254}")
_SECONDS = 10.0


class MilvusError(IndexFolderError):
    """Milvus cannot be reached, or does not hold what was expected."""


def connect(address: str, token: str = "") -> Any:
    """A client of the server at ``http://host:19530``, or of the embedded Milvus Lite in a folder ``NAME.db``.

    Args:
        token: ``user:password`` or an API key, for servers that ask for one.

    Raises:
        MilvusError: the package is missing, it is no address, or nothing answers there.
    """
    if not _SERVER.fullmatch(address):
        check_lite_path(address)
    try:
        from pymilvus import MilvusClient
    except ImportError as error:
        raise MilvusError(
            f"searching in Milvus needs the package {error.name or 'pymilvus'}, which is not installed",
            None,
            HOW_TO_GET,
        ) from error
    # They print a trace of every failed call, which is answered in our own words.
    for name in ("pymilvus", "milvus_lite", "grpc._server"):
        logging.getLogger(name).setLevel(logging.CRITICAL + 1)
    with plainly(address):
        return MilvusClient(uri=address, token=token, timeout=_SECONDS)


def check_lite_path(address: str) -> None:
    """Refuse what is neither a server's address nor a place where Milvus Lite may keep its files."""
    path = Path(address)
    if path.suffix != ".db":
        raise MilvusError(
            "this is no address of a Milvus server, and no name of an embedded one",
            address,
            "Give http://HOST:19530, or a folder NAME.db",
        )
    if not path.absolute().parent.is_dir():
        raise MilvusError("its folder does not exist", path, "Make it first")
    if path.exists() and not path.is_dir():
        raise MilvusError(
            "this file is no database of Milvus Lite 3, which is a folder",
            path,
            "Give another name",
        )


def check_name(collection: str) -> str:
    """Refuse a collection name that Milvus would not take.

    Raises:
        MilvusError: it holds other characters than letters, digits and underscores, begins with a digit, or is long.
    """
    if not _NAME.fullmatch(collection):
        raise MilvusError(
            f"{collection[:80]!r} is no name for a collection",
            None,
            "Use letters, digits and underscores, and begin with a letter",
        )
    return collection


@contextmanager
def plainly(address: str) -> Iterator[None]:
    """Turn what the client raises into a :class:`MilvusError`."""
    from pymilvus.exceptions import ConnectError, ConnectionConfigException, MilvusException

    try:
        yield
    except MilvusException as error:
        said = " ".join(str(error.message).split())[:200]
        lost = isinstance(error, ConnectError | ConnectionConfigException)
        if lost or error.code == 2 or "onnect" in said:
            raise MilvusError(
                f"nothing answers as Milvus at {_shown(address)} ({said})",
                None,
                "Check the address, and that the server runs"
                if _SERVER.fullmatch(address)
                else "Check that no other program has it open",
            ) from error
        raise MilvusError(f"Milvus at {_shown(address)} says: {said}") from error
    except (ValueError, TypeError, KeyError) as error:  # its checks of what a server answers
        raise MilvusError(
            f"Milvus at {_shown(address)} answered what its client does not understand ({str(error)[:120]})"
        ) from error


def _shown(address: str) -> str:
    """The address without a password that may stand in it."""
    return re.sub(r"//[^/@]*@", "//", address)
