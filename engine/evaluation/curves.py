"""Recall as a curve: over the number of references looked at, and over the metres allowed; as CSV and as a picture."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.sax.saxutils import escape

import numpy as np
from numpy.typing import NDArray

from engine.errors import NadirError
from engine.files import atomic_write

FloatArray = NDArray[np.float64]

ENDINGS = (".csv", ".svg")
_WIDTH, _HEIGHT, _LEFT, _RIGHT, _TOP, _BOTTOM = 460, 320, 56, 16, 34, 46
_INK, _LINE, _RULE = "#222222", "#1f6fb2", "#dddddd"


@dataclass(frozen=True, eq=False)
class Curve:
    """Recall, fractions [n], over ``x`` [n], rising.

    Attributes:
        name: as the CSV's first column has it.
        label: of the horizontal axis.
        logarithmic: whether that axis is.
    """

    name: str
    label: str
    x: FloatArray
    recall: FloatArray
    logarithmic: bool = False


def recall_curve(better: NDArray[np.int64], references: int) -> Curve:
    """R@K for K = 1 to 100 and on, by equal factors, to all references.

    Args:
        better: [Q] references that are better than the right one (its rank from 0).
    """
    dense = np.arange(1, min(100, references) + 1)
    sparse = np.unique(np.geomspace(100, max(references, 100), 60).astype(np.int64))
    ks = np.union1d(dense, sparse[sparse <= references])
    ordered = np.sort(better)
    found = np.searchsorted(ordered, ks, side="left") / max(1, len(better))
    return Curve("R@K", "K, references looked at", ks.astype(np.float64), found, True)


def list_curve(hits: Sequence[float] | FloatArray, ks: Sequence[int]) -> Curve:
    """R@K where only the first few are known."""
    return Curve("R@K", "K, references looked at", np.asarray(ks, float), np.asarray(hits, float))


def distance_curve(first_m: FloatArray, farthest_m: float = 200.0) -> Curve:
    """Share of queries whose first answer lies within a distance, metre by metre (a limit counts as within).

    Args:
        first_m: [Q] from the truth to the first answer, infinity where there is none.
    """
    limits = np.arange(0.0, farthest_m + 1)
    ordered = np.sort(first_m)
    found = np.searchsorted(ordered, limits, side="right") / max(1, len(first_m))
    return Curve("R@1<m", "metres allowed", limits, found)


def check_ending(path: Path) -> None:
    """Refuse at once a file that :func:`write_curves` could not write.

    Raises:
        NadirError: its name ends in neither .csv nor .svg.
    """
    if path.suffix.lower() not in ENDINGS:
        raise NadirError(
            "curves are written as .csv or .svg",
            path,
            f"Give a name that ends in {ENDINGS[0]} or {ENDINGS[1]}",
        )


def write_curves(path: Path, curves: Sequence[Curve], title: str) -> None:
    """Write curves: a table ``curve,x,recall``, or a plot, by the file's ending."""
    check_ending(path)
    text = curves_csv(curves) if path.suffix.lower() == ".csv" else curves_svg(curves, title)
    with atomic_write(path) as file:
        file.write(text.encode())


def curves_csv(curves: Sequence[Curve]) -> str:
    """``curve,x,recall``, one line a point."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["curve", "x", "recall"])
    for curve in curves:
        for x, recall in zip(curve.x, curve.recall, strict=True):
            writer.writerow([curve.name, f"{x:g}", f"{recall:.6f}"])
    return out.getvalue()


def curves_svg(curves: Sequence[Curve], title: str) -> str:
    """One panel a curve, side by side; a plain SVG that needs no fonts of its own."""
    width = _WIDTH * max(1, len(curves))
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{_HEIGHT}" '
        f'viewBox="0 0 {width} {_HEIGHT}" font-family="sans-serif" font-size="12" fill="{_INK}">',
        f"<title>{escape(title)}</title>",
        f'<rect width="{width}" height="{_HEIGHT}" fill="white"/>',
        f'<text x="{_LEFT}" y="20" font-weight="bold">{escape(title)}</text>',
    ]
    for number, curve in enumerate(curves):
        parts += _panel(curve, number * _WIDTH)
    return "\n".join([*parts, "</svg>"]) + "\n"


def _panel(curve: Curve, offset: float) -> list[str]:
    left, right = offset + _LEFT, offset + _WIDTH - _RIGHT
    top, bottom = float(_TOP), float(_HEIGHT - _BOTTOM)
    low, high = float(curve.x[0]), float(curve.x[-1])

    def across(x: float) -> float:
        if curve.logarithmic and high > low:
            share = math.log(x / low) / math.log(high / low)
        else:
            share = (x - low) / (high - low) if high > low else 0.0
        return left + share * (right - left)

    def down(recall: float) -> float:
        return bottom - recall * (bottom - top)

    parts = []
    for percent in range(0, 101, 20):
        y = down(percent / 100)
        parts.append(
            f'<line x1="{left:.1f}" y1="{y:.1f}" x2="{right:.1f}" y2="{y:.1f}" stroke="{_RULE}"/>'
        )
        parts.append(
            f'<text x="{left - 6:.1f}" y="{y + 4:.1f}" text-anchor="end">{percent} %</text>'
        )
    for x in _ticks(low, high, curve.logarithmic):
        at = across(x)
        parts.append(
            f'<line x1="{at:.1f}" y1="{top:.1f}" x2="{at:.1f}" y2="{bottom:.1f}" stroke="{_RULE}"/>'
        )
        parts.append(f'<text x="{at:.1f}" y="{bottom + 16:.1f}" text-anchor="middle">{x:g}</text>')
    points = " ".join(
        f"{across(float(x)):.1f},{down(float(r)):.1f}"
        for x, r in zip(curve.x, curve.recall, strict=True)
    )
    parts.append(f'<polyline points="{points}" fill="none" stroke="{_LINE}" stroke-width="2"/>')
    middle = (left + right) / 2
    parts.append(
        f'<text x="{middle:.1f}" y="{bottom + 36:.1f}" text-anchor="middle">{escape(curve.label)}</text>'
    )
    return parts


def _ticks(low: float, high: float, logarithmic: bool) -> list[float]:
    if logarithmic and low > 0:
        powers = range(math.ceil(math.log10(low) - 1e-9), math.floor(math.log10(high) + 1e-9) + 1)
        return [10.0**power for power in powers]
    step = 10 ** math.floor(math.log10(max(high - low, 1e-9)))
    if (high - low) / step < 4:
        step /= 2
    first = math.ceil(low / step)
    return [step * i for i in range(first, math.floor(high / step + 1e-9) + 1)]
