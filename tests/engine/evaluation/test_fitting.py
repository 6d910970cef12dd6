"""The small fits find what they should."""

from __future__ import annotations

import numpy as np
import pytest

from engine.evaluation.fitting import logistic_regression, minimise


def test_minimise_a_bent_valley():
    found = minimise(
        lambda p: float((1 - p[0]) ** 2 + 100 * (p[1] - p[0] ** 2) ** 2),
        np.array([-1.2, 1.0]),
        np.ones(2),
    )
    assert found == pytest.approx([1, 1], abs=1e-3)


def test_minimise_four_variables():
    target = np.array([3.0, -1.0, 0.5, 20.0])
    found = minimise(
        lambda p: float(((p - target) ** 2 * [1, 10, 100, 0.1]).sum()), np.zeros(4), np.ones(4)
    )
    assert found == pytest.approx(target, abs=1e-3)


def test_logistic_regression_finds_the_log_odds():
    rng = np.random.default_rng(0)
    x = np.column_stack([np.ones(20_000), rng.normal(5, 3, 20_000), rng.normal(0, 0.1, 20_000)])
    truth = np.array([-2.0, 0.5, 6.0])
    labels = rng.random(20_000) < 1 / (1 + np.exp(-x @ truth))
    found = logistic_regression(x, labels, np.ones(20_000), ridge=1e-6)
    assert found == pytest.approx(truth, abs=0.6)


def test_logistic_regression_of_what_is_perfectly_apart():
    x = np.column_stack([np.ones(20), np.arange(20.0)])
    found = logistic_regression(x, np.arange(20) >= 10, np.ones(20))
    assert np.isfinite(found).all()
    assert (x @ found >= 0).tolist() == (np.arange(20) >= 10).tolist()
