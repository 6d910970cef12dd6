"""Every loss against what its authors' code printed: value and gradients."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from engine.training.losses import LossContext, build_loss
from engine.training.losses.cosface import CosFace
from engine.training.losses.labelled import similarity_pairs, triplets
from engine.training.losses.masks import labelled_set
from engine.training.losses.soft_triplet import nearest_distances, semi_hard_distances
from tests.golden_rule import rule_z

RAW = {"normalise": False}
"""The goldens feed descriptors of norm 1 to losses that leave the norm to the network."""

CASES: dict[str, tuple[str, Mapping[str, object]]] = {
    "saig_triplet": ("saig-triplet", RAW),
    "saig_semisofttrihard": ("semi-hard-triplet", RAW),
    "saig_infonce": ("saig-info-nce", RAW),
    "transgeo_soft_triplet_a20": ("transgeo-triplet", {}),
    "frgeo_wbl_official_a10": ("weighted-tuple", {}),
    "frgeo_wbl_paper_l2_a10": ("weighted-tuple-paper", RAW),
    "frgeo_wbl_formula_sql2_a10": ("weighted-tuple", {**RAW, "distance": "squared-l2"}),
    "frgeo_wbl_formula_sql2_a5": (
        "weighted-tuple",
        {**RAW, "distance": "squared-l2", "alpha": 5.0},
    ),
    "sample4geo_infonce_ls0.1": ("info-nce", {}),
    "safa_softmargin": ("safa-triplet", RAW),
    "safa_softmargin_batchhard3": ("safa-triplet", {**RAW, "hardest": 3}),
    "dsm_loss_on_2-2GAt": ("dsm-triplet", {**RAW, "turn": False}),
}


def crossview(golden: Path):
    return np.load(golden / "losses" / "crossview_losses.npz")


PLAIN_ONLY = ("safa_softmargin_batchhard3", "dsm_loss_on_2-2GAt")
UNNORMALISED = ("transgeo_soft_triplet_a20", "frgeo_wbl_official_a10", "sample4geo_infonce_ls0.1")


@pytest.mark.parametrize(
    ("case", "inputs"),
    [(case, "") for case in CASES]
    + [(case, "_corr") for case in CASES if case not in PLAIN_ONLY]
    + [(case, "_unnorm") for case in UNNORMALISED],
)
def test_cross_view(golden: Path, case: str, inputs: str) -> None:
    stored = crossview(golden)
    key = f"{case}{inputs}__"
    reference = {"": "aer", "_corr": "aer_corr", "_unnorm": "aer_unnorm"}[inputs]
    query = "grd_unnorm" if inputs == "_unnorm" else "grd"
    name, options = CASES[case]
    loss = build_loss(name, options)
    for dtype, suffix, rtol in ((torch.float64, "loss_f64", 1e-6), (torch.float32, "loss", 1e-5)):
        one, other = (
            torch.from_numpy(stored[array]).to(dtype).requires_grad_()
            for array in (query, reference)
        )
        value = loss(one, other, LossContext(scale=torch.tensor(1 / 0.07, dtype=dtype)))
        # 3e-7: in float32 losses near 0 carry the rounding of what they are the difference of.
        np.testing.assert_allclose(value.item(), stored[key + suffix], rtol=rtol, atol=3e-7)
        gradients = torch.autograd.grad(value, (one, other))
        for gradient, side in zip(gradients, ("dgrd", "daer"), strict=True):
            np.testing.assert_allclose(gradient, stored[key + side], rtol=1e-4, atol=2e-5)


@pytest.mark.parametrize("inputs", ["", "_corr"])
def test_saigs_hard_negatives(golden: Path, inputs: str) -> None:
    stored = crossview(golden)
    query, reference = (torch.from_numpy(stored[a]) for a in ("grd", "aer" + inputs))
    distance = 2 - 2 * reference @ query.T
    semi = semi_hard_distances(distance, distance.diagonal())
    np.testing.assert_allclose(semi, stored["saig_get_semi_hard_neg" + inputs], atol=1e-6)
    top = nearest_distances(distance, 2)
    np.testing.assert_allclose(top, stored["saig_get_topk_hard_neg_k2" + inputs], atol=1e-6)


def test_cosface(golden: Path) -> None:
    stored = np.load(golden / "losses" / "cosface.npz")
    head = CosFace(64, 10)
    weight = rule_z("cosface.weight", (10, 64)) / np.float32(8)
    np.testing.assert_array_equal(weight, stored["weight"])
    with torch.no_grad():
        head.weights[0].copy_(torch.from_numpy(weight))
    inputs = torch.from_numpy(stored["inputs"]).requires_grad_()
    labels = torch.from_numpy(stored["labels"])
    logits = head.logits(inputs, labels)
    np.testing.assert_allclose(logits.detach(), stored["logits"], atol=1e-5, rtol=1e-5)
    value = head(inputs, inputs.new_empty(0, 64), LossContext(labels=labels))
    np.testing.assert_allclose(value.item(), stored["ce_loss"], rtol=1e-5)
    gradients = torch.autograd.grad(value, [inputs, head.weights[0]])
    np.testing.assert_allclose(gradients[0], stored["dinputs"], atol=2e-5, rtol=1e-4)
    np.testing.assert_allclose(gradients[1], stored["dweight"], atol=2e-5, rtol=1e-4)


LABELLED: dict[str, tuple[str, Mapping[str, object]]] = {
    "MultiSimilarityLoss_nominer": ("multi-similarity", {"epsilon": -1.0}),
    "MultiSimilarityLoss_with_MultiSimilarityMiner": ("multi-similarity", {}),
    "SupConLoss_nominer": ("sup-con", {}),
    "CircleLoss_nominer": ("circle", {}),
    "ContrastiveLoss_nominer": ("contrastive", {}),
    "Lifted_nominer": ("lifted", {}),
    "FastAPLoss_nominer": ("fast-ap", {}),
    "NTXentLoss_nominer": ("nt-xent", {}),
    "TripletMarginLoss_nominer": ("triplet-margin", {"mine": "all"}),
    "TripletMarginLoss_with_TripletMarginMiner": ("triplet-margin", {}),
}


@pytest.mark.parametrize("case", LABELLED)
def test_labelled(golden: Path, case: str) -> None:
    stored = np.load(golden / "losses" / "gsv_cities_losses.npz")
    name, options = LABELLED[case]
    x = torch.from_numpy(stored["x"]).requires_grad_()
    context = LossContext(labels=torch.from_numpy(stored["labels"]))
    value = build_loss(name, options)(x, x.new_empty(0, 64), context)
    np.testing.assert_allclose(value.item(), stored[case], rtol=1e-5)
    (gradient,) = torch.autograd.grad(value, x)
    np.testing.assert_allclose(gradient, stored[case + "_dx"], atol=2e-5, rtol=1e-4)


def test_miners(golden: Path) -> None:
    stored = np.load(golden / "losses" / "gsv_cities_losses.npz")
    x = torch.from_numpy(stored["x"])
    context = LossContext(labels=torch.from_numpy(stored["labels"]))
    labelled = labelled_set(x, x.new_empty(0, 64), context, False)
    for mask, (a, b) in zip(similarity_pairs(labelled, 0.1), ((0, 1), (2, 3)), strict=True):
        columns = [stored[f"MultiSimilarityMiner_{i}"] for i in (a, b)]
        assert {tuple(row) for row in mask.nonzero().tolist()} == set(zip(*columns, strict=True))
    columns = [stored[f"TripletMarginMiner_{i}"] for i in range(3)]
    mask = triplets(labelled, 0.1, "semi-hard")
    assert {tuple(row) for row in mask.nonzero().tolist()} == set(zip(*columns, strict=True))


def near(pv: np.ndarray, aerial: np.ndarray, metres: float) -> torch.Tensor:
    """Haversine distances of [N, 2] latitudes and longitudes, at most ``metres``, the diagonal left out."""
    a, b = np.radians(pv)[:, None], np.radians(aerial)[None]
    part = np.sin((a - b) / 2) ** 2
    part = part[..., 0] + np.cos(a[..., 0]) * np.cos(b[..., 0]) * part[..., 1]
    close = 2 * 6378137.0 * np.arcsin(np.sqrt(part)) <= metres
    np.fill_diagonal(close, False)
    return torch.from_numpy(close)


@pytest.mark.parametrize("case", ["far", "near", "saturated"])
def test_statewide(golden: Path, case: str) -> None:
    stored = np.load(golden / "statewide" / "statewide_train_parts.npz")
    latlon = [stored[f"loss_{case}_{side}_latlon"] for side in ("pv", "aerial")]
    context = LossContext(too_near=near(latlon[0], latlon[1], 30.0))
    assert context.too_near is not None
    assert bool(context.too_near.any()) == (case == "near")

    def run(decoupled: bool, dtype: torch.dtype):
        photos, tiles = (
            torch.from_numpy(stored[f"loss_{case}_{side}"]).to(dtype).requires_grad_()
            for side in ("pv", "aerial")
        )
        loss = build_loss("decoupled-cross-entropy", {"decoupled": decoupled})
        value = loss(photos, tiles, context)
        return value.item(), torch.autograd.grad(value, (photos, tiles))

    # In the saturated case the authors' own float64 cancels; their gradient more than their loss.
    atol, gradient_atol = (3e-5, 5e-3) if case == "saturated" else (2e-7, 2e-6)
    value, gradients = run(True, torch.float64)
    key = f"loss_{case}_decoupled_x64"
    np.testing.assert_allclose(value, stored[key], atol=atol)
    for gradient, side in zip(gradients, ("pv", "aerial"), strict=True):
        np.testing.assert_allclose(gradient, stored[f"{key}_grad_{side}"], atol=gradient_atol)
    plain, _ = run(False, torch.float64)
    np.testing.assert_allclose(plain, stored[f"loss_{case}_plain_x64"], atol=1e-6)
    single, gradients = run(True, torch.float32)
    np.testing.assert_allclose(single, value, atol=2e-5)
    assert all(bool(torch.isfinite(gradient).all()) for gradient in gradients)


def test_statewide_gradient_where_one_entry_dominates(golden: Path) -> None:
    """Against the formula written out: a log-sum for every entry."""
    stored = np.load(golden / "statewide" / "statewide_train_parts.npz")
    photos, tiles = (
        torch.from_numpy(stored[f"loss_saturated_{side}"]).double().requires_grad_()
        for side in ("pv", "aerial")
    )
    ours = build_loss("decoupled-cross-entropy")(photos, tiles, LossContext())
    scores = photos @ tiles.T
    slow = torch.zeros((), dtype=torch.float64)
    for matrix in (scores, scores.T):
        for i in range(8):
            for j in range(8):
                rest = torch.cat([matrix[i, :j], matrix[i, j + 1 :]]).logsumexp(0)
                slow = slow - (0.9 if i == j else 0.1 / 7) * (matrix[i, j] - rest) / 16
    torch.testing.assert_close(ours, slow)
    for fast, plain in zip(
        torch.autograd.grad(ours, (photos, tiles)),
        torch.autograd.grad(slow, (photos, tiles)),
        strict=True,
    ):
        torch.testing.assert_close(fast, plain)


def test_margin_triplet_is_torchs_own() -> None:
    generator = torch.Generator().manual_seed(3)
    query, positive = (torch.randn(4, 16, generator=generator) for _ in range(2))
    mined = torch.randn(20, 16, generator=generator)
    rows = torch.arange(20).view(4, 5) + 4
    context = LossContext(negatives=rows)
    ours = build_loss("margin-triplet", {"margin": 2.0})(
        query, torch.cat([positive, mined]), context
    )
    theirs = sum(
        F.triplet_margin_loss(query, positive, mined[rows[:, j] - 4], margin=2.0, reduction="sum")
        for j in range(5)
    )
    torch.testing.assert_close(ours, theirs / 20)


@pytest.mark.parametrize("joint", [True, False])
def test_sare_as_a_softmax_of_each_tuple(joint: bool) -> None:
    generator = torch.Generator().manual_seed(4)
    query = torch.randn(3, 8, generator=generator, dtype=torch.float64) / 2
    references = torch.randn(3 + 12, 8, generator=generator, dtype=torch.float64) / 2
    rows = torch.arange(12).view(3, 4) + 3
    loss = build_loss("sare-joint" if joint else "sare-independent")
    ours = loss(query, references, LossContext(negatives=rows))
    total = torch.zeros((), dtype=torch.float64)
    for i in range(3):
        near_ = -((query[i] - references[i]) ** 2).sum()
        far = [-((query[i] - references[j]) ** 2).sum() for j in rows[i]]
        for group in [far] if joint else [[one] for one in far]:
            total = total - torch.log_softmax(torch.stack([near_, *group]), 0)[0]
    torch.testing.assert_close(ours, total / 12)
