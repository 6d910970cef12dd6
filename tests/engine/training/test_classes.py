"""Places as classes, against the rules written out for one image at a time."""

from __future__ import annotations

import numpy as np
import pytest

from engine.training.classes import (
    cosplace_classes,
    eigenplaces_classes,
    focal_point,
    headings_towards,
)


def city(seed: int = 1, count: int = 6000) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    where = rng.uniform(0, 120, (count, 2)) + np.array([544_000.0, 4_177_000.0])
    return where, rng.uniform(0, 360, count)


def test_every_image_has_the_class_of_its_cell_and_sector() -> None:
    where, heading = city()
    classes = cosplace_classes(where, heading, smallest=1, groups=1000)
    assert (classes.labels >= 0).all()
    assert len(classes.sizes) == 5 * 5 * 2
    for i in range(0, len(where), 37):
        key = classes.keys[classes.labels[i]]
        assert key.tolist() == [
            int(where[i, 0] // 10 * 10),
            int(where[i, 1] // 10 * 10),
            int(heading[i] // 30 * 30),
        ]
    assert len(np.unique(classes.keys, axis=0)) == len(classes.keys) == sum(classes.sizes)


def test_classes_of_a_group_are_never_neighbours() -> None:
    where, heading = city()
    classes = cosplace_classes(where, heading, smallest=3)
    assert len(classes.sizes) == 8
    for group in range(8):
        keys = classes.keys[classes.in_group(group)]
        apart = np.abs(keys[:, None] - keys[None])
        apart[..., 2] = np.minimum(apart[..., 2], 360 - apart[..., 2])
        assert set(np.unique(apart[..., :2]) % 50) == {0}
        assert set(np.unique(apart[..., 2]) % 60) == {0}


def test_groups_come_in_the_order_of_their_first_image_and_small_classes_are_left_out() -> None:
    where, heading = city()
    classes = cosplace_classes(where, heading, smallest=5, groups=3)
    counts: dict[tuple[int, ...], int] = {}
    keys = [
        (int(e // 10 * 10), int(n // 10 * 10), int(h // 30 * 30))
        for (e, n), h in zip(where.tolist(), heading.tolist(), strict=True)
    ]
    for key in keys:
        counts[key] = counts.get(key, 0) + 1
    groups: dict[tuple[int, ...], set[tuple[int, ...]]] = {}
    for key in keys:
        if counts[key] >= 5:
            group = (key[0] % 50 // 10, key[1] % 50 // 10, key[2] % 60 // 30)
            groups.setdefault(group, set()).add(key)
    first_three = list(groups.values())[:3]
    assert classes.sizes == tuple(len(members) for members in first_three)
    for number, members in enumerate(first_three):
        assert {tuple(k) for k in classes.keys[classes.in_group(number)].tolist()} == members
    for label, key in zip(classes.labels, keys, strict=True):
        assert (label >= 0) == any(key in members for members in first_three)


def test_an_epoch_trains_one_group_and_every_class_alike() -> None:
    where, heading = city()
    classes = cosplace_classes(where, heading, smallest=3, groups=4)
    for epoch in range(1, 6):
        group = classes.in_group((epoch - 1) % 4)
        batches = classes.batches(epoch, 8, 40, seed=1)
        again = classes.batches(epoch, 8, 40, seed=1)
        assert [b.tolist() for b in batches] == [b.tolist() for b in again]
        assert len(batches) == 40
        seen = np.bincount(classes.labels[np.concatenate(batches)], minlength=sum(classes.sizes))
        assert seen.sum() == 320 and seen[group].sum() == 320
        assert np.ptp(seen[group]) <= 2 + 320 // len(group)
    with pytest.raises(ValueError, match="fewer than a batch"):
        classes.batches(1, 10_000, 1, seed=1)


def test_eigenplaces_cells_have_no_heading() -> None:
    where, _ = city()
    classes = eigenplaces_classes(where, smallest=1, groups=100)
    assert classes.keys.shape[1] == 2
    assert len(classes.sizes) == 9
    label = classes.labels[11]
    assert classes.keys[label].tolist() == [int(v // 15 * 15) for v in where[11]]


def test_a_class_along_a_street_looks_across_it_or_along_it() -> None:
    along = np.linspace(-8, 8, 20)
    street = np.stack([along, 0.01 * np.sin(along)], axis=1) + np.array([544_000.0, 4_177_000.0])
    across = focal_point(street, 10.0, 0.0) - street.mean(axis=0)
    assert np.abs(across) == pytest.approx([0, 10], abs=0.1)
    ahead = focal_point(street, 10.0, 90.0) - street.mean(axis=0)
    assert np.abs(ahead) == pytest.approx([10, 0], abs=0.1)


def test_bearings() -> None:
    here = np.zeros((4, 2))
    points = np.array([[0.0, 5.0], [5.0, 0.0], [0.0, -5.0], [-5.0, 0.0]])
    found = [headings_towards(here[:1], point)[0] for point in points]
    assert found == pytest.approx([0, 90, 180, 270])
