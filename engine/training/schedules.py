"""How the learning rate goes: pure functions of where the training is.

All begin with a linear warm-up from 0, ``step / warmup``, as the authors of SAIG, Sample4Geo and statewide have it.
With ``p`` the share of what comes after it, 0..1, and ``f`` the final factor:

    constant   1
    linear     1 - (1 - f) p
    cosine     f + (1 - f) (1 + cos(pi p)) / 2
    step       drop^n, n the number of shares in ``drops`` that are behind

The cosine with f = 0.1, a warm-up of 1000 and 200,000 steps is statewide's; TransGeo's steps are drops of 0.1 after
0.6 and 0.8 of the training.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal, get_args

from engine.training.sections import OptimiserSection

Schedule = Literal["constant", "linear", "cosine", "step"]
SCHEDULES: tuple[str, ...] = get_args(Schedule)
DROP = 0.1


def rate_factor(
    schedule: str,
    step: float,
    steps: float,
    *,
    warmup: float = 0.0,
    final: float = 0.0,
    drops: Sequence[float] = (0.6, 0.8),
    drop: float = DROP,
) -> float:
    """What the learning rate is multiplied by in step ``step`` (from 0) of ``steps``, 0..1.

    Raises:
        ValueError: for a schedule that nobody knows.
    """
    if schedule not in SCHEDULES:
        raise ValueError(f'there is no schedule "{schedule}": known are {", ".join(SCHEDULES)}')
    if step < warmup:
        return step / warmup
    behind = min(1.0, (step - warmup) / max(1.0, steps - warmup))
    if schedule == "linear":
        return 1.0 - (1.0 - final) * behind
    if schedule == "cosine":
        return final + (1.0 - final) * (1.0 + math.cos(math.pi * behind)) / 2
    if schedule == "step":
        return drop ** sum(step >= share * steps for share in drops)
    return 1.0


def learning_rate(how: OptimiserSection, step: int, share: float) -> float:
    """The learning rate of step ``step`` (from 0), where ``share`` (0..1) of the training is behind.

    With a budget of time the number of steps is not known: the pace so far says how many there will be.
    """
    # The steps there are in all, at the pace so far; exact where the share is that of the steps.
    steps = step / share if share > 0 else how.steps
    return how.rate * rate_factor(
        how.schedule,
        step,
        steps,
        warmup=how.warmup,
        final=how.final,
        drops=how.drops,
        drop=how.drop,
    )
