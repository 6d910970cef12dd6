"""From whatever bands a raster has to 8-bit red, green and blue, and in which words that is said."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rasterio.enums import ColorInterp
from rasterio.io import DatasetReader
from rasterio.windows import Window

_LOW, _HIGH = 2.0, 98.0  # percentiles that become black and white
_SAMPLES, _SAMPLE_PIXELS = (
    8,
    128,
)  # statistics come from a lattice of windows, so that huge files stay cheap
_COLOURS = (ColorInterp.red, ColorInterp.green, ColorInterp.blue)


@dataclass(frozen=True)
class BandRule:
    """How a raster's values become colours.

    Args:
        bands: the three bands read as red, green and blue (numbered from 1; one band may come three times).
        low, high: values that become 0 and 255, a pair for every band; None: the values are 8-bit as they are.
        palette: colours uint8 [256, 3] of a band of classes, or None.
        notes: what a person should know about it.
    """

    bands: tuple[int, int, int]
    low: tuple[float, ...] | None = None
    high: tuple[float, ...] | None = None
    palette: NDArray[np.uint8] | None = None
    notes: tuple[str, ...] = ()

    def to_rgb(self, values: NDArray[Any]) -> NDArray[np.uint8]:
        """Values [3, H, W] of the rule's bands as uint8 [3, H, W]."""
        if self.palette is not None:
            return np.ascontiguousarray(
                np.moveaxis(self.palette[values[0].astype(np.uint8)], -1, 0)
            )
        if self.low is None or self.high is None:
            return values if values.dtype == np.uint8 else np.clip(values, 0, 255).astype(np.uint8)
        low = np.array(self.low, np.float32)[:, None, None]
        span = np.array(self.high, np.float32)[:, None, None] - low
        scaled = (np.nan_to_num(values.astype(np.float32), posinf=0, neginf=0) - low) * (255 / span)
        return np.clip(np.round(scaled), 0, 255).astype(np.uint8)


def band_rule(dataset: DatasetReader, samples: Iterable[DatasetReader] | None = None) -> BandRule:
    """Choose bands and stretch for an open raster; reads a sample of it where the values are not 8-bit.

    Args:
        samples: rasters of the same bands that are to look alike, read for the sample in its place.
    """
    bands, notes = _choose_bands(dataset)
    palette = _palette(dataset, bands)
    if palette is not None:
        return BandRule(bands, palette=palette, notes=("colours from the file's colour table",))
    kinds = {dataset.dtypes[band - 1] for band in bands}
    if kinds == {"uint8"}:
        return BandRule(bands, notes=notes)
    name = ", ".join(sorted(kinds))
    sample = np.concatenate([_sample(one, bands) for one in samples or (dataset,)], axis=1)
    if sample.size == 0:
        return BandRule(bands, (0.0,) * 3, (1.0,) * 3, notes=notes)
    smallest, largest = float(sample.min()), float(sample.max())
    whole = bool((sample == np.round(sample)).all())
    if smallest >= 0 and largest <= 255 and whole and largest > 1:
        return BandRule(bands, notes=(*notes, f"{name} values, all from 0 to 255: read as 8-bit"))
    if "float" in name and smallest >= 0 and largest <= 1:
        said = f"{name} values from 0 to 1 brought to 8 bits"
        return BandRule(bands, (0.0,) * 3, (1.0,) * 3, notes=(*notes, said))
    low, high = np.percentile(sample, (_LOW, _HIGH), axis=1)
    high = np.where(high > low, high, low + 1)
    said = f"{name} values stretched to 8 bits, each band from its {_LOW:.0f}nd to its {_HIGH:.0f}th percentile"
    return BandRule(
        bands,
        tuple(float(v) for v in low),
        tuple(float(v) for v in high),
        notes=(*notes, said),
    )


def _choose_bands(dataset: DatasetReader) -> tuple[tuple[int, int, int], tuple[str, ...]]:
    kinds = list(dataset.colorinterp)
    if all(kinds.count(colour) == 1 for colour in _COLOURS):
        red, green, blue = (kinds.index(colour) + 1 for colour in _COLOURS)
        return (red, green, blue), ()
    coloured = [i + 1 for i, kind in enumerate(kinds) if kind != ColorInterp.alpha]
    if len(coloured) >= 3:
        first, second, third = coloured[:3]
        said = f"the file does not name its colours: bands {first}, {second}, {third} are shown as red, green, blue"
        return (first, second, third), (said,)
    grey = coloured[0] if coloured else 1
    return (grey, grey, grey), ("one band of grey",)


def _palette(dataset: DatasetReader, bands: tuple[int, int, int]) -> NDArray[np.uint8] | None:
    if dataset.colorinterp[bands[0] - 1] != ColorInterp.palette or len(set(bands)) > 1:
        return None
    if dataset.dtypes[bands[0] - 1] != "uint8":
        return None
    table = np.zeros((256, 3), np.uint8)
    for value, colour in dataset.colormap(bands[0]).items():
        if 0 <= value < 256:
            table[value] = colour[:3]
    return table


def _sample(dataset: DatasetReader, bands: tuple[int, int, int]) -> NDArray[np.float64]:
    """Finite, valid values [3, n] of the bands, from windows spread evenly over the raster."""
    parts = []
    for top, height in _spread(dataset.height):
        for left, width in _spread(dataset.width):
            window = Window(left, top, width, height)  # pyright: ignore[reportCallIssue]
            values = dataset.read(bands, window=window).astype(np.float64)
            good = np.isfinite(values).all(axis=0) & (dataset.dataset_mask(window=window) > 0)
            parts.append(values[:, good])
    return np.concatenate(parts, axis=1)


def _spread(size: int) -> list[tuple[int, int]]:
    if size <= _SAMPLES * _SAMPLE_PIXELS:
        return [(0, size)]
    starts = np.linspace(0, size - _SAMPLE_PIXELS, _SAMPLES).round().astype(int)
    return [(int(start), _SAMPLE_PIXELS) for start in starts]
