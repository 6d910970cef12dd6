"""Places as classes, for training by classification: CosPlace's cells and headings, EigenPlaces' focal points.

CosPlace (Berton et al., CVPR 2022) parts the plane into squares of ``cell_m`` (M) and the compass into sectors of
``sector_deg`` (alpha); images of one square and sector are one class. Neighbouring classes look alike, so they are
never trained together: of every ``apart`` (N) squares in each direction, and every ``sectors_apart`` (L) sectors, one
is in a group, and an epoch trains one group. EigenPlaces (Berton et al., ICCV 2023) has squares alone; its images are
cut from panoramas so that all of a class look at one point.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from engine.training.mining.base import Classes, Indices

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class PlaceClasses(Classes):
    """Classes of n images, in groups.

    Attributes:
        labels: [n]; -1: its class is too small or its group is not used.
        sizes: the ``classes`` of :class:`engine.training.losses.cosface.CosFace`.
        keys: [C, 2 or 3], lower east and north edge of each class's square in metres, and the start of its sector in
            degrees.
    """

    keys: Indices


def cosplace_classes(
    positions: Floats,
    heading_deg: Floats,
    *,
    cell_m: int = 10,
    sector_deg: int = 30,
    apart: int = 5,
    sectors_apart: int = 2,
    smallest: int = 10,
    groups: int = 8,
) -> PlaceClasses:
    """CosPlace's classes and groups, by its authors' defaults.

    Args:
        positions: [n, 2] metres east and north (UTM).
        heading_deg: [n], 0..360.
        smallest: images that a class must have.
        groups: how many groups are used: those whose images come first, as the authors take them.
    """
    cells = _floor(positions, cell_m)
    sectors = _floor(heading_deg[:, None], sector_deg)
    keys = np.concatenate([cells, sectors], axis=1)
    within = np.concatenate(
        [cells % (cell_m * apart) // cell_m, sectors % (sector_deg * sectors_apart) // sector_deg],
        axis=1,
    )
    return _grouped(keys, within, smallest, groups)


def eigenplaces_classes(
    positions: Floats, *, cell_m: int = 15, apart: int = 3, smallest: int = 5, groups: int = 9
) -> PlaceClasses:
    """EigenPlaces' classes: as :func:`cosplace_classes`, whatever the heading."""
    cells = _floor(positions, cell_m)
    return _grouped(cells, cells % (cell_m * apart) // cell_m, smallest, groups)


def focal_point(positions: Floats, distance_m: float = 10.0, angle_deg: float = 0.0) -> Floats:
    """[2]: the point that a class of EigenPlaces looks at.

    It lies ``distance_m`` from the mean of the positions, along the second row of the matrix of their principal
    directions (the authors take the row), turned counterclockwise by ``angle_deg``. They train with 0 and 90 degrees
    in turn: to the side of a street and along it.

    Args:
        positions: [n, 2] metres east and north, n at least 2.
    """
    mean = positions.mean(axis=0)
    directions = np.linalg.svd((positions - mean).T, full_matrices=False)[0]
    turn = np.radians(angle_deg)
    rotation = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    return mean + rotation @ directions[1] * distance_m


def headings_towards(positions: Floats, point: Floats) -> Floats:
    """[n] compass bearings 0..360 from positions [n, 2] (east, north) to a point [2]."""
    east, north = (point - positions).T
    return np.degrees(np.arctan2(east, north)) % 360.0


def _floor(values: Floats, step: int) -> Indices:
    """Down to the next multiple, by the float division that the authors do."""
    return (values // step * step).astype(np.int64)


def _grouped(keys: Indices, within: Indices, smallest: int, groups: int) -> PlaceClasses:
    """Number the classes ``keys`` [n, k] of images that are in the groups ``within`` [n, k]."""
    classes, class_of, counts = np.unique(keys, axis=0, return_inverse=True, return_counts=True)
    class_of = class_of.reshape(-1)
    kept = counts[class_of] >= smallest
    found, first, group_of = np.unique(within[kept], axis=0, return_index=True, return_inverse=True)
    rank = np.empty(len(found), np.int64)
    rank[np.argsort(first)] = np.arange(len(found))
    group_of = rank[group_of.reshape(-1)]
    group_of_class = np.full(len(classes), -1)
    group_of_class[class_of[kept]] = group_of
    used = np.flatnonzero((group_of_class >= 0) & (group_of_class < groups))
    # A stable order: groups first, then the classes by where they are.
    used = used[np.argsort(group_of_class[used], kind="stable")]
    number = np.full(len(classes), -1)
    number[used] = np.arange(len(used))
    sizes = np.bincount(group_of_class[used], minlength=min(groups, len(found)))
    return PlaceClasses(number[class_of], tuple(sizes.tolist()), classes[used])
