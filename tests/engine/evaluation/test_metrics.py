"""Metrics by hand."""

from __future__ import annotations

import numpy as np
import pytest

from engine.evaluation.metrics import median, one_percent, rank_of, recall_at, recall_within


def test_recall_at():
    ranks = np.array([1, 2, 5, 6, 100])
    assert recall_at(ranks, 1) == pytest.approx(0.2)
    assert recall_at(ranks, 5) == pytest.approx(0.6)
    assert recall_at(ranks[:0], 5) == 0


def test_recall_within_counts_the_limit_and_the_missing():
    distances = np.array([[25.0, 1.0], [25.01, 25.0], [np.inf, np.inf], [300.0, 26.0]])
    assert recall_within(distances, 1, 25) == pytest.approx(0.25)
    assert recall_within(distances, 2, 25) == pytest.approx(0.5)
    assert recall_within(distances, 2, 50) == pytest.approx(0.75)


def test_ranks_favour_the_query_in_a_tie():
    scores = np.array([0.9, 0.5, 0.5, 0.5, 0.1])
    assert rank_of(0.5, scores) == 2
    assert rank_of(0.9, scores) == 1
    assert rank_of(0.0, scores) == 6


def test_one_percent():
    assert [one_percent(n) for n in (1, 99, 100, 8884, 15625)] == [1, 1, 2, 89, 157]


def test_median():
    assert median(np.array([3.0, 1.0, 2.0])) == 2
    assert median(np.zeros(0)) is None
