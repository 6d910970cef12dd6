"""A batch shows the same place in both views, where the targets say, as the program would show it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from engine.photo.projections import View, perspective_from_panorama, to_canvas
from engine.photo.projections import seen_blocks as seen_by_program
from engine.training.batch import Batch, Part, make_batch
from engine.training.cache import CachedTown, open_towns
from engine.training.recipes import Recipe
from engine.training.sections import (
    BatchSection,
    CanvasSection,
    NetworkSection,
    PhotometricSection,
    QuerySection,
    TileSection,
)
from engine.training.towns import Draw, TownPairs
from engine.training.views import Cameras, panorama_canvases, perspective_canvases, seen_blocks

BLOCKS = Recipe("x", network=NetworkSection(azimuth_blocks=32))
PLAIN = PhotometricSection(0, 0, 0, 0, 0, 0)
EDGES = (50.0, -50.0)


def cameras(**values: float) -> Cameras:
    fields = {
        "full": False,
        "heading_deg": 0.0,
        "pitch_deg": 0.0,
        "roll_deg": 0.0,
        "fov_deg": 90.0,
        "aspect": 4 / 3,
    }
    merged = {**fields, **values}
    merged.setdefault("assumed_fov_deg", merged["fov_deg"])
    return Cameras(
        **{k: np.array([v], bool if k == "full" else np.float64) for k, v in merged.items()}
    )


def smooth_panorama() -> np.ndarray:
    azimuth = np.radians((np.arange(512) + 0.5) * 360 / 512)[None, :]
    elevation = np.radians(50 - (np.arange(144) + 0.5) * 100 / 144)[:, None]
    waves = [
        np.sin(3 * azimuth + 9 * elevation),
        np.cos(5 * azimuth) * np.cos(7 * elevation),
        np.sin(azimuth) + 0 * elevation,
    ]
    return np.rint(127 + 120 * np.stack(waves, axis=2)).astype(np.uint8)


@pytest.mark.parametrize(
    "case",
    [
        {"heading_deg": 37.3},
        {"heading_deg": 200.0, "pitch_deg": 9.0},
        {"heading_deg": 359.0, "roll_deg": -6.0, "fov_deg": 70.0, "aspect": 0.75},
        {
            "heading_deg": 120.0, "pitch_deg": -7.0, "roll_deg": 4.0, "fov_deg": 118.0, "assumed_fov_deg": 112.0,
            "aspect": 16 / 9,
        },
    ],
)  # fmt: skip
def test_cameras_agree_with_the_programs_own_projections(case: dict[str, float]) -> None:
    camera = cameras(**case)
    panorama, canvas = smooth_panorama(), Recipe("x").canvas
    ours, ours_seen = perspective_canvases(panorama[None], camera, canvas, EDGES)
    width = 800
    photo = perspective_from_panorama(
        panorama,
        heading_offset_deg=case["heading_deg"],
        fov_deg=float(camera.fov_deg[0]),
        pitch_deg=float(camera.pitch_deg[0]),
        roll_deg=float(camera.roll_deg[0]),
        width=width,
        height=round(width / float(camera.aspect[0])),
        view=View("panorama", 360.0, top_deg=50.0, bottom_deg=-50.0),
    )
    theirs, theirs_seen = to_canvas(
        photo,
        View("perspective", float(camera.assumed_fov_deg[0])),
        height=canvas.height,
        width=canvas.width,
        top_deg=canvas.top_deg,
        bottom_deg=canvas.bottom_deg,
    )
    assert (ours_seen[0] != theirs_seen).mean() < 0.002
    # Where the panorama ends (50 degrees up or down) the two fill in differently.
    inner = ours_seen[0] & theirs_seen & (theirs.max(axis=2) > 0)
    assert inner.sum() > 500
    difference = np.abs(ours[0].astype(int) - theirs)[inner]
    assert difference.mean() < 1.5
    assert np.quantile(difference, 0.99) <= 6


@pytest.mark.parametrize("tilt", [0.0, 3.0])
def test_panoramas_agree_with_the_programs_own_projection(tilt: float) -> None:
    camera = cameras(full=True, heading_deg=45.0, pitch_deg=tilt, roll_deg=-tilt)
    panorama, canvas = smooth_panorama(), Recipe("x").canvas
    make = perspective_canvases if tilt else panorama_canvases
    ours, seen = make(panorama[None], camera, canvas, EDGES)
    assert seen.all()
    columns = round(45.0 / 360.0 * 512)
    turned = np.roll(panorama, -columns, axis=1)
    # The program levels a tilted panorama; tilting it the other way is the same rotation to first order.
    view = View("panorama", 360.0, -tilt, tilt, top_deg=50.0, bottom_deg=-50.0)
    theirs, known = to_canvas(turned, view, height=64, width=256, top_deg=40.0, bottom_deg=-36.0)
    tolerance = 6.0 if tilt else 1.0
    assert np.abs(ours[0].astype(int) - theirs)[known].mean() < tolerance


def test_seen_blocks_is_the_programs() -> None:
    rng = np.random.default_rng(1)
    masks = rng.random((4, 64, 256)) < rng.random((4, 1, 256)) * 0.5
    for mask, ours in zip(masks, seen_blocks(masks, 32), strict=True):
        np.testing.assert_allclose(ours, seen_by_program(mask, 32))


def landmark_town(tmp_path: Path, bearing_deg: float) -> CachedTown:
    """One place; a red post 20 m away at a bearing, on grey, in the orthophoto and the panorama."""
    ortho = np.full((400, 400, 3), 60, np.uint8)
    angle = np.radians(bearing_deg)
    for metres in np.arange(15.0, 30.0, 0.25):
        x, y = 100 + metres * np.sin(angle), 100 - metres * np.cos(angle)
        ortho[round(y * 2) - 2 : round(y * 2) + 2, round(x * 2) - 2 : round(x * 2) + 2] = (
            250,
            0,
            0,
        )
    panorama = np.full((1, 144, 512, 3), 60, np.uint8)
    column = round((bearing_deg + 180) / 360 * 512)
    panorama[0, 30:100, np.arange(column - 4, column + 4) % 512] = (250, 0, 0)
    return CachedTown(
        tmp_path, "train", 0.5, 50.0, -50.0, ortho, panorama, np.array([[100, 100]], np.float32)
    )


def red_bearing(image: np.ndarray) -> float:
    """Mean direction of the red columns, in blocks of 32, 0..32."""
    red = np.clip(image[0] - image[1], 0, None).sum(axis=0)
    angle = (np.arange(256) + 0.5) / 256 * 2 * np.pi
    mean = np.angle((red * np.exp(1j * angle)).sum())
    return float(mean / (2 * np.pi) * 32 % 32)


@pytest.mark.parametrize("full", [True, False])
@pytest.mark.parametrize("flip", [True, False])
@pytest.mark.parametrize(("bearing", "heading"), [(70.0, 50.0), (-130.0, 250.0), (5.0, 340.0)])
def test_a_landmark_is_where_the_target_says(tmp_path, bearing, heading, flip, full) -> None:
    town = landmark_town(tmp_path, bearing)
    recipe = replace(BLOCKS, photometric=PLAIN, batch=BatchSection(size=2, workers=0))
    one = cameras(full=full, heading_deg=heading)
    both = Cameras(*(np.repeat(getattr(one, n), 2, axis=0) for n in Cameras.__dataclass_fields__))
    zeros = np.zeros(2, np.int64)
    drawn = Draw(
        zeros,
        zeros,
        np.zeros((2, 2)),
        np.array([0, 5]),
        np.array([0, 3]),
        zeros,
        np.array([flip] * 2),
        both,
    )
    batch = TownPairs([town], recipe).render(drawn, np.random.default_rng(0))
    for i in range(2):
        photo, tile = red_bearing(batch.canvases[i].numpy()), red_bearing(batch.tiles[i].numpy())
        apart = (tile - photo - float(batch.shift[i]) + 16) % 32 - 16
        assert abs(apart) < 0.15  # of a block, that is 1.7 degrees
    # The tile itself: the column of the bearing, mirrored when flipped.
    expected = ((-bearing if flip else bearing) + 180) / 360 * 32
    assert abs((red_bearing(batch.tiles[0].numpy()) - expected + 16) % 32 - 16) < 0.15


def test_shapes_and_ranges(towns: Path, tiny: Recipe) -> None:
    batch = made(towns, tiny, 3)
    assert batch.canvases.shape == batch.tiles.shape == (6, 3, 64, 256)
    assert batch.seen.shape == (6, 32) and batch.seen.min() >= 0 and batch.seen.max() <= 1
    assert ((batch.shift >= 0) & (batch.shift < 32)).all()
    assert not batch.too_near.diagonal().any()
    unseen = batch.seen == 0
    blocks = batch.canvases.unflatten(3, (32, 8)).abs().amax(dim=(1, 2, 4))
    assert (
        blocks[unseen] == 0
    ).float().mean() > 0.9  # a sliver of a block may be seen and not count


def made(towns: Path, recipe: Recipe, number: int, part: Part | None = None) -> Batch:
    source = TownPairs(open_towns(towns, "train"), recipe)
    return make_batch(source, recipe.seed, number, recipe.batch.size, part=part or Part())


def test_batches_follow_from_seed_and_number(towns: Path, tiny: Recipe) -> None:
    first, again, other = (made(towns, tiny, n) for n in (4, 4, 5))
    assert (first.canvases == again.canvases).all() and (first.tiles == again.tiles).all()
    assert not (first.shift == other.shift).all()


def test_processes_make_the_parts_of_one_batch(towns: Path, tiny: Recipe) -> None:
    whole = made(towns, tiny, 4)
    parts = [made(towns, tiny, 4, Part(rank, 2)) for rank in range(2)]
    for name in ("canvases", "tiles", "seen"):
        joined = np.concatenate([getattr(part, name).numpy() for part in parts])
        np.testing.assert_array_equal(joined, getattr(whole, name).numpy())
    for name in ("shift", "too_near", "pairs"):
        assert (getattr(parts[1], name) == getattr(whole, name)).all()


def test_a_sampler_may_choose_the_pairs(towns: Path, tiny: Recipe) -> None:
    source = TownPairs(open_towns(towns, "train"), tiny)
    chosen = np.array([0, 40, 24, 3])
    batch = make_batch(source, 1, 0, 6, pairs=chosen)
    assert batch.pairs.tolist() == chosen.tolist()
    assert len(source) == 48 and source.names == ["town-1", "town-2"]
    positions = source.positions()
    assert np.hypot(*(positions[0] - positions[24])) > 1e5  # towns lie far apart


def test_neighbours_are_no_negatives(towns: Path, tiny: Recipe) -> None:
    opened = open_towns(towns, "train")
    source = TownPairs(opened, tiny)
    rng = np.random.default_rng((tiny.seed, 0))
    drawn = source.draw(source.draw_pairs(6, rng), rng)
    batch = source.render(drawn, rng)
    for i in range(6):
        for j in range(6):
            photo = opened[drawn.town[i]].positions[drawn.pair[i]]
            centre = opened[drawn.town[j]].positions[drawn.pair[j]] + drawn.offset_m[j]
            near = (
                drawn.town[i] == drawn.town[j] and np.hypot(*(photo - centre)) < tiny.loss.exclude_m
            )
            assert bool(batch.too_near[i, j]) == (near and i != j)


def test_groups_are_neighbours_of_one_town(towns: Path, tiny: Recipe) -> None:
    how = BatchSection(size=8, towns=1, group_size=4, group_radius_m=30.0)
    source = TownPairs(open_towns(towns, "train"), replace(tiny, batch=how))
    pairs = source.draw_pairs(8, np.random.default_rng(2))
    assert len(set(pairs)) == 8
    assert len(set(pairs // 24)) == 1


@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize("quarters", [0, 1, 3])
def test_plain_tiles_turn_with_their_panoramas(tmp_path: Path, quarters: int, flip: bool) -> None:
    """North-aligned pairs of whole descriptors: the post lies at one bearing in both views, whatever was done."""
    town = landmark_town(tmp_path, 70.0)
    recipe = Recipe(
        "x",
        tile=TileSection(projection="plain", height=100, width=100),
        query=QuerySection(heading="north", full_share=1.0, tilted_share=0.0),
        batch=BatchSection(size=1, workers=0, turn=True),
        photometric=PLAIN,
    )
    zeros = np.zeros(1, np.int64)
    drawn = Draw(
        zeros, zeros, np.zeros((1, 2)), zeros, zeros + quarters * 64, zeros + quarters,
        np.array([flip]), cameras(full=True, heading_deg=0.0),
    )  # fmt: skip
    batch = TownPairs([town], recipe).render(drawn, np.random.default_rng(0))
    image = batch.tiles[0].numpy()
    red = np.clip(image[0] - image[1], 0, None)
    y, x = np.mgrid[0:100, 0:100] - 49.5
    bearing = np.degrees(np.arctan2((red * x).sum(), -(red * y).sum())) % 360
    photo = red_bearing(batch.canvases[0].numpy()) / 32 * 360 - 180
    assert abs((bearing - photo + 180) % 360 - 180) < 3.0
    expected = (-70.0 if flip else 70.0) + 90.0 * quarters
    assert abs((bearing - expected + 180) % 360 - 180) < 3.0


def test_several_extents_are_one_batch(towns: Path, tiny: Recipe) -> None:
    recipe = replace(
        tiny,
        network=replace(tiny.network, azimuth_blocks=1),
        tile=TileSection(
            projection="plain", extents_m=(40.0, 80.0), pixels=40, height=32, width=32
        ),
    )
    batch = made(towns, recipe, 1)
    assert batch.tiles.shape == (6, 2, 3, 32, 32)
    assert not (batch.tiles[:, 0] == batch.tiles[:, 1]).all()


def test_plain_photos_are_what_the_program_makes_of_them(tmp_path: Path) -> None:
    town = landmark_town(tmp_path, 70.0)
    recipe = Recipe(
        "x",
        canvas=CanvasSection(projection="plain", fit="pad", resize="bilinear", height=48, width=64),
        tile=TileSection(projection="plain", height=100, width=100),
        batch=BatchSection(size=1, workers=0, flip=False),
        photometric=PLAIN,
    )
    zeros = np.zeros(1, np.int64)
    drawn = Draw(
        zeros, zeros, np.zeros((1, 2)), zeros, zeros, zeros, np.array([False]),
        cameras(heading_deg=70.0, fov_deg=60.0, aspect=16 / 9),
    )  # fmt: skip
    photo = TownPairs([town], recipe).render(drawn, np.random.default_rng(0)).canvases[0].numpy()
    red = photo[0] - photo[1]
    assert abs(np.argmax(red.sum(axis=0)) - 31.5) <= 1.5  # the post stands in the middle
    black = -recipe.canvas.mean[0] / recipe.canvas.std[0]
    assert np.allclose(photo[:, :5], black) and np.allclose(
        photo[:, -5:], black
    )  # 64 x 36 in 64 x 48
    assert not np.allclose(photo[:, 24], black)
