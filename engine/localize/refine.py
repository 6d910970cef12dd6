"""Placing a photo between the tiles and between the turns that were compared, and how much speaks for a place.

The score falls off smoothly around the true place. A paraboloid through the scores of the tiles about the best one
has its top where the photo was taken; read at that point, the same fit gives a score for every turn, and a parabola
through those the heading.

Places are ranked by their *support*. For a tile that is the log of the summed exp(SHARPNESS * score) over all turns,
divided by SHARPNESS: near the best score, more where several turns agree; for a place the top of a paraboloid through
the tiles' supports, so that a photo taken between four tiles is not at a disadvantage. On 160 photos of 90° this ranks
the right place first in 82 % (heading known) and 66 % (unknown) where the best single score does in 74 and 61 %.

Between tiles that hardly share any ground the score is no smooth function: where the stride is more than
:data:`SMOOTH` of a tile (cells of 30 m, the tiles of CVUSA and VIGOR), a place is its best tile, and its support that
tile's.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from engine.localize.plan import Plan

SHARPNESS = 30.0
"""What encoders trained by InfoNCE multiply their scores by; between 20 and 50 it hardly matters."""

REACH_STRIDES = 0.75
"""A place is moved off its best tile by no more than this; beyond, another tile would have been the best."""

SMOOTH = 0.25
"""Largest stride, in extents of a tile, at which neighbouring tiles are thought to be samples of one surface."""

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Neighbourhood:
    """Tiles around a place: metres east and north of its best tile, and scores [n, Q] for every turn."""

    east: FloatArray
    north: FloatArray
    scores: NDArray[np.float32]


@dataclass(frozen=True)
class Refined:
    """Metres from the best tile's centre, and the heading in degrees."""

    east_m: float
    north_m: float
    heading_deg: float


def smooth(extent_m: float, stride_m: float) -> bool:
    """Whether photos can be placed between tiles of this extent, this far apart.

    A stride of 0 says that they stand on no grid: then they cannot.
    """
    return 0 < stride_m <= SMOOTH * extent_m


def support(around: Neighbourhood, stride_m: float) -> float:
    """How much speaks for a place, at the refined position and over all turns; on the scale of scores."""
    best = around.scores.max(axis=1)
    turned = np.exp(SHARPNESS * (around.scores - best[:, None])).sum(axis=1)
    tiles = best + np.log(turned) / SHARPNESS
    _, _, shares = paraboloid_top(
        around.east / stride_m, around.north / stride_m, tiles.astype(np.float64)
    )
    return float(shares @ tiles)


def refine(around: Neighbourhood, plan: Plan, turn: int, stride_m: float) -> Refined:
    """The top of the score around a place.

    Args:
        turn: the hypothesis of ``plan`` with the best score.
    """
    turns = neighbouring_turns(plan, turn)
    values = around.scores[:, turns].max(axis=1).astype(np.float64)
    x, y = around.east / stride_m, around.north / stride_m
    dx, dy, shares = paraboloid_top(x, y, values)
    heading = refined_heading(shares @ around.scores, plan, turn)
    return Refined(dx * stride_m, dy * stride_m, heading)


def neighbouring_turns(plan: Plan, turn: int) -> list[int]:
    """A turn with the ones beside it."""
    if plan.cyclic:
        return sorted({(turn + j) % len(plan) for j in (-1, 0, 1)})
    return [t for t in (turn - 1, turn, turn + 1) if 0 <= t < len(plan)]


def paraboloid_top(
    x: FloatArray, y: FloatArray, values: FloatArray
) -> tuple[float, float, FloatArray]:
    """Where scattered values around (0, 0) are highest.

    Args:
        x, y: [n] positions in strides, the best tile at (0, 0).
        values: [n].

    Returns:
        x and y of the top, at most :data:`REACH_STRIDES` away, and the shares [n], adding up to 1, by which the
        values are to be summed to read the fit there. Where no paraboloid fits (the edge of an area, a saddle): the
        best tile itself.
    """
    best = int(np.argmin(x * x + y * y))
    alone = np.zeros(len(x))
    alone[best] = 1.0
    fit = _fit(tuple(_steps(x)), tuple(_steps(y)))
    if fit is None:
        return 0.0, 0.0, alone
    _, bx, by, cxx, cxy, cyy = fit @ values
    determinant = 4 * cxx * cyy - cxy * cxy
    if cxx >= 0 or cyy >= 0 or determinant <= 0:
        return 0.0, 0.0, alone
    dx = (cxy * by - 2 * cyy * bx) / determinant
    dy = (cxy * bx - 2 * cxx * by) / determinant
    far = max(abs(dx), abs(dy)) / REACH_STRIDES
    if far > 1:
        dx, dy = dx / far, dy / far
    return float(dx), float(dy), _terms(np.array([dx]), np.array([dy]))[0] @ fit


def _steps(positions: FloatArray) -> list[float]:
    return np.round(positions * 200).tolist()


@lru_cache(maxsize=64)
def _fit(x_steps: tuple[float, ...], y_steps: tuple[float, ...]) -> FloatArray | None:
    """The least-squares fit of a paraboloid at positions in 1/200 stride: [6, n]; None where they do not fix one.

    On a regular grid all places share one, so it is worth keeping.
    """
    design = _terms(np.array(x_steps) / 200, np.array(y_steps) / 200)
    if len(design) < 6 or np.linalg.matrix_rank(design) < 6:
        return None
    return np.asarray(np.linalg.pinv(design), np.float64)


def _terms(x: FloatArray, y: FloatArray) -> FloatArray:
    return np.stack([np.ones_like(x), x, y, x * x, x * y, y * y], axis=1)


def refined_heading(scores: FloatArray, plan: Plan, turn: int) -> float:
    """The heading at the top of a parabola through the scores [Q] of the best turn and the two beside it."""
    if plan.step_deg == 0.0:
        return float(plan.headings[turn])
    nearby = neighbouring_turns(plan, turn)
    # The best tile's best turn may be one off the best at the refined place.
    turn = max(nearby, key=lambda t: scores[t])
    before, after = turn - 1, turn + 1
    if plan.cyclic:
        before, after = before % len(plan), after % len(plan)
    elif before < 0 or after >= len(plan):
        return float(plan.headings[turn])
    curve = scores[before] - 2 * scores[turn] + scores[after]
    if curve >= 0:
        return float(plan.headings[turn])
    offset = float(np.clip((scores[before] - scores[after]) / (2 * curve), -0.5, 0.5))
    return float((plan.headings[turn] + offset * plan.step_deg) % 360.0)
