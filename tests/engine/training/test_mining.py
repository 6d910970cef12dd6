"""Samplers against published batches, slow versions of what they promise, and themselves resumed."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from engine.errors import TrainingError
from engine.training.mining import build_sampler, sampler_names
from engine.training.mining.clusters import cluster
from engine.training.mining.neighbours import neighbour_batches, neighbours_on_map
from engine.training.mining.tuples import TupleSampler, mine

N, D, SIZE = 60, 8, 12
SMALL: dict[str, dict[str, Any]] = {
    "hard": {"top": 5, "pool": 40},
    "neighbours": {"select": 4, "range": 8, "scan_every": 1},
    "clusters": {"raise_after": 24},
    "partial": {"queries": 20, "negatives": 3, "samples": 30},
    "full": {"queries": 20, "negatives": 3, "samples": 30},
    "random-negatives": {"queries": 20, "negatives": 3},
}
OF_PAIRS = [
    name
    for name in sampler_names()
    if name not in ("places", "class-groups") and not name.startswith("tuples-")
]


def world(seed: int = 1) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Positions, and descriptors of photos and references that change slowly over the map."""
    rng = np.random.default_rng(seed)
    positions = rng.uniform(0, 1000, (N, 2))
    waves = rng.normal(size=(2, D)) / 200
    reference = np.cos(positions @ waves).astype(np.float32)
    query = reference + 0.1 * rng.normal(size=(N, D)).astype(np.float32)
    return positions, query, reference


def sampler(name: str, **options: Any):
    positions, _, _ = world()
    options = {**SMALL.get(name, {}), **options}
    return build_sampler(name, options, positions=positions, batch_size=SIZE, seed=3)


@pytest.mark.parametrize("name", OF_PAIRS)
def test_batches_are_whole_and_nobody_is_in_one_twice(name: str) -> None:
    _, query, reference = world()
    mining = sampler(name)
    for number in range(1, 6):
        wanted = mining.wanted(number)
        mining.update(wanted, query[wanted], reference[wanted])
        batches = mining.epoch(number)
        assert batches
        for batch in batches:
            assert batch.dtype == np.int64
            assert len(batch) == len(set(batch.tolist())) == SIZE
            assert batch.min() >= 0 and batch.max() < N
            mining.update(batch, torch.from_numpy(query[batch]), torch.from_numpy(reference[batch]))


@pytest.mark.parametrize("name", OF_PAIRS)
def test_a_resumed_sampler_goes_on_with_the_same_batches(name: str) -> None:
    _, query, reference = world()

    def walk(mining: Any, numbers: range) -> list[list[int]]:
        seen = []
        for number in numbers:
            wanted = mining.wanted(number)
            mining.update(wanted, query[wanted] + number, reference[wanted])
            for batch in mining.epoch(number):
                seen.append(batch.tolist())
                mining.update(batch, query[batch] - 0.01 * number, reference[batch])
        return seen

    through = sampler(name)
    walk(through, range(1, 4))
    file = io.BytesIO()
    torch.save(through.state(), file)
    resumed = sampler(name)
    file.seek(0)
    resumed.load(torch.load(file, weights_only=True))
    ahead = walk(through, range(4, 7))
    assert walk(resumed, range(4, 7)) == ahead
    if name in ("hard", "clusters", "full"):  # the others are told all they need in every epoch
        assert walk(sampler(name), range(4, 7)) != ahead


def test_another_seed_gives_other_batches() -> None:
    positions, _, _ = world()
    one, other = (
        build_sampler("random", positions=positions, batch_size=SIZE, seed=seed).epoch(1)
        for seed in (1, 2)
    )
    assert one[0].tolist() != other[0].tolist()


def test_statewides_clusters(golden: Path) -> None:
    stored = np.load(golden / "statewide" / "statewide_train_parts.npz")
    photos, tiles = (np.radians(stored[f"hem_{side}_latlon"]) for side in ("pv", "aerial"))

    def near(member: int) -> np.ndarray:
        half = np.sin((photos[member] - tiles) / 2) ** 2
        along = half[:, 0] + np.cos(photos[member, 0]) * np.cos(tiles[:, 0]) * half[:, 1]
        metres = 2 * 6378137.0 * np.arcsin(np.sqrt(along))
        return metres <= float(stored["hem_min_distance"])

    clusters = cluster(stored["hem_pv"], stored["hem_aerial"], 8, near)
    np.testing.assert_array_equal(clusters, stored["hem_clusters"])


def test_who_is_too_near_joins_a_cluster_last() -> None:
    query = np.ones((4, 1), np.float32)
    reference = np.array([[5.0], [4.0], [3.0], [1.0]], np.float32)
    pairs = {0: [1], 1: [0], 2: [], 3: []}

    def near(member: int) -> np.ndarray:
        mask = np.zeros(4, bool)
        mask[pairs[member]] = True
        return mask

    assert cluster(query, reference, 4, near)[0].tolist() == [0, 2, 3, 1]


def test_scans_double() -> None:
    _, query, reference = world()
    mining = sampler("clusters", raise_after=24)
    sizes = []
    for number in range(1, 8):
        wanted = mining.wanted(number)
        mining.update(wanted, query[wanted], reference[wanted])
        batches = mining.epoch(number)
        assert not len(wanted) or sorted(wanted) == sorted(np.concatenate(batches))
        sizes.append((len(wanted) // SIZE, len(batches)))
    # 24 random samples, then scans of 2 and 4 batches, whose permutation of 5 ends in between.
    assert sizes == [(0, 2), (2, 2), (1, 1), (4, 4), (1, 1), (5, 5), (5, 5)]


def test_hard_halves_are_like_the_random_ones() -> None:
    _, query, reference = world()
    mining = sampler("hard", top=3, pool=N)
    assert sorted(np.concatenate(mining.epoch(1)).tolist()) == list(range(N))
    mining.update(np.arange(N), query, reference)
    unit = [x / np.linalg.norm(x, axis=1, keepdims=True) for x in (query, reference)]
    ranks = np.argsort(np.argsort(-unit[0] @ unit[1].T, axis=1), axis=1)
    hard = []
    for batch in mining.epoch(2):
        first, second = batch[: SIZE // 2], batch[SIZE // 2 :]
        hard += [ranks[a, b] for a, b in zip(first, second, strict=True)]
    assert np.mean(np.array(hard) < 3) > 0.8  # the rest found all three taken


def test_hard_pairs_keep_their_distance() -> None:
    positions, query, reference = world()
    mining = sampler("hard", apart_m=60.0)
    mining.update(np.arange(N), query, reference)
    for batch in mining.epoch(2):
        for second in batch[SIZE // 2 :]:
            others = batch[batch != second]
            apart = np.hypot(*(positions[others] - positions[second]).T)
            # Those of the random half that were drawn later are not its business.
            assert apart.min() >= 60.0


def test_neighbours_on_the_map_are_the_nearest() -> None:
    positions, _, _ = world()
    positions = positions + 4_000_000.0  # as UTM has them
    positions[7] = np.nan
    found = neighbours_on_map(positions, 5, rows=13)
    assert found is not None
    for i in range(N):
        if i == 7:
            continue
        apart = np.hypot(*(positions - positions[i]).T)
        apart[[i, 7]] = np.inf
        assert found[i].tolist() == np.argsort(apart)[:5].tolist()
    assert neighbours_on_map(np.full((4, 2), np.nan), 3) is None


def test_neighbours_come_along() -> None:
    positions, _, _ = world()
    found = neighbours_on_map(positions, 8)
    assert found is not None
    rng = np.random.default_rng(1)
    batches = neighbour_batches(np.random.default_rng(2).permutation(N), found, SIZE, 4, rng)
    first = batches[0].tolist()
    near, far = found[first[0]][:2].tolist(), found[first[0]][2:].tolist()
    assert first[1:3] == near
    assert set(first[3:5]) <= set(far)
    every = np.concatenate(batches)
    assert len(set(every.tolist())) == len(every) == N
    # A batch's pairs are nearer to each other than pairs of any two batches.
    inside = np.mean([np.ptp(positions[b], axis=0).mean() for b in batches])
    assert inside < 0.8 * np.ptp(positions, axis=0).mean()


def test_a_scan_turns_neighbours_from_the_map_to_likeness() -> None:
    _, query, reference = world()
    mining = sampler("neighbours", scan_every=2)
    assert [len(mining.wanted(n)) for n in range(1, 6)] == [0, 0, N, 0, N]
    before = mining.state()["neighbours"]
    mining.update(mining.wanted(3), query, reference)
    mining.epoch(3)
    after = mining.state()["neighbours"].numpy()
    assert not np.array_equal(before, after)
    unit = [x / np.linalg.norm(x, axis=1, keepdims=True) for x in (query, reference)]
    scores = unit[0] @ unit[1].T
    np.fill_diagonal(scores, -np.inf)
    assert after.tolist() == np.argsort(-scores, axis=1, kind="stable")[:, :8].tolist()


def test_neighbours_keep_their_distance() -> None:
    positions, _, _ = world()
    for batch in sampler("neighbours", apart_m=50.0).epoch(1):
        apart = np.hypot(*(positions[batch][:, None] - positions[batch][None]).T)
        assert apart[~np.eye(SIZE, dtype=bool)].min() >= 50.0


@pytest.mark.parametrize("mining", ["random", "partial", "full"])
def test_tuples(mining: Any) -> None:
    positions, query, reference = world()
    apart = np.hypot(*(positions[:, None] - positions[None]).T)
    positives = {i: np.flatnonzero(apart[i] <= 120) for i in range(N)}
    soft = {i: np.flatnonzero(apart[i] <= 200) for i in range(N)}
    before: dict[int, np.ndarray] = {}
    mined = mine(
        mining,
        np.arange(10),
        query,
        reference,
        positives,
        soft,
        np.random.default_rng(1),
        count=3,
        samples=N,  # everything, so that what is hardest is known
        before=before if mining == "full" else None,
    )
    assert mined.negatives.shape == (10, 3)
    for i in range(10):
        far = ((reference - query[i]) ** 2).sum(1)
        assert mined.positives[i] == min(positives[i], key=lambda j: far[j])
        assert not set(mined.negatives[i].tolist()) & set(soft[i].tolist())
        if mining != "random":
            allowed = np.setdiff1d(np.arange(N), soft[i])
            hardest = allowed[np.argsort(far[allowed])[:3]]
            assert mined.negatives[i].tolist() == hardest.tolist()
    if mining == "full":
        assert sorted(before) == list(range(10))
        assert before[5].tolist() == mined.negatives[5].tolist()


def test_full_mining_remembers_the_hardest() -> None:
    """With few samples a round, what was found before stays unless something harder turns up."""
    positions, query, reference = world()
    mining = build_sampler(
        "full",
        {"queries": N, "negatives": 2, "samples": 12},
        positions=positions,
        batch_size=SIZE,
        seed=1,
    )
    assert isinstance(mining, TupleSampler)
    mining.update(np.arange(N), query, reference)

    def hardness(number: int) -> np.ndarray:
        mined = mining.tuples(number)
        far = ((reference[mined.negatives] - query[mined.queries][:, None]) ** 2).sum(2).mean(1)
        return far[np.argsort(mined.queries)]

    first = hardness(1)
    for number in range(2, 6):
        then = hardness(number)
        assert (then <= first + 1e-6).all()
        first = then


def test_too_few_negatives_are_explained() -> None:
    _, query, reference = world()
    mining = sampler("partial", soft_m=5000.0)
    mining.update(np.arange(N), query, reference)
    with pytest.raises(TrainingError, match="0 negatives"):
        mining.epoch(1)


def test_who_asks_for_nonsense_is_told() -> None:
    positions, _, _ = world()
    with pytest.raises(TrainingError, match="no mining"):
        build_sampler("easy", positions=positions, batch_size=4, seed=1)
    with pytest.raises(TrainingError, match="fewer than a batch"):
        build_sampler("random", positions=positions, batch_size=100, seed=1)
    with pytest.raises(TrainingError, match="even size"):
        build_sampler("hard", positions=positions, batch_size=5, seed=1)
    with pytest.raises(TrainingError, match="topp"):
        build_sampler("hard", {"topp": 1}, positions=positions, batch_size=4, seed=1)
