"""What is seen from a point: exact ray casting of boxes, crowns and ground over a grid of bearings and elevations.

The picture is a set of columns (bearings) and rows (elevations): a piece of an equirectangular image. Boxes are met
exactly: for every column the boxes it crosses are found in the plan, hidden ones dropped by the highest elevation
already covered, and only the pixels that are left are intersected with walls and roof planes.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.world.model import Boxes, Kind, Roof, Town, Trees, columns_of_boxes, columns_of_trees

F32 = NDArray[np.floating[Any]]
Ints = NDArray[np.intp]

FAR_M = np.float32(1e6)
_REACH = {
    Kind.HEDGE: 90.0,
    Kind.FENCE: 80.0,
    Kind.CAR: 100.0,
    Kind.CABIN: 100.0,
    Kind.POLE: 70.0,
    Kind.SHED: 160.0,
}


@dataclass(frozen=True)
class Scene:
    """A town as columns, with a coarse grid to find what is near."""

    boxes: Boxes
    trees: Trees

    @staticmethod
    def of(town: Town) -> Scene:
        """The standing things of a town."""
        return Scene(columns_of_boxes(town.boxes), columns_of_trees(town.trees))

    @cached_property
    def _box_reach(self) -> F32:
        reach = np.full(len(self.boxes), 260.0, np.float32)
        for kind, metres in _REACH.items():
            reach[self.boxes.kind == kind] = metres
        return reach + np.hypot(self.boxes.half_x, self.boxes.half_y)

    def near(self, x: float, y: float) -> tuple[Boxes, Trees]:
        """What can be seen from a point, by distance alone."""
        b, t = self.boxes, self.trees
        boxes = np.flatnonzero((b.x - x) ** 2 + (b.y - y) ** 2 < self._box_reach**2)
        trees = np.flatnonzero(
            (t.x - x) ** 2 + (t.y - y) ** 2 < np.where(t.height > 3, 170.0, 60.0) ** 2
        )
        return b.take(boxes), t.take(trees)


@dataclass(frozen=True)
class Hits:
    """The first thing met by every ray. All arrays [rows, columns].

    ``distance``: metres along the ground; ``box``: position in ``boxes`` or -1; ``face``: 0 end wall (the box's x
    axis is its normal), 1 side wall, 2 roof; ``along``: metres along the wall from its middle; ``height``: metres above
    the ground; ``nx, ny, nz``: the surface's normal.
    """

    boxes: Boxes
    trees: Trees
    distance: F32
    box: NDArray[np.int32]
    face: NDArray[np.int8]
    along: F32
    height: F32
    nx: F32
    ny: F32
    nz: F32


def ragged(counts: Ints) -> tuple[Ints, Ints]:
    """For lists of the given lengths laid end to end: the list each element is in, and its place in that list."""
    owner = np.repeat(np.arange(len(counts)), counts)
    start = np.cumsum(counts) - counts
    return owner, np.arange(len(owner)) - start[owner]


def columns_crossed(azimuths: F32, bearing: F32, half_width: F32) -> tuple[Ints, Ints]:
    """Pairs (thing, column) whose bearing lies within ``half_width`` (radians) of the thing's.

    ``azimuths``: evenly spaced columns.
    """
    n = len(azimuths)
    step = float(azimuths[1] - azimuths[0])
    full = abs(n * step - 2 * np.pi) < 1.5 * step
    first = np.ceil((bearing - half_width - azimuths[0]) / step).astype(np.intp)
    last = np.floor((bearing + half_width - azimuths[0]) / step).astype(np.intp)
    last = np.minimum(last, first + n - 1)
    if not full:  # bring the span into the picture's own turn, then clip
        turn = np.intp(round(2 * np.pi / step))
        shift = np.floor_divide(last, turn) * turn
        first, last = first - shift, last - shift
        spans = [
            (np.maximum(first + k * turn, 0), np.minimum(last + k * turn, n - 1))
            for k in (-1, 0, 1)
        ]
        things, columns = [], []
        for a, b in spans:
            owner, place = ragged(np.maximum(b - a + 1, 0))
            things.append(owner)
            columns.append(a[owner] + place)
        return np.concatenate(things), np.concatenate(columns)
    owner, place = ragged(np.maximum(last - first + 1, 0))
    return owner, (first[owner] + place) % n


def cast(
    scene: Scene,
    x: float,
    y: float,
    eye: float,
    azimuths: F32,
    elevations: F32,
    extra: Boxes | None = None,
) -> Hits:
    """Cast all rays from (x, y) at ``eye`` metres.

    ``azimuths`` [C]: radians clockwise from north, evenly spaced, rising; ``elevations`` [R]: radians, falling
    (row 0 is the top). ``extra``: boxes that are only here for this view, such as passing cars.
    """
    boxes, trees = scene.near(x, y)
    if extra is not None and len(extra):
        boxes = Boxes(
            *(
                np.concatenate([getattr(boxes, n), getattr(extra, n)])
                for n in Boxes.__dataclass_fields__
            )
        )
    rows, cols = len(elevations), len(azimuths)
    slope = np.tan(elevations).astype(np.float32)
    ground = np.where(slope < -1e-4, -eye / np.minimum(slope, -1e-4), FAR_M).astype(np.float32)
    distance = np.repeat(ground[:, None], cols, axis=1)
    shape = (rows, cols)
    box = np.full(shape, -1, np.int32)
    face = np.full(shape, -1, np.int8)
    along, height = np.zeros(shape, np.float32), np.zeros(shape, np.float32)
    normal = np.zeros((3, rows * cols), np.float32)

    thing, column, t_in, t_out, local = _crossings(boxes, x, y, azimuths)
    thing, column, t_in, t_out, local, top, bottom = _visible(
        boxes, eye, thing, column, t_in, t_out, local
    )
    upward = slope[::-1]
    row_low = rows - np.searchsorted(upward, top, side="right")
    row_high = rows - np.searchsorted(upward, bottom, side="left")
    pair, place = ragged(np.maximum(row_high - row_low, 0))
    row = row_low[pair] + place
    flat = row * cols + column[pair]
    found = _meet(boxes, eye, slope[row], thing, pair, t_in, t_out, local)
    keep = found.hit & (found.t < distance.ravel()[flat])
    # Pairs run from far to near, so the nearest is written last.
    flat, pair = flat[keep], pair[keep]
    distance.ravel()[flat] = found.t[keep]
    box.ravel()[flat] = thing[pair]
    face.ravel()[flat] = found.face[keep]
    along.ravel()[flat] = found.along[keep]
    height.ravel()[flat] = found.height[keep]
    for i in range(3):
        normal[i, flat] = found.normal[i][keep]
    nx, ny, nz = (n.reshape(shape) for n in normal)
    return Hits(boxes, trees, distance, box, face, along, height, nx, ny, nz)


def _crossings(boxes: Boxes, x: float, y: float, azimuths: F32) -> tuple[Ints, Ints, F32, F32, F32]:
    """All (box, column) pairs whose rays cross the box's footprint.

    Returns thing, column, entry, exit, and the ray in the box's own frame [4, P].
    """
    dx, dy = boxes.x - x, boxes.y - y
    far = np.hypot(dx, dy)
    radius = np.hypot(boxes.half_x, boxes.half_y)
    spread = np.where(far > radius, np.arcsin(np.clip(radius / np.maximum(far, 1e-3), 0, 1)), np.pi)
    thing, column = columns_crossed(azimuths, np.arctan2(dx, dy), spread.astype(np.float32))
    ray_x, ray_y = (
        np.sin(azimuths).astype(np.float32)[column],
        np.cos(azimuths).astype(np.float32)[column],
    )
    c, s = np.cos(boxes.angle), np.sin(boxes.angle)
    ox, oy = (-dx * c - dy * s)[thing], (dx * s - dy * c)[thing]
    rx, ry = ray_x * c[thing] + ray_y * s[thing], -ray_x * s[thing] + ray_y * c[thing]
    with np.errstate(divide="ignore", invalid="ignore"):
        ix, iy = (
            1 / np.where(np.abs(rx) < 1e-7, 1e-7, rx),
            1 / np.where(np.abs(ry) < 1e-7, 1e-7, ry),
        )
    hx, hy = boxes.half_x[thing], boxes.half_y[thing]
    tx, ty = -ox * ix, -oy * iy
    wx, wy = hx * np.abs(ix), hy * np.abs(iy)
    t_in = np.maximum(tx - wx, ty - wy)
    t_out = np.minimum(tx + wx, ty + wy)
    keep = (t_out > t_in) & (t_in > 0.3)
    return thing[keep], column[keep], t_in[keep], t_out[keep], np.stack([ox, oy, rx, ry])[:, keep]


def _visible(
    boxes: Boxes, eye: float, thing: Ints, column: Ints, t_in: F32, t_out: F32, local: F32
) -> tuple[Ints, Ints, F32, F32, F32, F32, F32]:
    """Drop what nearer walls hide; sort the rest from far to near; add each pair's top and bottom slope."""
    order = np.lexsort((t_in, column))
    thing, column, t_in, t_out, local = (
        thing[order],
        column[order],
        t_in[order],
        t_out[order],
        local[:, order],
    )
    rise = boxes.ridge[thing] - eye
    top = np.where(rise > 0, rise / t_in, rise / t_out)
    drop = boxes.base[thing] - eye
    bottom = np.where(drop < 0, drop / t_in, drop / t_out)
    covers = np.where(boxes.base[thing] < 0.05, (boxes.eave[thing] - eye) / t_in, -1e3)
    lift = column * np.float64(1e4)
    running = np.maximum.accumulate(np.concatenate([[-1e9], covers + lift]))[:-1] - lift
    running = np.maximum(running, -1e3).astype(np.float32)
    bottom = np.maximum(bottom, running)
    keep = np.flatnonzero(top > bottom)
    keep = keep[np.argsort(-t_in[keep], kind="stable")]
    return (
        thing[keep],
        column[keep],
        t_in[keep],
        t_out[keep],
        local[:, keep],
        top[keep],
        bottom[keep],
    )


@dataclass(frozen=True)
class _Met:
    hit: NDArray[np.bool_]
    t: F32
    face: NDArray[np.int8]
    along: F32
    height: F32
    normal: tuple[F32, F32, F32]


def _meet(
    boxes: Boxes, eye: float, slope: F32, thing: Ints, pair: Ints, t_in: F32, t_out: F32, local: F32
) -> _Met:
    """Intersect rays (one a pixel) with the walls and roof planes of their boxes.

    A roof is the lower envelope of up to four planes over the footprint, so the box is convex: the ray enters at
    the largest of the entries and leaves at the smallest of the exits.
    """
    which = thing[pair]
    enter, leave = t_in[pair].copy(), t_out[pair]
    ox, oy, rx, ry = (local[i][pair] for i in range(4))
    hx, hy = boxes.half_x[which], boxes.half_y[which]
    eave, rise = boxes.eave[which], (boxes.ridge - boxes.eave)[which]
    roof = boxes.roof[which]
    at_end = np.abs(np.abs(ox + rx * enter) - hx) < np.abs(np.abs(oy + ry * enter) - hy)
    face = np.where(at_end, 0, 1).astype(np.int8)
    kind = np.zeros(len(which), np.int8)  # which roof plane, 0 none

    pitch_y = rise / hy
    inset = np.minimum(hy, hx * 0.98)
    shed = roof == Roof.SHED
    sloped = (roof == Roof.GABLE) | (roof == Roof.HIP)
    planes = (
        # height of plane over the footprint = level + gx * x + gy * y
        (
            1,
            np.where(sloped, 0, np.where(shed, 0, 0)),
            np.where(sloped, pitch_y, np.where(shed, -pitch_y / 2, 0)),
            np.where(sloped, eave + rise, np.where(shed, eave + rise / 2, eave)),
            None,
        ),
        (2, np.zeros_like(rise), -pitch_y, eave + rise, sloped),
        (3, rise / inset, np.zeros_like(rise), eave + rise / inset * hx, roof == Roof.HIP),
        (4, -rise / inset, np.zeros_like(rise), eave + rise / inset * hx, roof == Roof.HIP),
    )
    for number, gx, gy, level, where in planes:
        # inside below the plane: level + g . (o + r t) - (eye + slope t) >= 0
        a = level + gx * ox + gy * oy - eye
        b = gx * rx + gy * ry - slope
        with np.errstate(divide="ignore", invalid="ignore"):
            t = -a / np.where(np.abs(b) < 1e-9, 1e-9, b)
        entering = b > 0
        if where is not None:
            t = np.where(where, t, np.where(entering, -FAR_M, FAR_M))
        later = entering & (t > enter)
        enter = np.where(later, t, enter)
        kind = np.where(later, np.int8(number), kind)
        leave = np.where(entering, leave, np.minimum(leave, t))
    drop = boxes.base[which] - eye
    hit = (enter <= leave) & (slope * enter >= drop - 1e-4)
    face = np.where(kind > 0, np.int8(2), face)
    along = np.where(at_end, oy + ry * enter, ox + rx * enter)
    height = (eye + slope * enter).astype(np.float32)
    c, s = np.cos(boxes.angle)[which], np.sin(boxes.angle)[which]
    wall_x = np.where(at_end, -np.sign(rx), 0)
    wall_y = np.where(at_end, 0, -np.sign(ry))
    gx = np.select([kind == 3, kind == 4], [-rise / inset, rise / inset], 0)
    gy = np.select(
        [(kind == 1) & sloped, kind == 2, (kind == 1) & shed], [-pitch_y, pitch_y, pitch_y / 2], 0
    )
    length = np.sqrt(1 + gx * gx + gy * gy)
    lx, ly = np.where(kind > 0, gx / length, wall_x), np.where(kind > 0, gy / length, wall_y)
    nz = np.where(kind > 0, 1 / length, 0).astype(np.float32)
    normal = ((lx * c - ly * s).astype(np.float32), (lx * s + ly * c).astype(np.float32), nz)
    return _Met(hit, enter.astype(np.float32), face, along.astype(np.float32), height, normal)
