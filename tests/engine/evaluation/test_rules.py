"""Recall by every paper's rule, equal to what the authors' own code printed; ties, one per cents, semi-positives."""

from __future__ import annotations

import json

import numpy as np
import pytest

from engine.errors import DatasetError
from engine.evaluation.benchmark import nearest_by_faiss, recalls_of
from engine.evaluation.neighbours import nearest_others
from engine.evaluation.pca import fit_pca
from engine.evaluation.ranks import best_first, better_counts, normalised, rank_references
from engine.evaluation.rules import (
    RULES,
    average_precision,
    faiss_recalls,
    rule_named,
    share_below,
    sorted_recalls,
    strict_recalls,
)


@pytest.fixture(scope="module")
def arrays(golden):
    return dict(np.load(golden / "metrics/inputs_and_arrays.npz"))


@pytest.fixture(scope="module")
def printed(golden):
    return json.loads((golden / "metrics/metrics.json").read_text())


def as_percent(share: float) -> float:
    return share * 100.0


# ---------------------------------------------------------------- against the authors' code


def test_safa_saig_dsm_with_many_ties(arrays, printed):
    sim = arrays["sim200"]
    true = np.arange(200)
    columns = better_counts(-(2 - 2 * sim.astype(np.float64)).T, true)
    for k in (1, 5, 10):
        assert share_below(columns, k) == printed["safa_test"][str(k)]
    one_percent = RULES["safa"].one_percent
    assert one_percent is not None
    assert (
        share_below(columns, one_percent(200))
        == printed["safa_test"]["top1pct(last of range(int(N*.01)+1))"]
    )
    single = better_counts(-(2 - 2 * sim).T, true)
    saig = RULES["saig"].one_percent
    assert saig is not None
    for k, limit in (("1", 1), ("5", 5), ("10", 10), ("89", saig(200))):
        assert share_below(single, limit) == printed["saig_valid"][k]
    rows = better_counts(-(2 - 2 * sim), true)
    # Not at 10: there the printed 0.28 lies between what ties for and against the query give (0.295 and 0.255), so
    # it was printed for scores whose ties were not exact, which the stored ones are.
    for k in (1, 5):
        assert share_below(rows, k) == printed["dsm_validate_rows"][str(k)]
    assert share_below(rows, 10) >= printed["dsm_validate_rows"]["10"]
    # The rule for ties matters here: counting them as wrong gives other numbers.
    wrong = (2 - 2 * sim <= np.diag(2 - 2 * sim)).sum(axis=0) - 1
    assert (
        share_below(wrong, 1)
        == printed["tie_check_le_instead_of_lt"]["1"]
        != share_below(columns, 1)
    )


def ranked(arrays, *, references=None, labels=None, **options):
    labels = arrays["vig_labels"] if labels is None else labels
    return rank_references(
        normalised(arrays["vig_query"]),
        normalised(arrays["vig_ref"] if references is None else references),
        list(labels[:, :1]),
        list(labels[:, 1:]),
        **options,
    )


@pytest.mark.parametrize("name", ["vigor_official_tf_repo_validate_top", "saig_vigor_validate_top"])
def test_vigor(arrays, printed, name):
    rule = rule_named("vigor" if name.startswith("vigor") else "saig-vigor")
    found = strict_recalls(rule, ranked(arrays), with_hit_rate=True)
    assert found["R@1"] == printed[name]["top1"]
    assert found["R@5"] == printed[name]["top5"]
    assert found["R@1%"] == printed[name]["top1pct"]
    assert found["hit_rate"] == printed[name]["hit_rate"]


@pytest.mark.parametrize("name", ["transgeo", "frgeo"])
def test_transgeo_and_frgeo(arrays, printed, name):
    found = {
        key: as_percent(value)
        for key, value in strict_recalls(RULES[name], ranked(arrays), with_hit_rate=False).items()
    }
    assert [found["R@1"], found["R@5"]] == printed[f"{name}_accuracy"]["returned"]
    text = f"Percentage-top1:{found['R@1']}, top5:{found['R@5']}, top10:{found['R@10']}, top1%:{found['R@1%']}"
    assert text == printed[f"{name}_accuracy"]["printed"]


def sample4geo_text(found):
    words = [f"Recall@{k}: {as_percent(found[f'R@{k}']):.4f}" for k in (1, 5, 10)]
    words.append(f"Recall@top1: {as_percent(found['R@1%']):.4f}")
    if "hit_rate" in found:
        words.append(f"Hit_Rate: {as_percent(found['hit_rate']):.4f}")
    return " - ".join(words)


def test_sample4geo(arrays, printed):
    rule = RULES["sample4geo"]
    found = strict_recalls(rule, ranked(arrays), with_hit_rate=True)
    for name in ("sample4geo_vigor_step1000", "sample4geo_vigor_step64"):
        assert as_percent(found["R@1"]) == printed[name]["returned"]
        assert sample4geo_text(found) == printed[name]["printed"]
    permutation = arrays["vig_perm"]
    place = np.argsort(permutation)
    shuffled = ranked(
        arrays, references=arrays["vig_ref"][permutation], labels=place[arrays["vig_labels"]]
    )
    found = strict_recalls(rule, shuffled, with_hit_rate=True)
    assert sample4geo_text(found) == printed["sample4geo_vigor_shuffled_refs"]["printed"]
    found = strict_recalls(rule, ranked(arrays), with_hit_rate=False)
    assert sample4geo_text(found) == printed["sample4geo_cvusa"]["printed"]


def test_university(arrays, printed):
    found = sorted_recalls(
        RULES["university"],
        normalised(arrays["vig_query"]),
        normalised(arrays["vig_ref"]),
        list(arrays["vig_labels"][:, :1]),
    )
    official = printed["sample4geo_university"]
    assert as_percent(found["AP"]) == pytest.approx(official["AP"], rel=1e-12)
    for ours, theirs in (("R@1", "R1"), ("R@5", "R5"), ("R@10", "R10"), ("R@1%", "top1")):
        assert as_percent(found[ours]) == official[theirs]


def test_nearest_neighbours(arrays):
    queries, references = arrays["vig_query"], arrays["vig_ref"]
    labels = arrays["vig_labels"][:, 0].astype(np.int64)
    for prefix, spare in (("near", 1), ("nearv", 2)):
        found = nearest_others(queries, references, labels, np.arange(400), 16, spare=spare)
        assert list(found) and sorted(found) == sorted(arrays[f"{prefix}_keys"].tolist())
        for key, values in zip(arrays[f"{prefix}_keys"], arrays[f"{prefix}_vals"], strict=True):
            assert found[int(key)].tolist() == values.tolist()


def benchmark(arrays):
    features = arrays["vg_feats"]
    positives = np.split(arrays["vg_pos_flat"], np.cumsum(arrays["vg_npos"])[:-1])
    return features[600:], features[:600], positives


def test_the_benchmark(arrays, printed):
    queries, references, positives = benchmark(arrays)
    found = faiss_recalls(RULES["vg"], queries, references, positives)
    values = [as_percent(found[f"R@{k}"]) for k in (1, 5, 10, 20)]
    assert values == printed["vg_benchmark_test"]["recalls"]
    assert values == printed["vg_benchmark_test_efficient_ram"]
    text = ", ".join(f"R@{k}: {v:.1f}" for k, v in zip((1, 5, 10, 20), values, strict=True))
    assert text == printed["vg_benchmark_test"]["string"]
    assert (
        sum(len(p) == 0 for p in positives)
        == printed["vg_benchmark_test"]["queries_without_positives"]
    )


def test_gsv_cities(arrays, printed):
    queries, references, positives = benchmark(arrays)
    predictions = nearest_by_faiss(references, queries, 20)[1]
    assert np.array_equal(predictions, arrays["gsv_predictions"])
    values = recalls_of(predictions, positives, (1, 5, 10, 20))
    official = printed["gsv_get_validation_recalls"]
    assert values.tolist() == [official[str(k)] for k in (1, 5, 10, 20)]


def test_pca_is_scikit_learns(golden):
    official = np.load(golden / "vg_benchmark/pca.npz")
    rng = np.random.Generator(np.random.PCG64(5107))
    samples = rng.standard_normal((500, 64)) * np.linspace(3, 0.1, 64)
    pca = fit_pca(samples, 16)
    assert np.allclose(pca.mean, official["mean"], rtol=1e-9)
    assert np.allclose(pca.explained_variance, official["explained_variance"], rtol=1e-9)
    assert np.allclose(np.abs(pca.components), official["abs_components"], rtol=1e-5, atol=1e-12)
    ours = pca.transform(samples[:8].astype(np.float32))  # as descriptors come from a network
    signs = np.sign(ours[0] * official["transform_first8"][0])
    assert np.allclose(ours * signs, official["transform_first8"], rtol=1e-8)
    with pytest.raises(DatasetError, match="at most 64"):
        fit_pca(samples, 65)


# ---------------------------------------------------------------- by hand


def test_one_per_cents():
    def limits(references):
        return {n: r.one_percent(references) for n, r in RULES.items() if r.one_percent is not None}

    cvusa = limits(8884)
    assert cvusa["saig"] == 89 and cvusa["vigor"] == cvusa["strict"] == 89
    assert {cvusa[n] for n in ("safa", "dsm", "transgeo", "frgeo", "sample4geo")} == {88}
    assert cvusa["university"] == 90
    assert limits(99)["transgeo"] == 0 and limits(99)["strict"] == 1 and limits(99)["saig"] == 89
    # 0.01 * 2900 is a little less than 29.
    assert limits(2900)["safa"] == int(2900 * 0.01) and limits(2900)["transgeo"] == 29


def test_ranks_by_hand():
    references = np.eye(4, dtype=np.float32)
    queries = np.array(
        [[0.9, 0.5, 0.5, 0.1], [0.1, 0.9, 0.5, 0.2], [0.3, 0.2, 0.1, 0.0]], np.float32
    )
    positives = [np.array([2, 1]), np.array([0, 2]), np.array([], np.int64)]
    semi = [np.array([0, 0]), np.array([1]), np.array([], np.int64)]
    strict = rank_references(queries, references, positives, semi, top=3)
    assert strict.better.tolist() == [1, 3, 4]
    assert strict.better_hit.tolist() == [0, 2, 4]
    assert strict.first.tolist() == [[0, 1, 2], [1, 2, 3], [0, 1, 2]]
    anyone = rank_references(queries, references, positives, semi, any_positive=True, top=9)
    assert anyone.better.tolist() == [1, 1, 4] and anyone.first.shape == (3, 4)
    turned = np.stack([queries * 0.5, np.roll(queries, 1, axis=1)], axis=1)
    best = rank_references(turned, references, positives, top=1)
    assert best.first[:, 0].tolist() == [1, 2, 1] and best.vector[:, 0].tolist() == [1, 1, 1]
    found = strict_recalls(RULES["strict"], anyone, with_hit_rate=True)
    assert found == {"R@1": 0, "R@5": 1, "R@10": 1, "R@1%": 0, "hit_rate": 2 / 3}


def test_ranks_do_not_depend_on_the_blocks(monkeypatch):
    rng = np.random.default_rng(3)
    queries = rng.standard_normal((20, 2, 8)).astype(np.float32)
    references = rng.standard_normal((50, 8)).astype(np.float32)
    positives = [rng.integers(0, 50, 2) for _ in range(20)]
    whole = rank_references(queries, references, positives)
    monkeypatch.setattr("engine.evaluation.ranks.BLOCK_BYTES", 50 * 4 * 3)
    parts = rank_references(queries, references, positives)
    scores = (queries @ references.T).max(axis=1)
    for q in range(20):
        assert whole.better[q] == (scores[q] > scores[q, positives[q][0]]).sum()
        assert whole.first[q].tolist() == np.argsort(-scores[q], kind="stable")[:20].tolist()
    for name in ("better", "first", "vector"):
        assert np.array_equal(getattr(whole, name), getattr(parts, name))


def test_best_first_keeps_the_order_of_equals():
    scores = np.array([0.5, 0.9, 0.5, 0.5, 0.9, 0.1])
    assert best_first(scores, 3).tolist() == [1, 4, 0]
    assert best_first(scores, 9).tolist() == [1, 4, 0, 2, 3, 5]


def test_average_precision_by_hand():
    assert average_precision(np.array([0])) == 1
    assert average_precision(np.array([1])) == pytest.approx((0 + 1 / 2) / 2)
    assert average_precision(np.array([0, 2])) == pytest.approx((1 + (1 / 2 + 2 / 3) / 2) / 2)


def test_an_unknown_rule_is_named():
    with pytest.raises(DatasetError, match=r"no recall rule 'cvm'\. Known: strict, vigor"):
        rule_named("cvm")
