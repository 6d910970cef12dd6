"""The deterministic weights and inputs under which the golden numbers were made, and comparison with them.

Whoever made the golden numbers filled the authors' own networks by this rule and wrote down what they put out. A
tensor's values depend on its name and shape alone, so a network of ours that has the same parameter names can be
filled the same way.
"""

from __future__ import annotations

import json
import math
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

EMBEDDINGS = ("pos_embed", "cls_token", "dist_token")
SCALARS = {"logit_scale": math.log(1 / 0.07), "dust_bin": 1.0}
"""Float tensors without dimensions keep what their authors start them with."""


def rule_z(name: str, shape: tuple[int, ...]) -> np.ndarray:
    """Standard normal numbers that belong to the name of a tensor, float32."""
    rng = np.random.Generator(np.random.PCG64(zlib.crc32(name.encode())))
    return rng.standard_normal(shape, dtype=np.float32)


def rule_tensor(name: str, shape: tuple[int, ...], dtype: str = "float32") -> Tensor:
    """The value of the tensor ``name``."""
    if "float" not in dtype:
        return torch.zeros(shape, dtype=getattr(torch, dtype))
    last = name.rsplit(".", 1)[-1]
    if not shape:
        return torch.tensor(SCALARS[last], dtype=torch.float32)
    z = rule_z(name, shape)
    if last in EMBEDDINGS:
        value = np.float32(0.02) * z
    elif len(shape) >= 2:
        value = z * np.float32(1 / math.sqrt(math.prod(shape[1:])))
    elif last.endswith("weight"):
        value = np.float32(1) + np.float32(0.1) * z
    elif last.endswith("bias") or last == "running_mean":
        value = np.float32(0.1) * z
    elif last == "running_var":
        value = np.float32(1) + np.float32(0.1) * np.abs(z)
    else:
        value = np.float32(3) + np.float32(0.1) * z
    return torch.from_numpy(value)


def read_keys(keys_json: Path) -> list[tuple[str, tuple[int, ...], str]]:
    """Name, shape and dtype of every entry of an official state dict, in the official order."""
    entries = json.loads(keys_json.read_text())
    return [
        (entry["name"], tuple(entry["shape"]), str(entry["dtype"]).removeprefix("torch."))
        for entry in entries
    ]


def rule_state(keys_json: Path) -> dict[str, Tensor]:
    """The official state dict that ``keys_json`` lists, filled by the rule."""
    return {name: rule_tensor(name, shape, dtype) for name, shape, dtype in read_keys(keys_json)}


def rule_input(seed: int, shape: tuple[int, ...], struct: bool = False) -> Tensor:
    """An input [N, C, H, W]: noise, or with ``struct`` noise on squares of 64 pixels.

    The networks on channels-last images (SAFA, DSM) have inputs [N, H, W, C] of the same kind: pass that shape for
    noise.
    """
    rng = np.random.Generator(np.random.PCG64(seed))
    z = rng.standard_normal(shape, dtype=np.float32)
    if not struct:
        return torch.from_numpy(z)
    count, channels, height, width = shape
    squares = rng.standard_normal(
        (count, channels, math.ceil(height / 64), math.ceil(width / 64)), dtype=np.float32
    )
    spread = squares.repeat(64, axis=2).repeat(64, axis=3)[:, :, :height, :width]
    return torch.from_numpy(z + np.float32(2.0) * spread)


def assert_matches(
    array: np.ndarray | Tensor,
    npz: Mapping[str, Any],
    name: str,
    atol: float,
    rtol: float = 0.0,
) -> None:
    """``array`` equals what ``npz`` holds as ``name``: all of it, or the parts of a long one.

    Long arrays are kept as shape, first 4096 values, a sample of every row, norm and sum.
    """
    ours = array.detach().cpu().numpy() if isinstance(array, Tensor) else np.asarray(array)
    if name in npz:
        golden = npz[name]
        assert ours.shape == golden.shape, f"{name}: {ours.shape} is not {golden.shape}"
        _close(ours, golden, name, atol, rtol)
        return
    shape = tuple(int(n) for n in npz[f"{name}__shape"])
    assert ours.shape == shape, f"{name}: {ours.shape} is not {shape}"
    first = npz[f"{name}__first4096"]
    _close(ours.ravel()[: first.size], first, f"{name}, first values", atol, rtol)
    step = int(npz[f"{name}__rows_step"])
    rows = ours.reshape(ours.shape[0], -1)[:, ::step]
    _close(rows, npz[f"{name}__rows_every"], f"{name}, sampled", atol, rtol)
    wide = ours.astype(np.float64)
    size = wide.size
    norm, total = float(npz[f"{name}__l2"]), float(npz[f"{name}__sum"])
    allowed = atol * math.sqrt(size) + rtol * norm
    assert abs(math.sqrt(float((wide**2).sum())) - norm) <= allowed, f"{name}: norm"
    # A sum's error is at most the sum of the errors.
    assert abs(float(wide.sum()) - total) <= atol * size + rtol * float(np.abs(wide).sum()), (
        f"{name}: sum"
    )


def _close(ours: np.ndarray, golden: np.ndarray, name: str, atol: float, rtol: float) -> None:
    off = np.abs(ours.astype(np.float64) - golden.astype(np.float64))
    worst = float((off - rtol * np.abs(golden)).max())
    assert worst <= atol, f"{name}: off by {float(off.max()):.3g}, allowed {atol:g} + {rtol:g} rel."
