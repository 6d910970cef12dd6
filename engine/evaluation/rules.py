"""How papers count recall, by name.

All but the street-view ones count the references that score *strictly* better than the true one, so that a tie
favours the query: R@K is the share of queries with fewer than K of those. They differ in how many references "1 %"
are, in the code that their authors published:

===============  ==========================  ==========================================================
rule             fewer better ones than      where
===============  ==========================  ==========================================================
strict           int(0.01 R) + 1             ours; any of several right references counts
vigor            int(0.01 R) + 1             VIGOR ``validate_top``; SAIG on VIGOR is the same
saig             89                          SAIG's training prints this, whatever R is (1 % of 8,884, + 1)
safa, dsm        int(0.01 R)                 SAFA and DSM ``test_cvusa.py``: the last of ``range(int(0.01 R) + 1)``
cvact            int(0.01 R)                 CVACT's test set, ``RecallGeo.m``: any tile within 5 m is right
transgeo, frgeo  R // 100                    their ``accuracy``
sample4geo       R // 100                    ``calculate_scores``
university       round(0.01 R) + 1           University-1652 ``evaluate_gpu.py``: a sorted list, its entry round(0.01 R)
vg, gsv          none; R@20 instead          benchmark ``test.py``, GSV-Cities ``validation.py``: faiss's list
===============  ==========================  ==========================================================

``int(0.01 R)`` and ``R // 100`` differ where the product of floats falls short of a whole number. The *hit rate* is
R@1 with the semi-positives taken out of the better ones, not the positive. ``university`` also gives the mean average
precision over the sorted list (trapezoids between steps of recall). The street-view rules ask faiss for the nearest by
L2; one right photo among the first K is enough, and queries without any stay in the denominator.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from engine.errors import DatasetError
from engine.evaluation.benchmark import nearest_by_faiss, recalls_of
from engine.evaluation.ranks import FloatArray, Indices, Ranking

Order = Literal["strict", "sorted", "faiss"]


@dataclass(frozen=True)
class Rule:
    """One way to count.

    Attributes:
        order: ``strict``: count better ones; ``sorted``: places in a sorted list, with average precision; ``faiss``:
            faiss's list.
        one_percent: of R references, how many better ones a query must stay below for R@1%; None: not measured.
        any_positive: whether any right reference counts, or only the true one.
        ks: the K of R@K.
        source: whose it is.
    """

    name: str
    order: Order
    one_percent: Callable[[int], int] | None
    any_positive: bool
    source: str
    ks: tuple[int, ...] = (1, 5, 10)


def _rounded_down(references: int) -> int:
    return int(references * 0.01)


def _and_one(references: int) -> int:
    return int(references * 0.01) + 1


def _saig(references: int) -> int:
    return 89


def _whole_hundreds(references: int) -> int:
    return references // 100


def _entry(references: int) -> int:
    return round(references * 0.01) + 1


RULES: dict[str, Rule] = {
    rule.name: rule
    for rule in (
        Rule("strict", "strict", _and_one, True, "Nadir"),
        Rule("vigor", "strict", _and_one, False, "VIGOR, train_SAFA.py: validate_top"),
        Rule("saig", "strict", _saig, False, "SAIG, train.py: valid"),
        Rule("saig-vigor", "strict", _and_one, False, "SAIG, VIGOR: validate_top"),
        Rule("safa", "strict", _rounded_down, False, "SAFA, test_cvusa.py: validate"),
        Rule("dsm", "strict", _rounded_down, False, "DSM, test_cvusa.py: validate"),
        Rule("cvact", "strict", _rounded_down, True, "CVACT, RecallGeo.m"),
        Rule("transgeo", "strict", _whole_hundreds, False, "TransGeo, train.py: accuracy"),
        Rule("frgeo", "strict", _whole_hundreds, False, "FRGeo, train.py: accuracy"),
        Rule("sample4geo", "strict", _whole_hundreds, False, "Sample4Geo: calculate_scores"),
        Rule("university", "sorted", _entry, True, "University-1652, evaluate_gpu.py"),
        Rule("vg", "faiss", None, True, "VG benchmark, test.py", (1, 5, 10, 20)),
        Rule("gsv", "faiss", None, True, "GSV-Cities, validation.py", (1, 5, 10, 20)),
    )
}


def rule_named(name: str) -> Rule:
    """The rule of that name.

    Raises:
        DatasetError: there is none; the message lists them.
    """
    if name not in RULES:
        raise DatasetError(f"there is no recall rule {name!r}", None, f"Known: {', '.join(RULES)}")
    return RULES[name]


def share_below(better: Indices, limit: int) -> float:
    """Share of queries with fewer than ``limit`` better references."""
    return int(np.count_nonzero(better < limit)) / len(better) if len(better) else 0.0


def strict_recalls(rule: Rule, ranking: Ranking, *, with_hit_rate: bool) -> dict[str, float]:
    """Fractions by name: ``R@K``, ``R@1%``, and ``hit_rate`` where there are semi-positives."""
    found = {f"R@{k}": share_below(ranking.better, k) for k in rule.ks}
    if rule.one_percent is not None:
        found["R@1%"] = share_below(ranking.better, rule.one_percent(ranking.references))
    if with_hit_rate:
        found["hit_rate"] = share_below(ranking.better_hit, 1)
    return found


def sorted_recalls(
    rule: Rule, queries: FloatArray, references: FloatArray, positives: Sequence[Indices]
) -> dict[str, float]:
    """Fractions by name from sorted lists: ``R@K``, ``R@1%`` and ``AP``.

    Queries without a right reference count as not found. Of equal scores the later reference comes first, which is
    what reversing a stable rising order gives.
    """
    first = np.full(len(queries), len(references), np.int64)
    precision = 0.0
    for number, query in enumerate(queries):
        good = positives[number]
        if not len(good):
            continue
        order = np.argsort(references @ query, kind="stable")[::-1]
        rows = np.flatnonzero(np.isin(order, good))
        first[number] = rows[0]
        precision += average_precision(rows)
    found = {f"R@{k}": share_below(first, k) for k in rule.ks}
    if rule.one_percent is not None:
        found["R@1%"] = share_below(first, rule.one_percent(len(references)))
    found["AP"] = precision / len(queries) if len(queries) else 0.0
    return found


def average_precision(rows: NDArray[np.int64]) -> float:
    """Area under precision over recall by trapezoids.

    ``1/n * sum_i (i/r_i + (i+1)/(r_i+1)) / 2`` for the n right ones at the places ``r_i`` from 0; the first term is 1
    where ``r_i`` is 0 (Oxford buildings' ``compute_ap``, as University-1652 and Market-1501 use it).
    """
    area = 0.0
    for i, row in enumerate(int(r) for r in rows):
        before = i / row if row else 1.0
        area += (before + (i + 1) / (row + 1)) / 2 / len(rows)
    return area


def faiss_recalls(
    rule: Rule, queries: FloatArray, references: FloatArray, positives: Sequence[Indices]
) -> dict[str, float]:
    """Fractions ``R@K`` of faiss's nearest references."""
    predictions = nearest_by_faiss(references, queries, max(rule.ks))[1]
    values = recalls_of(predictions, positives, rule.ks)
    return {f"R@{k}": float(value) for k, value in zip(rule.ks, values, strict=True)}
