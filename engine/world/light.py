"""Sun, and shadows as a height: how far above the ground a place lies in shadow."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

F32 = NDArray[np.floating[Any]]


@dataclass(frozen=True)
class Sun:
    """Where the sun stands: ``azimuth`` degrees clockwise from north, ``altitude`` degrees above the horizon.

    ``strength``: direct light against the sky's, 0 (overcast) to 1 (clear).
    """

    azimuth: float
    altitude: float
    strength: float

    @property
    def direction(self) -> tuple[float, float, float]:
        """Unit vector to the sun: east, north, up."""
        a, h = np.radians(self.azimuth), np.radians(self.altitude)
        return float(np.sin(a) * np.cos(h)), float(np.cos(a) * np.cos(h)), float(np.sin(h))


def _shifted(height: F32, rows: float, columns: float) -> F32:
    """``height`` sampled ``rows`` down and ``columns`` right of each pixel, bilinear; zero beyond the edge."""
    r0, c0 = int(np.floor(rows)), int(np.floor(columns))
    fr, fc = np.float32(rows - r0), np.float32(columns - c0)
    pad = max(abs(r0), abs(c0)) + 1
    h, w = height.shape
    if pad >= max(h, w):
        return np.zeros_like(height)
    grown = np.pad(height, pad)

    def cut(dr: int, dc: int) -> F32:
        return grown[pad + r0 + dr : pad + r0 + dr + h, pad + c0 + dc : pad + c0 + dc + w]

    top = cut(0, 0) * (1 - fc) + cut(0, 1) * fc
    if fr == 0:
        return top
    return top * (1 - fr) + (cut(1, 0) * (1 - fc) + cut(1, 1) * fc) * fr


def shadow_height(height: F32, resolution_m: float, sun: Sun, reach_m: float = 64.0) -> F32:
    """Height up to which each place lies in the shadow of others, metres; 0 where the sun reaches the ground.

    ``height`` [H, W]: what stands there, row 0 north. The largest of ``height - distance * tan(altitude)`` over
    all distances towards the sun, found by doubling: the answer over 2n steps from the answer over n.
    """
    east, north, _ = sun.direction
    fall = np.float32(np.tan(np.radians(sun.altitude)) * resolution_m)
    flat = np.hypot(east, north)
    step_r, step_c = -north / flat, east / flat
    shade = np.maximum(_shifted(height, step_r, step_c) - fall, 0)
    n = 1
    while n * resolution_m < reach_m:
        shade = np.maximum(shade, _shifted(shade, step_r * n, step_c * n) - fall * n)
        n *= 2
    return shade
