"""What losses do with what the trainer tells them."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from engine.errors import TrainingError
from engine.networks.dsm import match
from engine.training.losses import LossContext, build_loss, loss_names
from engine.training.losses.soft_triplet import all_pairs, turned_distances

B, D = 6, 12
NEEDS = {
    "cosface": {"dim": D, "classes": B},
    # With mining the average is over other triplets after every step.
    "triplet-margin": {"mine": "all", "margin": 1.0},
}
SCORED = LossContext(scale=torch.tensor(10.0), azimuth_blocks=4, labels=None)


def descriptors(seed: int = 1) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    query = torch.randn(B, D, generator=generator)
    return query, 0.4 * query + torch.randn(B, D, generator=generator)


@pytest.mark.parametrize("name", loss_names())
def test_every_loss_falls_when_it_is_followed(name: str) -> None:
    loss = build_loss(name, NEEDS.get(name))
    context = LossContext(
        scale=SCORED.scale, azimuth_blocks=4, labels=torch.arange(B) if name == "cosface" else None
    )
    query, reference = (F.normalize(x, dim=1) for x in descriptors())
    query.requires_grad_()
    first = loss(query, reference, context)
    assert first.ndim == 0
    for _ in range(5):
        (gradient,) = torch.autograd.grad(loss(query, reference, context), query)
        with torch.no_grad():
            query -= 0.02 * gradient / gradient.norm()
    assert loss(query, reference, context) < first


EXCLUDING = [name for name in loss_names() if name not in ("cosface", "sector-info-nce")]


@pytest.mark.parametrize("name", EXCLUDING)
def test_what_is_too_near_has_no_say(name: str) -> None:
    """A reference that is too near to photo 0 does not move photo 0, and does where all are fair."""
    loss = build_loss(name, {"exclude_near": True})
    near = torch.ones(B, B, dtype=torch.bool).fill_diagonal_(False)
    near[0, 1] = False
    context = LossContext(scale=SCORED.scale, azimuth_blocks=4, too_near=near)
    query, reference = descriptors()
    query.requires_grad_()
    value = loss(query, reference, context)
    assert bool(torch.isfinite(value))
    (plain,) = torch.autograd.grad(value, query)
    moved = reference.clone()
    moved[3] = moved[3].roll(1)
    value = loss(query, moved, context)
    (after,) = torch.autograd.grad(value, query)
    torch.testing.assert_close(plain[0], after[0], atol=1e-5, rtol=1e-4)
    far = LossContext(scale=SCORED.scale, azimuth_blocks=4)
    (before,) = torch.autograd.grad(loss(query, reference, far), query)
    (after,) = torch.autograd.grad(loss(query, moved, far), query)
    assert not torch.allclose(before, after, atol=1e-5)


def test_labels_count_through_the_groups_of_a_classifier() -> None:
    loss = build_loss("cosface", {"dim": D, "classes": [3, 5]})
    query, reference = descriptors()
    loss(query, reference, LossContext(labels=torch.tensor([3, 4, 5, 6, 7, 3]))).backward()
    first, second = loss.parameters()
    assert first.grad is None
    assert second.grad is not None and bool(second.grad.abs().sum() > 0)
    with pytest.raises(ValueError, match="no class"):
        loss(query, reference, LossContext(labels=torch.full((B,), 8)))


def test_the_best_turn_is_found() -> None:
    generator = torch.Generator().manual_seed(5)
    reference = F.normalize(torch.randn(B, 24, generator=generator), dim=1).unflatten(1, (8, 3))
    seen = torch.zeros(B, 8)
    seen[:, :3] = 1.0
    query = torch.roll(reference, -5, dims=1)
    distances = turned_distances(query, reference, seen)
    torch.testing.assert_close(distances.diagonal(), torch.zeros(B), atol=1e-5, rtol=0)
    slow = torch.empty(B, B)
    for i in range(B):
        for j in range(B):
            turned = [torch.roll(reference[j], -s, dims=0)[:3].flatten() for s in range(8)]
            photo = F.normalize(query[i, :3].flatten(), dim=0)
            best = max(turned, key=lambda part: float(photo @ part))
            slow[i, j] = 2 - 2 * photo @ F.normalize(best, dim=0)
    torch.testing.assert_close(distances, slow, atol=1e-5, rtol=0)


@pytest.mark.parametrize("shown", [16, 5])
def test_turned_distances_are_those_that_the_network_is_searched_by(shown: int) -> None:
    generator = torch.Generator().manual_seed(6)
    query = F.normalize(torch.randn(B, shown * 3, generator=generator), dim=1)
    reference = torch.randn(B, 16 * 3, generator=generator)
    similarity, _ = match(query, reference, 3)
    photos, tiles = query.unflatten(1, (-1, 3)), reference.unflatten(1, (-1, 3))
    ours = turned_distances(photos, tiles, torch.ones(B, shown))
    torch.testing.assert_close(ours, 2 - 2 * similarity, atol=1e-5, rtol=0)
    loss = build_loss("dsm-triplet")(query, reference, LossContext(azimuth_blocks=16))
    torch.testing.assert_close(loss, all_pairs(ours, 10.0))


def test_half_precision_ends_at_the_loss() -> None:
    query, reference = descriptors()
    value = build_loss("weighted-tuple")(query.bfloat16(), reference.bfloat16(), LossContext())
    assert value.dtype == torch.float32


def test_who_asks_for_nonsense_is_told() -> None:
    with pytest.raises(TrainingError, match=r"no loss.*tuple"):
        build_loss("tuple")
    with pytest.raises(TrainingError, match="unexpected keyword argument 'alfa'"):
        build_loss("weighted-tuple", {"alfa": 3})
    with pytest.raises(TrainingError, match="smoothing"):
        build_loss("info-nce", {"smoothing": 1.5})
