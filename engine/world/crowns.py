"""Trees in a view: ragged crowns and trunks, drawn from far to near with a depth test."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.world.light import Sun
from engine.world.model import Species, Trees
from engine.world.view import columns_crossed, ragged

F32 = NDArray[np.floating[Any]]


def draw_trees(
    colours: F32,
    distance: F32,
    trees: Trees,
    x: float,
    y: float,
    eye: float,
    azimuths: F32,
    elevations: F32,
    sun: Sun,
    noise: F32,
    fine: F32,
    ambient: F32,
) -> None:
    """Paint trees over ``colours`` [R, C, 3] wherever they are nearer than ``distance`` [R, C]; both are changed.

    ``noise``, ``fine``: tileable noise 256×256, broad lobes and leaves. ``ambient`` [3]: light from the sky.
    """
    rows, cols = distance.shape
    dx, dy = trees.x - x, trees.y - y
    far = np.hypot(dx, dy)
    use = np.flatnonzero(far > trees.radius * 0.6 + 0.5)
    use = use[np.argsort(-far[use])]
    trees, dx, dy, far = trees.take(use), dx[use], dy[use], far[use]
    bearing = np.arctan2(dx, dy).astype(np.float32)
    reach = (trees.radius * 1.25 / np.maximum(far, trees.radius)).astype(np.float32)
    thing, column = columns_crossed(azimuths, bearing, np.arcsin(np.clip(reach, 0, 0.999)))
    order = np.argsort(thing, kind="stable")
    thing, column = thing[order], column[order]
    offset = (azimuths[column] - bearing[thing] + np.pi) % (2 * np.pi) - np.pi
    across = np.tan(offset) * far[thing]
    upward = np.tan(elevations)[::-1].astype(np.float32)
    # Crown (or trunk below it) only where this column can show it.
    top = ((trees.height * 1.04 - eye) / far)[thing]
    in_trunk = np.abs(across) < np.maximum(0.12, trees.height[thing] * 0.018)
    foot = np.where(in_trunk | (trees.species[thing] == Species.BUSH), 0.0, trees.base[thing] * 0.9)
    bottom = (foot - eye) / far[thing]
    low = rows - np.searchsorted(upward, top, side="right")
    high = rows - np.searchsorted(upward, bottom, side="left")
    pair, place = ragged(np.maximum(high - low, 0))
    row = low[pair] + place
    flat = row * cols + column[pair]
    which = thing[pair]
    seen = far[which] - trees.radius[which] * 0.5 < distance.ravel()[flat]
    pair, row, flat, which = pair[seen], row[seen], flat[seen], which[seen]

    z = eye + upward[rows - 1 - row] * far[which]
    radius, height, base = trees.radius[which], trees.height[which], trees.base[which]
    du = across[pair] / radius
    middle, half = (height + base) / 2, (height - base) / 2
    dv = (z - middle) / half
    style = trees.style[which].astype(np.int32)
    # Lobes turn with the bearing a tree is seen from, so its two sides differ.
    side = (bearing[which] * 40).astype(np.int32)
    iu = ((du + 1.3) * 36).astype(np.int32) + style * 37 + side
    iv = ((dv + 1.3) * 36).astype(np.int32) + style * 17
    lobes = noise[iv & 255, iu & 255]
    leaves = fine[
        ((dv + 1.3) * 150).astype(np.int32) + style & 255,
        ((du + 1.3) * 150).astype(np.int32) + side & 255,
    ]
    conifer = trees.species[which] == Species.CONIFER
    rho = np.where(
        conifer, np.abs(du) / np.maximum((1 - dv) * 0.5, 0.02), np.sqrt(du * du + dv * dv)
    )
    rho = rho * (1 + 0.3 * lobes + 0.16 * leaves)
    crown = (rho < 1) & (np.abs(dv) < 1.02)
    trunk = (
        ~crown & (z < middle) & (np.abs(across[pair]) < np.maximum(0.12, height * 0.018)) & (z >= 0)
    )
    keep = crown | trunk
    flat, which, crown = flat[keep], which[keep], crown[keep]
    du, dv, lobes, leaves = du[keep], dv[keep], lobes[keep], leaves[keep]

    east, north, up = sun.direction
    b = bearing[which]
    right = east * np.cos(b) - north * np.sin(b)
    towards = -(east * np.sin(b) + north * np.cos(b))
    bulge = np.sqrt(np.clip(1 - np.minimum(du * du + dv * dv, 1), 0, 1))
    light = np.clip(du * right + dv * up + bulge * towards, 0, None) * sun.strength
    level = 0.62 + 1.0 * light + 0.14 * dv + 0.3 * lobes + 0.3 * leaves
    leaf = np.stack([trees.r, trees.g, trees.b], axis=1)[which]
    bark = np.array([0.26, 0.21, 0.17], np.float32) * (0.8 + 0.5 * light)[:, None]
    painted = np.where(
        crown[:, None], leaf * np.clip(level, 0.12, 2)[:, None] * ambient, bark * ambient
    )
    # From far to near, so the nearest is written last.
    colours.reshape(-1, 3)[flat] = painted
    distance.ravel()[flat] = far[which]
