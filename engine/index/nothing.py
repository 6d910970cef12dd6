"""Why a build has no row, and what would give it some."""

from __future__ import annotations

import numpy as np

from engine.errors import ImageryError
from engine.geo import metres_per_degree
from engine.imagery import AerialSource
from engine.imagery.describe import metres_text
from engine.imagery.pictures import PictureSource
from engine.index.job import Job

_TRIED = 64  # places
_PIXELS = 64  # of a tile that is only cut to see how much of it is covered
_HALVINGS = 10


def nothing_covered(job: Job) -> ImageryError:
    """Most often the imagery is smaller than a tile."""
    plan, source = job.plan, job.source
    if isinstance(source, PictureSource):
        return ImageryError(f"none of its {plan.places:,} pictures can be read", plan.imagery_name)
    widest = largest_extent(job, source)
    remedy = "Choose another area"
    if widest >= 1.0:
        remedy = f"Choose a tile extent of {int(widest)} m or less (--extent-m), or larger imagery"
    wide, high = max((_sides(job, source)), key=min)
    which = "the imagery is" if len(job.pieces) < 2 else "its largest piece is"
    return ImageryError(
        f"no tile of {plan.extent_m:g} m in the area is covered to {plan.minimum_valid:.0%}; "
        f"{which} {metres_text(wide)} by {metres_text(high)}",
        plan.imagery_name,
        remedy,
    )


def largest_extent(job: Job, source: AerialSource) -> float:
    """Metres along the largest tiles of which one is covered well enough, of those smaller than asked for; else 0.

    It is measured at the places themselves, since no rule knows how imagery is turned, or where it is empty.
    """
    rows = job.references(source)
    numbers = np.unique(np.linspace(0, rows.count - 1, _TRIED).astype(int)).tolist()
    places = [rows.centres(number, number + 1) for number in numbers]
    lats, lons = (np.concatenate([place[k] for place in places]) for k in (0, 1))

    def covered(extent_m: float) -> bool:
        shares = source.cut_many(lats, lons, extent_m, _PIXELS)[1]
        # A little more than is asked for: the tiles that are built have other pixels.
        return float(shares.max()) >= min(1.0, job.plan.minimum_valid + 0.01)

    low, high = 0.0, job.plan.extent_m
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if covered(middle) else (low, middle)
    return low


def _sides(job: Job, source: AerialSource) -> list[tuple[float, float]]:
    """Metres from west to east and from south to north of every piece."""
    found: list[tuple[float, float]] = []
    for box in job.pieces if len(job.pieces) > 1 else (source.bounds,):
        per_lat, per_lon = (float(v) for v in metres_per_degree(box.centre[0]))
        found.append((box.width_deg * per_lon, (box.north - box.south) * per_lat))
    return found
