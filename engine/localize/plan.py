"""Which turns of a photo are compared with the tiles."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from engine.encoder import Card

REPAIR_DEG = 11.25
"""A heading that is given is trusted to this: the turns this far to both sides are compared too."""

WHOLE_TURNS = 32
"""Rolled copies of a panorama that are encoded for an encoder without azimuth blocks when its heading is unknown."""


@dataclass(frozen=True, eq=False)
class Plan:
    """The hypotheses about a photo's heading, Q of them.

    Attributes:
        heading_deg: what was given, None when it is to be found.
        rolls: columns by which the canvas is rolled right before it is encoded, one encoding each.
        roll_of: [Q], which of ``rolls`` a hypothesis uses.
        shift_of: [Q], by how many blocks its descriptor is rolled right after that.
        headings: [Q], the heading it stands for, degrees in [0, 360); neighbours in the list are neighbours on the
            compass.
        step_deg: between neighbouring headings; 0 when there is only one.
        turns: whether the answer says anything about the heading.
        cyclic: whether the last hypothesis is a neighbour of the first.
    """

    heading_deg: float | None
    rolls: tuple[int, ...]
    roll_of: NDArray[np.intp]
    shift_of: NDArray[np.intp]
    headings: NDArray[np.float64]
    step_deg: float
    turns: bool
    cyclic: bool

    def __len__(self) -> int:
        return len(self.headings)


def make_plan(card: Card, heading_deg: float | None, *, full_turn: bool = True) -> Plan:
    """The turns to compare.

    With azimuth blocks: all of them when the heading is unknown, spaced by a sub-shift; the given heading (to the
    canvas column) and its neighbours within :data:`REPAIR_DEG` when it is known. Without blocks an unknown heading
    costs one encoding a turn, and makes sense for full panoramas only; a plain query branch knows no turns.

    Args:
        heading_deg: degrees clockwise from north of the photo's centre column, or None.
        full_turn: whether the photo is a full panorama.
    """
    branch = card.branches.query
    if branch.projection == "plain":
        return _plan(heading_deg, [0], branch.input_size[1], branch.input_size[1], 0, turns=False)
    width = branch.input_size[1]
    if card.azimuth_blocks > 1:
        step, modulus = (
            width // (card.azimuth_blocks * card.query_subshifts),
            width // card.azimuth_blocks,
        )
    else:
        step, modulus = max(1, width // WHOLE_TURNS), width
    if heading_deg is None:
        if card.azimuth_blocks == 1 and not full_turn:
            return _plan(None, [0], width, width, 0, turns=False)
        return _plan(None, list(range(0, width, step)), width, modulus, step, cyclic=True)
    base = round(heading_deg % 360.0 * width / 360.0)
    reach = int(REPAIR_DEG / 360.0 * width / step + 1e-9) if card.azimuth_blocks > 1 else 0
    turns = [base + j * step for j in range(-reach, reach + 1)]
    return _plan(heading_deg, turns, width, modulus, step)


def _plan(
    heading_deg: float | None,
    columns: list[int],
    width: int,
    modulus: int,
    step: int,
    *,
    turns: bool = True,
    cyclic: bool = False,
) -> Plan:
    total = np.asarray(columns) % width
    rolls = tuple(sorted({int(value) for value in total % modulus}))
    return Plan(
        heading_deg=heading_deg,
        rolls=rolls,
        roll_of=np.searchsorted(np.asarray(rolls), total % modulus),
        shift_of=total // modulus,
        headings=total * (360.0 / width),
        step_deg=step * 360.0 / width if len(columns) > 1 else 0.0,
        turns=turns,
        cyclic=cyclic,
    )
