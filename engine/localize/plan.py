"""Which turns of a photo are compared with the tiles."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from engine.encoder import Card

REPAIR_DEG = 11.25
"""A heading that is given is trusted to this: the turns this far to both sides are compared too."""

WHOLE_TURNS = 16
"""Rolled copies that are encoded for an encoder without azimuth blocks when a heading is to be found and the card's
``query_subshifts`` does not say how many: 22.5° apart, so that one is never farther off than such encoders bear."""


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


def make_plan(card: Card, heading_deg: float | None) -> Plan:
    """The turns to compare.

    With azimuth blocks: all of them when the heading is unknown, spaced by a sub-shift; the given heading (to the
    canvas column) and its neighbours within :data:`REPAIR_DEG` when it is known. Without blocks every turn is an
    encoding of its own: ``query_subshifts`` of them around the circle, or the given heading alone. An encoder whose
    query branch is plain knows no turns: it says where, never which way.

    Args:
        heading_deg: degrees clockwise from north of the photo's centre column, or None.
    """
    branch = card.branches.query
    width, blocks = branch.input_size[1], card.azimuth_blocks
    if branch.projection == "plain":
        return _plan(heading_deg, np.zeros(1, np.intp), width, width, 0.0, turns=False)
    if blocks > 1:
        turns, modulus = blocks * card.query_subshifts, width // blocks
    else:
        turns = card.query_subshifts if card.query_subshifts > 1 else WHOLE_TURNS
        turns, modulus = min(turns, width), width
    step = width / turns  # whole columns with blocks (the card was checked)
    if heading_deg is None:
        columns = np.rint(np.arange(turns) * step).astype(np.intp)
        return _plan(None, columns, width, modulus, 360.0 / turns, cyclic=True)
    base = round(heading_deg % 360.0 * width / 360.0)
    reach = int(REPAIR_DEG / 360.0 * turns + 1e-9) if blocks > 1 else 0
    columns = base + np.arange(-reach, reach + 1) * round(step)
    return _plan(heading_deg, columns, width, modulus, 360.0 / turns)


def _plan(
    heading_deg: float | None,
    columns: NDArray[np.intp],
    width: int,
    modulus: int,
    step_deg: float,
    *,
    turns: bool = True,
    cyclic: bool = False,
) -> Plan:
    total = columns % width
    rolls = tuple(sorted({int(value) for value in total % modulus}))
    return Plan(
        heading_deg=heading_deg,
        rolls=rolls,
        roll_of=np.searchsorted(np.asarray(rolls), total % modulus),
        shift_of=total // modulus,
        headings=np.asarray(total * (360.0 / width), np.float64),
        step_deg=step_deg if len(columns) > 1 else 0.0,
        turns=turns,
        cyclic=cyclic,
    )
