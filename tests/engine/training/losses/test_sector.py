"""Sector InfoNCE against slow, obvious versions."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from engine.training.losses import sector_info_nce, shift_scores, shift_targets

B, K, D = 5, 8, 3


def make():
    generator = torch.Generator().manual_seed(1)
    query, reference = (
        F.normalize(torch.randn(B, K, D, generator=generator, dtype=torch.float64), dim=2) / K**0.5
        for _ in range(2)
    )
    seen = torch.rand(B, K, generator=generator, dtype=torch.float64)
    seen[0] = 1.0
    seen[1, 3:] = 0.0
    shift = torch.rand(B, generator=generator, dtype=torch.float64) * K
    too_near = torch.zeros(B, B, dtype=torch.bool)
    too_near[0, 2] = too_near[3, 4] = True
    return query, reference, seen, shift, too_near


def slow_scores(query, reference, seen):
    scores = torch.zeros(B, B, K, dtype=torch.float64)
    for i in range(B):
        for j in range(B):
            for s in range(K):
                total = 0.0
                for k in range(K):
                    m = (k - s) % K
                    total += seen[i, m] * (query[i, m] @ reference[j, k])
                scores[i, j, s] = total * K / seen[i].sum()
    return scores


def slow_loss(query, reference, seen, shift, too_near, scale, smoothing):
    scores = slow_scores(query, reference, seen)
    total = torch.zeros((), dtype=torch.float64)
    for by_tile in (False, True):
        for i in range(B):
            logits, target = [], []
            for j in range(B):
                photo, tile = (j, i) if by_tile else (i, j)
                if too_near[photo, tile]:
                    continue
                for s in range(K):
                    logits.append(scale * scores[photo, tile, s])
                    share = 0.0
                    if photo == tile:
                        low = int(shift[photo])
                        part = float(shift[photo]) - low
                        share = (1 - part) * (s == low % K) + part * (s == (low + 1) % K)
                    target.append(share)
            wanted = torch.tensor(target, dtype=torch.float64)
            wanted = wanted * (1 - smoothing) + smoothing / len(logits)
            total = total - (wanted * torch.log_softmax(torch.stack(logits), 0)).sum() / B
    return total / 2


def test_scores_are_the_cosine_over_what_is_seen() -> None:
    query, reference, seen, *_ = make()
    torch.testing.assert_close(
        shift_scores(query, reference, seen), slow_scores(query, reference, seen)
    )


def test_a_turned_copy_scores_one_at_its_turn() -> None:
    _, reference, seen, *_ = make()
    query = torch.roll(reference, -3, dims=1)  # rolled right by 3 it fits again
    scores = shift_scores(query, reference, seen)
    assert scores[2, 2].argmax() == 3
    assert scores[2, 2, 3] == pytest.approx(1.0)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_loss_and_gradient(smoothing: float) -> None:
    query, reference, seen, shift, too_near = make()
    scale = torch.tensor(7.0, dtype=torch.float64)
    query.requires_grad_()
    ours = sector_info_nce(query, reference, seen, shift, too_near, scale, smoothing)
    slow = slow_loss(query, reference, seen, shift, too_near, scale, smoothing)
    torch.testing.assert_close(ours, slow)
    (ours_grad,) = torch.autograd.grad(ours, query)
    (slow_grad,) = torch.autograd.grad(slow, query)
    torch.testing.assert_close(ours_grad, slow_grad)


def test_target_is_split_between_the_nearest_turns_and_wraps() -> None:
    target = shift_targets(torch.tensor([2.25, 7.5, 0.0]), K)
    assert target[0].tolist() == [0, 0, 0.75, 0.25, 0, 0, 0, 0]
    assert target[1].tolist() == [0.5, 0, 0, 0, 0, 0, 0, 0.5]
    assert target[2].tolist() == [1, 0, 0, 0, 0, 0, 0, 0]
