"""The one ramp for quantities: perceptually uniform, safe for colour-blind eyes, transparent at nothing.

The anchors are matplotlib's *plasma* (dedicated to the public domain, CC0) at ten even steps. Plasma, because
its blues, magentas and yellows stand apart from the greens and greys of streets and roofs.
"""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray
from PySide6.QtGui import QImage

ANCHORS = (
    "0d0887",
    "46039f",
    "7201a8",
    "9c179e",
    "bd3786",
    "d8576b",
    "ed7953",
    "fb9f3a",
    "fdca26",
    "f0f921",
)

# The share of a map's range that is wholly transparent, and where its own opacity is full.
CLEAR_BELOW = 0.04
OPAQUE_ABOVE = 0.9


@cache
def table() -> NDArray[np.uint8]:
    """The ramp as [256, 4] sRGB and alpha, straight (not premultiplied)."""
    anchors = np.array([[int(a[i : i + 2], 16) for i in (0, 2, 4)] for a in ANCHORS], np.float64)
    at = np.linspace(0, 1, len(anchors))
    values = np.linspace(0, 1, 256)
    out = np.empty((256, 4), np.uint8)
    for channel in range(3):
        out[:, channel] = np.round(np.interp(values, at, anchors[:, channel]))
    share = np.clip((values - CLEAR_BELOW) / (OPAQUE_ABOVE - CLEAR_BELOW), 0, 1)
    out[:, 3] = np.round(255 * share * share * (3 - 2 * share))
    return out


def levels(values: NDArray[np.float32]) -> NDArray[np.uint8]:
    """A map [H, W] as steps of the ramp: 0 for what adds no more than most places, 255 for what adds most.

    Contributions are mostly small and positive everywhere, so the ramp runs from the median of the positive values
    to their 98th percentile: what stands out is what one wants to see. Negative values, places that speak against
    the match, are nothing: they are not where it comes from.
    """
    finite = np.nan_to_num(np.asarray(values, np.float32), nan=0.0, posinf=0.0, neginf=0.0)
    counted = finite[finite > 0]
    if not counted.size:
        return np.zeros(finite.shape, np.uint8)
    low, top = (float(value) for value in np.percentile(counted, (50.0, 98.0)))
    if top <= low:  # all that counts, counts alike
        alike = finite >= top if counted.size < finite.size else np.zeros(finite.shape, bool)
        return np.where(alike, 255, 0).astype(np.uint8)
    return (np.clip((finite - low) / (top - low), 0.0, 1.0) * 255.0).astype(np.uint8)


def colourize(values: NDArray[np.float32]) -> NDArray[np.uint8]:
    """A map [H, W] in the ramp's colours, clear at nothing: [H, W, 4] uint8."""
    return table()[levels(values)]


def heat_image(values: NDArray[np.float32]) -> QImage:
    """The coloured map as an image of its own, to be drawn over a picture with any opacity."""
    return image_from_array(colourize(values))


def image_from_array(pixels: NDArray[np.uint8]) -> QImage:
    """A QImage that owns a copy of [H, W, 3] (sRGB) or [H, W, 4] (sRGB and straight alpha) pixels."""
    pixels = np.ascontiguousarray(pixels)
    height, width, channels = pixels.shape
    kind = QImage.Format.Format_RGBA8888 if channels == 4 else QImage.Format.Format_RGB888
    return QImage(pixels.data, width, height, channels * width, kind).copy()


def array_from_image(image: QImage) -> NDArray[np.uint8]:
    """The pixels of an image as [H, W, 3] sRGB."""
    rgb = image.convertToFormat(QImage.Format.Format_RGB888)
    rows = np.frombuffer(rgb.constBits(), np.uint8).reshape(rgb.height(), rgb.bytesPerLine())
    return rows[:, : rgb.width() * 3].reshape(rgb.height(), rgb.width(), 3).copy()
