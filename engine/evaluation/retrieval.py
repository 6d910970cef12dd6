"""Measuring an encoder on a dataset of queries and references: rank all references for every query, by a named rule.

What a world needs besides (an index, places, a posterior) is in :mod:`engine.evaluation.evaluate`.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.datasets import Dataset
from engine.datasets.pairs import pictures_under
from engine.errors import DatasetError, EncoderError
from engine.evaluation.benchmark import merge_majority, merge_nearest, nearest_by_faiss, recalls_of
from engine.evaluation.curves import Curve, distance_curve, list_curve, recall_curve
from engine.evaluation.describe import (
    Asked,
    Model,
    Queries,
    describe_queries,
    describe_references,
    pictures_of,
)
from engine.evaluation.metrics import median, recall_within
from engine.evaluation.pca import SAMPLES, Pca, fit_pca
from engine.evaluation.ranks import Ranking, normalised, rank_references
from engine.evaluation.rules import Rule, faiss_recalls, rule_named, sorted_recalls, strict_recalls
from engine.evaluation.store import Store
from engine.evaluation.variants import MERGED, Variant
from engine.geo import LocalFrame, distance_m, heading_difference
from engine.localize.plan import make_plan
from engine.progress import Report, part, silent

FloatArray = NDArray[np.float32]
Indices = NDArray[np.int64]

TOP = 20
WITHIN_M = ((1, 25), (5, 25), (10, 25), (1, 50), (5, 50))


@dataclass(frozen=True, eq=False)
class Retrieval:
    """What was found on a dataset.

    Attributes:
        recalls: fractions by name as the rule gives them (R@K, R@1%, hit_rate, AP).
        better: [Q] references better than the right one; None where crops' lists were merged.
        first: [Q, K] the best references.
        distances_m: [Q, K] from the truth to each of them; None where positions are not known.
        heading_errors_deg: of queries whose first reference is right, where headings were searched; else None.
        from_store: whose descriptors came from the store: "reference", "query", and "components" of the pictures
            that those were fitted on.
    """

    dataset: Dataset
    model: Model
    rule: Rule
    asked: Asked
    recalls: dict[str, float]
    better: Indices | None
    first: Indices
    distances_m: NDArray[np.float64] | None
    heading_errors_deg: NDArray[np.float64] | None
    from_store: tuple[str, ...]
    pca: int | None
    seconds: float

    def curves(self) -> list[Curve]:
        """Recall over references looked at, and over metres allowed where positions are known.

        By exact rank with ties for the query; of merged lists, as far as they go.
        """
        if self.better is not None:
            curves = [recall_curve(self.better, len(self.dataset.references))]
        else:
            ks = range(1, self.first.shape[1] + 1)
            curves = [list_curve(recalls_of(self.first, self.dataset.positives, tuple(ks)), ks)]
        if self.distances_m is not None:
            curves.append(distance_curve(self.distances_m[:, 0]))
        return curves

    def to_dict(self) -> dict[str, Any]:
        """The object that ``nadir evaluate --json`` writes; what does not apply is null."""
        data, distances = self.dataset, self.distances_m
        names = ("R@1", "R@5", "R@10", "R@20", "R@1%", "hit_rate", "AP")
        return {
            "queries": len(data.queries),
            **{name: _rounded(self.recalls.get(name)) for name in names},
            **{
                f"R@{k}<{limit}m": None
                if distances is None
                else _rounded(recall_within(distances, k, limit))
                for k, limit in WITHIN_M
            },
            "median_error_m": None if distances is None else _rounded(median(distances[:, 0])),
            "median_heading_error_deg": None
            if self.heading_errors_deg is None
            else _rounded(median(self.heading_errors_deg)),
            "dataset": data.name,
            "encoder": {"name": self.model.card.name, "hash": self.model.hash},
            "index": None,
            "seconds": round(self.seconds, 2),
            "heading": "known" if self.asked.heading_known else "unknown",
            "fov_deg": self.asked.fov_deg,
            "format": data.format,
            "split": data.split,
            "references": len(data.references),
            "rule": self.rule.name,
            "variant": self.asked.variant,
            "pca": self.pca,
            "from_store": list(self.from_store),
            "notes": list(data.notes),
        }


def evaluate_dataset(
    dataset: Dataset,
    model: Model,
    *,
    heading_known: bool = True,
    fov_deg: float | None = None,
    rule: str | None = None,
    variant: Variant = "hard_resize",
    pca: int | None = None,
    pca_on: Path | None = None,
    store: Store | None = None,
    report: Report = silent,
) -> Retrieval:
    """Rank all references for every query.

    Args:
        heading_known: use the headings that the dataset gives; else they are searched, where the encoder can.
        fov_deg: crop wider photos to this about their centre; None: as they are.
        rule: a name of :data:`engine.evaluation.rules.RULES`; None: the dataset's.
        variant: see :mod:`engine.evaluation.variants`.
        pca: shorten descriptors to so many numbers.
        pca_on: a folder of pictures that the components are fitted on (the benchmark takes its training photos);
            None: the dataset's references.
        store: where descriptors are kept and looked for; None: nowhere.

    Raises:
        DatasetError: a picture is missing; the dataset has no queries, or not what was asked of it.
        EncoderError: the encoder cannot be asked so.
    """
    start = time.perf_counter()
    counted = rule_named(rule or dataset.rule)
    if not len(dataset.queries) or not len(dataset.references):
        raise DatasetError("holds no queries or no references", dataset.folder)
    if not any(len(p) for p in dataset.positives):
        raise DatasetError(
            "says of no query what its place looks like, so nothing can be measured",
            dataset.folder,
            "Choose another --split",
        )
    asked = Asked(heading_known, fov_deg, variant)
    if variant in MERGED and counted.order != "faiss":
        raise DatasetError(
            f"the variant {variant!r} merges lists, which the rule {counted.name!r} does not count",
            None,
            "Use --rule vg",
        )
    turns = len(make_plan(model.card, 0.0 if heading_known else None))
    if variant == "hard_resize" and counted.order != "strict" and turns > 1:
        raise DatasetError(
            f"the rule {counted.name!r} compares one descriptor a query, and this encoder's are compared under "
            f"{turns} headings",
            None,
            "Use --rule strict",
        )
    if pca is not None and model.card.azimuth_blocks > 1:
        raise EncoderError(
            "its descriptors are blocks by bearing, which principal components would mix", None
        )
    shares = len(dataset.references) / (len(dataset.references) + len(dataset.queries))
    references, kept = describe_references(dataset, model, store, part(report, 0.0, 0.95 * shares))
    queries = describe_queries(dataset, model, asked, store, part(report, 0.95 * shares, 0.95))
    from_store = tuple(
        side for side, yes in (("reference", kept), ("query", queries.from_store)) if yes
    )
    if pca is not None:
        samples = references
        if pca_on is not None:
            samples, kept = _described_folder(pca_on, model, store, part(report, 0.95, 0.97))
            from_store += ("components",) if kept else ()
        fitted = fit_pca(_some(samples), pca)
        references, queries = _shortened(references, queries, fitted, counted)
    ranking, recalls, first = _ranked(dataset, counted, asked, queries, references, report)
    return Retrieval(
        dataset=dataset,
        model=model,
        rule=counted,
        asked=asked,
        recalls=recalls | _covered(dataset, recalls, first),
        better=None if ranking is None else ranking.better,
        first=first,
        distances_m=distances_to(dataset, first),
        heading_errors_deg=_heading_errors(dataset, queries, ranking, asked),
        from_store=from_store,
        pca=pca,
        seconds=time.perf_counter() - start,
    )


def _ranked(
    dataset: Dataset,
    rule: Rule,
    asked: Asked,
    queries: Queries,
    references: FloatArray,
    report: Report,
) -> tuple[Ranking | None, dict[str, float], Indices]:
    positives: Sequence[Indices] = dataset.positives
    if asked.variant in MERGED:
        return None, *_merged(positives, rule, asked.variant, queries, references)
    ranking = rank_references(
        queries,
        references,
        positives,
        dataset.semi_positives,
        any_positive=rule.any_positive,
        top=TOP,
        report=part(report, 0.97, 1.0),
    )
    first = ranking.first
    if rule.order == "strict":
        recalls = strict_recalls(rule, ranking, with_hit_rate=bool(len(dataset.semi_positives)))
    elif rule.order == "sorted":
        recalls = sorted_recalls(rule, queries.block(0, len(queries))[:, 0], references, positives)
    else:
        recalls = faiss_recalls(rule, queries.block(0, len(queries))[:, 0], references, positives)
    return ranking, recalls, first


def _merged(
    positives: Sequence[Indices],
    rule: Rule,
    variant: Variant,
    queries: Queries,
    references: FloatArray,
) -> tuple[dict[str, float], Indices]:
    count, crops, dimension = queries.descriptor.shape
    distances, predictions = nearest_by_faiss(
        references, queries.descriptor.reshape(-1, dimension), max(rule.ks)
    )
    shape = (count, crops, predictions.shape[1])
    merge = merge_nearest if variant == "nearest_crop" else merge_majority
    first = merge(distances.reshape(shape), predictions.reshape(shape))
    values = recalls_of(first, positives, rule.ks)
    return {f"R@{k}": float(v) for k, v in zip(rule.ks, values, strict=True)}, first


def _described_folder(
    folder: Path, model: Model, store: Store | None, report: Report
) -> tuple[FloatArray, bool]:
    files = pictures_under(folder)
    if not files:
        raise DatasetError("holds no pictures to fit principal components on", folder)
    chosen = np.random.default_rng(0).permutation(len(files))[:SAMPLES]
    return describe_references(
        pictures_of(folder, [files[i] for i in np.sort(chosen)]), model, store, report
    )


def _some(samples: FloatArray) -> FloatArray:
    if len(samples) <= SAMPLES:
        return samples
    return samples[np.sort(np.random.default_rng(0).permutation(len(samples))[:SAMPLES])]


def _shortened(
    references: FloatArray, queries: Queries, pca: Pca, rule: Rule
) -> tuple[FloatArray, Queries]:
    """Both sides through the components; made unit again for rules that compare by inner product."""
    short = [
        np.asarray(pca.transform(vectors), np.float32)
        for vectors in (references, queries.descriptor)
    ]
    if rule.order != "faiss":
        short = [normalised(vectors) for vectors in short]
    return short[0], replace(queries, descriptor=short[1])


def distances_to(dataset: Dataset, first: Indices) -> NDArray[np.float64] | None:
    """Metres [Q, K] from every query to the references found for it; None where positions are not known."""
    asked, offered = dataset.queries, dataset.references
    if asked.located and offered.located:
        return np.asarray(
            distance_m(
                asked.lat[:, None], asked.lon[:, None], offered.lat[first], offered.lon[first]
            ),
            np.float64,
        )
    if asked.utm is not None and offered.utm is not None:
        return np.hypot(*np.moveaxis(offered.utm[first] - asked.utm[:, None], -1, 0))
    return None


def _covered(dataset: Dataset, recalls: dict[str, float], first: Indices) -> dict[str, float]:
    """Whether the first tile covers the place, where tiles' extents and all positions are known and the rule has no
    hit rate of its own."""
    asked, offered = dataset.queries, dataset.references
    extents = offered.extent_m[first[:, 0]]
    if "hit_rate" in recalls or not (
        asked.located and offered.located and np.isfinite(extents).all()
    ):
        return {}
    hits = 0
    for i, tile in enumerate(first[:, 0]):
        frame = LocalFrame(float(offered.lat[tile]), float(offered.lon[tile]))
        east, north = frame.to_local(asked.lat[i], asked.lon[i])
        hits += max(abs(float(east)), abs(float(north))) <= extents[i] / 2
    return {"hit_rate": hits / len(first)}


def _heading_errors(
    dataset: Dataset, queries: Queries, ranking: Ranking | None, asked: Asked
) -> NDArray[np.float64] | None:
    if ranking is None or queries.plans is None or asked.heading_known:
        return None
    errors = [
        float(heading_difference(plan.headings[ranking.vector[i, 0]], truth))
        for i, (plan, truth) in enumerate(
            zip(queries.plans, dataset.queries.heading_deg, strict=True)
        )
        if plan.turns and ranking.better[i] == 0 and np.isfinite(truth)
    ]
    return np.array(errors) if errors else None


def _rounded(value: float | None) -> float | None:
    return None if value is None or not np.isfinite(value) else round(value, 4)
