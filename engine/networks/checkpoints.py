"""Reading other projects' checkpoints: names and tensors, and nothing that the file would like to have executed.

What is read: files of ``torch.save`` (with ``weights_only=True``), safetensors, and NumPy's ``.npz``. Weights may lie
bare or under ``state_dict``, ``model_state_dict`` or ``model``, one state dict for each branch may lie side by side,
and the prefixes that wrappers leave (``module.``, ``_orig_mod.``) are taken off.
"""

from __future__ import annotations

import argparse
import json
import os
import stat
import struct
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from engine.errors import EncoderError

WRAPPERS = ("state_dict", "model_state_dict", "model")
"""Keys under which projects put the weights beside what else they save, in the order of trust."""
PREFIXES = ("module.", "_orig_mod.")
"""What ``DataParallel`` and ``torch.compile`` put before every name."""
MAX_BYTES = 16 << 30
_HEADER_MAX = 100 << 20
_AGAIN = "Get the file again from its source and compare its size there"
_KINDS = "Give a .pth, .pt, .safetensors or .npz file of weights"

State = dict[str, Tensor]


def read_checkpoint(path: Path) -> State:
    """Every tensor of a checkpoint by its name, on the CPU; wrappers and their prefixes are gone.

    Raises:
        EncoderError: the file is missing, empty, damaged, too large, of another kind, holds no weights, or holds
            Python objects that would have to be executed to be read.
    """
    try:
        found = path.stat()
        if stat.S_ISDIR(found.st_mode):
            raise EncoderError("this is a folder", path, _KINDS)
        if not stat.S_ISREG(found.st_mode):
            raise EncoderError("is a device or a pipe, no file", path, _KINDS)
        size = found.st_size
        with open(path, "rb") as file:
            head = file.read(16)
    except FileNotFoundError as error:
        raise EncoderError("there is no such file", path, "Check the path") from error
    except OSError as error:
        raise EncoderError(f"cannot be read ({os.strerror(error.errno or 0)})", path) from error
    if not size:
        raise EncoderError("the file is empty", path, _AGAIN)
    if size > MAX_BYTES:
        raise EncoderError(f"the file is larger than {MAX_BYTES >> 30} GB", path, _KINDS)
    if _is_safetensors(head, size):
        content: Any = _read_safetensors(path, head, size)
    elif head.startswith(b"PK") and _is_npz(path):
        content = _read_npz(path)
    else:
        content = _read_torch(path, head)
    if isinstance(content, Mapping) and content.get("format") == "nadir-checkpoint":
        raise EncoderError(
            "is a checkpoint of this program's own training", path, "Use: nadir export --checkpoint"
        )
    state = weights_of(content)
    if not state:
        raise EncoderError(f"holds no weights: {_found(content)}", path, _KINDS)
    return state


def weights_of(content: Any) -> State:
    """The tensors inside what a checkpoint holds, by name; empty where there are none."""
    if not isinstance(content, Mapping):
        return {}
    for key in WRAPPERS:
        inner = content.get(key)
        if isinstance(inner, Mapping) and (state := weights_of(inner)):
            return state
    flat = {k: v for k, v in content.items() if isinstance(k, str) and isinstance(v, Tensor)}
    if flat:
        return _without_prefixes(flat)
    # A state dict for each branch: {"model_grd": {...}, "model_sat": {...}}.
    joined: State = {}
    for key, inner in content.items():
        if isinstance(key, str) and _is_state(inner):
            joined.update({f"{key}.{k}": v for k, v in _without_prefixes(dict(inner)).items()})
    return joined


def _is_state(value: Any) -> bool:
    return (
        isinstance(value, Mapping)
        and bool(value)
        and all(isinstance(k, str) and isinstance(v, Tensor) for k, v in value.items())
    )


def _without_prefixes(state: State) -> State:
    for prefix in PREFIXES:
        while all(name.startswith(prefix) and name != prefix for name in state):
            state = {name.removeprefix(prefix): value for name, value in state.items()}
    return state


def _found(content: Any) -> str:
    if isinstance(content, Mapping):
        names = ", ".join(repr(str(key)[:40]) for key in list(content)[:8])
        return f"a dictionary with {names or 'nothing in it'}"
    return f"a {type(content).__name__}"


def _is_safetensors(head: bytes, size: int) -> bool:
    if len(head) < 9 or head[8:9] != b"{":
        return False
    (length,) = struct.unpack("<Q", head[:8])
    return length <= _HEADER_MAX or length < size


def _read_safetensors(path: Path, head: bytes, size: int) -> State:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    (length,) = struct.unpack("<Q", head[:8])
    if length > size - 8:
        raise EncoderError("the file is cut off in its header", path, _AGAIN)
    try:
        return load_file(path)
    except (SafetensorError, ValueError, KeyError, json.JSONDecodeError) as error:
        raise EncoderError(
            f"cannot be read as safetensors ({_line(error)})", path, _AGAIN
        ) from error


def _is_npz(path: Path) -> bool:
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError):
        return path.suffix == ".npz"
    return bool(names) and all(name.endswith(".npy") for name in names)


def _read_npz(path: Path) -> State:
    try:
        _check_archive(path)
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        return {name: torch.from_numpy(np.ascontiguousarray(a)) for name, a in arrays.items()}
    except EncoderError:
        raise
    except (ValueError, TypeError) as error:
        if "allow_pickle" in str(error) or "Object arrays" in str(error):
            raise EncoderError(
                "holds Python objects, which could do anything when they are read", path, _KINDS
            ) from error
        raise EncoderError(f"cannot be read as .npz ({_line(error)})", path, _AGAIN) from error
    except Exception as error:
        raise EncoderError(f"cannot be read as .npz ({_line(error)})", path, _AGAIN) from error


def _read_torch(path: Path, head: bytes) -> Any:
    if head.startswith(b"PK"):
        _check_archive(path)
    try:
        with torch.serialization.safe_globals(_harmless()), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what cannot be read is said in our own words
            return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        text = str(error)
        archived = head.startswith(b"PK") or head[:1] == b"\x80"
        if archived and ("Unsupported" in text or "weights_only" in text.lower()):
            name = text.partition("GLOBAL ")[2].partition(" ")[0]
            raise EncoderError(
                "holds Python objects that would have to be executed to be read"
                + (f" ({name})" if name else ""),
                path,
                "Ask its source for the state dict alone, or for safetensors",
            ) from error
        if archived:
            raise EncoderError(f"is damaged or cut off ({_line(error)})", path, _AGAIN) from error
        raise EncoderError("is no file of weights", path, _KINDS) from error


def _check_archive(path: Path) -> None:
    """Refuse an archive that would grow out of all proportion, or that is a program."""
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
        raise EncoderError("is damaged or cut off", path, _AGAIN) from error
    if sum(entry.file_size for entry in entries) > MAX_BYTES:
        raise EncoderError(f"holds more than {MAX_BYTES >> 30} GB", path, _KINDS)
    if any(entry.filename.endswith("/constants.pkl") for entry in entries):
        raise EncoderError(
            "is a TorchScript program, no file of weights",
            path,
            "Ask its source for the state dict",
        )


def _harmless() -> list[Any]:
    """What training scripts save beside the weights, a best score or their options, and cannot execute anything."""
    from numpy._core import multiarray

    numbers = [type(np.dtype(kind)) for kind in ("f2", "f4", "f8", "i4", "i8", "u1", "?")]
    scalars: list[Any] = [
        (multiarray.scalar, "numpy.core.multiarray.scalar"),
        (multiarray.scalar, "numpy._core.multiarray.scalar"),
        (multiarray._reconstruct, "numpy.core.multiarray._reconstruct"),
        (multiarray._reconstruct, "numpy._core.multiarray._reconstruct"),
    ]
    return [*scalars, np.dtype, np.ndarray, argparse.Namespace, *numbers]


def _line(error: BaseException) -> str:
    text = (str(error).strip() or type(error).__name__).splitlines()[0]
    return text if len(text) <= 140 else text[:139] + "…"
