"""Recall as a curve: over the number of references looked at, and over the metres allowed."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from engine.errors import NadirError
from engine.evaluation.plots import curves_png, curves_svg
from engine.files import atomic_write

FloatArray = NDArray[np.float64]

ENDINGS = (".csv", ".svg", ".png")


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
        NadirError: its name ends in none of :data:`ENDINGS`.
    """
    if path.suffix.lower() not in ENDINGS:
        raise NadirError(
            "curves are written as a table or a picture",
            path,
            f"Give a name that ends in {', '.join(ENDINGS[:-1])} or {ENDINGS[-1]}",
        )


def write_curves(path: Path, curves: Sequence[Curve], title: str) -> None:
    """Write curves: a table ``curve,x,recall``, or a plot, by the file's ending."""
    check_ending(path)
    ending = path.suffix.lower()
    if ending == ".csv":
        content = curves_csv(curves).encode()
    elif ending == ".svg":
        content = curves_svg(curves, title).encode()
    else:
        content = curves_png(curves, title)
    with atomic_write(path) as file:
        file.write(content)


def curves_csv(curves: Sequence[Curve]) -> str:
    """``curve,x,recall``, one line a point."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["curve", "x", "recall"])
    for curve in curves:
        for x, recall in zip(curve.x, curve.recall, strict=True):
            writer.writerow([curve.name, f"{x:g}", f"{recall:.6f}"])
    return out.getvalue()
