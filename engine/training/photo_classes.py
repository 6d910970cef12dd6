"""How a set of photos becomes classes, by the name that ``data.classes`` gives:

- ``place``: the place that the data names (GSV-Cities, University-1652); a group is a city.
- ``cosplace``, ``eigenplaces``: squares of the map, see :mod:`engine.training.classes`; further keys of
  ``data.classes`` are arguments of the functions there. EigenPlaces' photos are panoramas, of which every class sees
  two cuts, to the side of its street and along it: they are numbered one after the other, and a group becomes two.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.datasets import Dataset
from engine.errors import DatasetError, TrainingError
from engine.training.classes import (
    PlaceClasses,
    cosplace_classes,
    eigenplaces_classes,
    focal_point,
    headings_towards,
)
from engine.training.mining.base import Classes, Indices

Pixels = NDArray[np.uint8]

VIEWS_DEG = (0.0, 90.0)
"""EigenPlaces' two points of every class: to the side of the street and along it."""


@dataclass(frozen=True)
class Labelled:
    """The photos that are trained on, numbered from 0.

    Attributes:
        classes: of each number.
        photo: [M], the query of the dataset that it is.
        bearing_deg: [M], the compass bearing that is cut out of a panorama; not a number: the picture as it is.
    """

    classes: Classes
    photo: Indices
    bearing_deg: NDArray[np.float64]


def labelled_photos(dataset: Dataset, how: Mapping[str, Any]) -> Labelled:
    """Label the queries of a dataset.

    Args:
        how: ``data.classes`` of a recipe.

    Raises:
        TrainingError: a name or option that nobody knows.
        DatasetError: the data does not say what is needed, or makes no classes.
    """
    options = dict(how)
    by = options.pop("by", None)
    if by not in CLASSES:
        known = ", ".join(CLASSES)
        raise TrainingError(f'"data.classes.by" is "{by}"', None, f"Known are: {known}")
    try:
        made = CLASSES[by](dataset, **options)
    except (TypeError, ValueError) as error:
        raise TrainingError(f'"data.classes" cannot be made by {by}: {error}') from error
    if not sum(made.classes.sizes):
        raise DatasetError(f"makes no classes by {by}: no place has enough photos", dataset.folder)
    return made


def _by_place(dataset: Dataset) -> Labelled:
    labels = np.asarray(dataset.queries.labels, dtype=str)
    if not (labels != "").all():
        raise DatasetError("does not name the place of every photo", dataset.folder)
    names, first, of_photo = np.unique(labels, return_index=True, return_inverse=True)
    cities = np.array([name.partition("/")[0] if "/" in name else "" for name in names])
    # Cities in the order in which the data lists them; places within them too.
    order_of = {city: i for i, city in enumerate(dict.fromkeys(cities[np.argsort(first)]))}
    city = np.array([order_of[name] for name in cities])
    order = np.lexsort((first, city))
    rank = np.empty(len(names), np.int64)
    rank[order] = np.arange(len(names))
    sizes = tuple(np.bincount(city).tolist())
    return _as_they_are(Classes(rank[of_photo.reshape(-1)], sizes))


def _by_cosplace(dataset: Dataset, **options: Any) -> Labelled:
    heading = dataset.queries.heading_deg
    if not np.isfinite(heading).all():
        raise DatasetError("does not say where every photo looks", dataset.folder)
    return _as_they_are(cosplace_classes(_plane(dataset), heading, **options))


def _by_eigenplaces(dataset: Dataset, *, distance_m: float = 10.0, **options: Any) -> Labelled:
    if not np.isfinite(dataset.queries.heading_deg).all():
        raise DatasetError("does not say where every panorama looks", dataset.folder)
    where = _plane(dataset)
    classes = eigenplaces_classes(where, **options)
    count, views = len(where), len(VIEWS_DEG)
    bearing = np.full((views, count), np.nan)
    order = np.argsort(classes.labels, kind="stable")
    starts = np.searchsorted(classes.labels[order], np.arange(sum(classes.sizes) + 1))
    for first, last in pairwise(starts):
        members = order[first:last]
        for view, angle in enumerate(VIEWS_DEG):
            point = focal_point(where[members], distance_m, angle)
            bearing[view, members] = headings_towards(where[members], point)
    return Labelled(
        _in_views(classes, views), np.tile(np.arange(count), views), bearing.reshape(-1)
    )


def _in_views(classes: PlaceClasses, views: int) -> Classes:
    """Every group ``views`` times, one after the other; images are numbered view by view."""
    starts = np.concatenate([[0], np.cumsum(classes.sizes)])
    group = np.searchsorted(starts, classes.labels, side="right") - 1
    used = classes.labels >= 0
    size = np.array((*classes.sizes, 0))[group]
    # Before a group's first view lie all views of the groups before it.
    shift = np.where(used, starts[group] * (views - 1), 0)
    labels = [
        np.where(used, classes.labels + shift + view * size, classes.labels)
        for view in range(views)
    ]
    return Classes(np.concatenate(labels), tuple(np.repeat(classes.sizes, views).tolist()))


def _as_they_are(classes: Classes) -> Labelled:
    count = len(classes.labels)
    return Labelled(classes, np.arange(count), np.full(count, np.nan))


def _plane(dataset: Dataset) -> NDArray[np.float64]:
    utm = dataset.queries.utm
    if utm is None or not np.isfinite(utm).all():
        raise DatasetError("does not give every photo's place in metres (UTM)", dataset.folder)
    return utm


def cut_towards(panorama: Pixels, heading_deg: float, bearing_deg: float) -> Pixels:
    """The square of a panorama [H, W, 3] about a bearing: [H, H, 3], columns as EigenPlaces' authors count them.

    Args:
        heading_deg: the compass bearing of the panorama's centre column.
    """
    height, width = panorama.shape[:2]
    north = int((180.0 - heading_deg) % 360.0 / 360.0 * width)
    first = north + int(bearing_deg % 360.0 / 360.0 * width) - height // 2
    return np.take(panorama, np.arange(first, first + height), axis=1, mode="wrap")


CLASSES: dict[str, Callable[..., Labelled]] = {
    "place": _by_place,
    "cosplace": _by_cosplace,
    "eigenplaces": _by_eigenplaces,
}
