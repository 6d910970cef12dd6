"""Plans: which headings are compared, with which rolls and shifts."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from engine.localize.plan import REPAIR_DEG, WHOLE_TURNS, make_plan
from tests.linear_encoder import WIDTH, linear_card

CARD = linear_card(blocks=16, subshifts=2)
STEP = 360 / 32


def heading_of(plan, number, blocks=16):
    """What a hypothesis means: the roll of the canvas and the shift of blocks together."""
    return (
        plan.rolls[plan.roll_of[number]] * 360 / WIDTH + plan.shift_of[number] * 360 / blocks
    ) % 360


def test_unknown_heading_covers_the_circle_once():
    plan = make_plan(CARD, None)
    assert len(plan) == 32 and plan.cyclic and plan.turns
    np.testing.assert_allclose(plan.headings, np.arange(32) * STEP)
    assert plan.rolls == (0, WIDTH // 32)
    for number in range(len(plan)):
        assert heading_of(plan, number) == pytest.approx(plan.headings[number])


@pytest.mark.parametrize("heading", [0.0, 1.0, 5.6, 90.0, 187.3, 359.9])
def test_known_heading_is_met_to_half_a_column_with_neighbours(heading):
    plan = make_plan(CARD, heading)
    away = (plan.headings - heading + 180) % 360 - 180
    assert np.abs(away).min() <= 180 / WIDTH + 1e-9
    assert np.abs(away).max() <= REPAIR_DEG + 180 / WIDTH + 1e-9
    assert len(plan) == 3 and not plan.cyclic
    assert plan.step_deg == pytest.approx(STEP)
    for number in range(len(plan)):
        assert heading_of(plan, number) == pytest.approx(plan.headings[number])


def test_without_blocks_every_turn_is_an_encoding():
    card = replace(linear_card(blocks=1, depth=384, subshifts=1))
    plan = make_plan(card, None)
    assert len(plan) == len(plan.rolls) == WHOLE_TURNS
    assert not plan.shift_of.any()
    assert make_plan(card, 90.0).rolls == (WIDTH // 4,)
    told = make_plan(replace(card, query_subshifts=12), None)
    assert len(told) == 12 and told.cyclic and told.step_deg == 30.0
    np.testing.assert_allclose(told.headings, np.arange(12) * 30, atol=180 / WIDTH)


def test_a_plain_branch_knows_no_turns():
    card = linear_card(blocks=1, depth=384, subshifts=1)
    query = replace(card.branches.query, projection="plain", top_deg=None, bottom_deg=None)
    plan = make_plan(replace(card, branches=replace(card.branches, query=query)), 40.0)
    assert len(plan) == 1 and not plan.turns and plan.step_deg == 0
