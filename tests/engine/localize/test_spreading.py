"""Heat maps lie where the preprocessing took the pixels from: what it does to a picture is undone, to the pixel."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from engine.encoder import Branch, project_photo, shape_tiles
from engine.localize.spreading import on_canvas, on_tile, over_photo
from engine.photo.projections import View

SIDE = 80
PHOTO = View("perspective", 70.0)
BRANCH = Branch(
    "g.onnx",
    (64, 64),
    mean=(0.5, 0.5, 0.5),
    std=(0.25, 0.25, 0.25),
    projection="plain",
    tile_pixels=SIDE,
    resize="bilinear",
)
POLAR: dict[str, Any] = {"projection": "polar", "input_size": (64, 256)}
TILES: list[dict[str, Any]] = [
    {},
    {"input_size": (100, 60)},
    {"input_size": (80, 96), "fit": "crop"},
    {"input_size": (48, 96), "fit": "pad"},
    POLAR,
    POLAR | {"polar": "safa"},
    POLAR | {"radii": tuple(np.linspace(0.95, 0.05, 64) ** 1.3)},
]


def spots(count: int = 12) -> list[tuple[float, float]]:
    """Row and column of places on a tile, neither near its middle nor its corners, in pixels."""
    rng = np.random.default_rng(0)
    radius, angle = rng.uniform(14, 22, count), rng.uniform(0, 2 * np.pi, count)
    return list(
        zip(SIDE / 2 + radius * np.cos(angle), SIDE / 2 + radius * np.sin(angle), strict=True)
    )


def tile_with(row: float, column: float) -> np.ndarray:
    """A soft spot about a position, corners of pixels at whole numbers."""
    y, x = np.mgrid[0:SIDE, 0:SIDE] + 0.5
    bright = 255 * np.exp(-((y - row) ** 2 + (x - column) ** 2) / (2 * 2.5**2))
    return np.repeat(bright.astype(np.uint8)[..., None], 3, axis=2)


def middle_of(density: np.ndarray, polar: bool) -> np.ndarray:
    y, x = np.mgrid[0 : density.shape[0], 0 : density.shape[1]] + 0.5
    if polar:  # a ring has as many cells near the middle as far out, so the ground is told of by less there
        density = density * np.hypot(y - SIDE / 2, x - SIDE / 2)
    return np.array([(density * y).sum(), (density * x).sum()]) / density.sum()


@pytest.mark.parametrize("up", ["north", "south"])
@pytest.mark.parametrize("changes", TILES, ids=lambda c: " ".join(str(v) for v in c.values())[:40])
def test_what_lies_on_a_tile_is_marked_there(changes: dict[str, Any], up: Any):
    """Cells as fine as the input: a half pixel's slip of a grid, or a turn the wrong way, would show."""
    branch = replace(BRANCH, **changes)
    off = []
    for row, column in spots():
        seen = shape_tiles(tile_with(row, column)[None], branch, up)[0, ..., 0].astype(np.float32)
        found = middle_of(on_tile(seen, branch, up), branch.projection == "polar")
        off.append(found - (row, column))
    assert np.abs(np.mean(off, axis=0)).max() < 0.1
    about = np.array(spots()) - SIDE / 2
    turned = (np.array(off) * about[:, ::-1] * (1, -1)).sum(axis=1) / np.hypot(*about.T)
    assert abs(turned.mean()) < 0.1
    assert np.abs(off).max() < 0.35


@pytest.mark.parametrize("up", ["north", "south"])
@pytest.mark.parametrize("changes", TILES, ids=lambda c: " ".join(str(v) for v in c.values())[:40])
def test_sums_stay(changes: dict[str, Any], up: Any):
    branch = replace(BRANCH, **changes)
    rows, columns = (8, 32) if branch.projection == "polar" else (8, 8)
    cells = np.random.default_rng(0).random((rows, columns)).astype(np.float32)
    drawn = on_tile(cells, branch, up)
    assert drawn.shape == (SIDE, SIDE)
    if branch.fit == "pad":  # the tile fills the middle half of the columns
        assert drawn.sum() == pytest.approx(cells[:, 2:6].sum(), rel=1e-4)
    else:
        assert drawn.sum() == pytest.approx(cells.sum(), rel=1e-4)


@pytest.mark.parametrize("fit", ["stretch", "pad", "crop"])
@pytest.mark.parametrize(("height", "width"), [(120, 90), (90, 160), (64, 64), (200, 110)])
def test_what_a_photo_shows_is_marked_there(fit: Any, height: int, width: int):
    branch = replace(BRANCH, input_size=(48, 64), fit=fit, resize="bilinear")
    y, x = np.mgrid[0:height, 0:width]
    waves = 127 + 60 * np.sin(y / height * 9) + 60 * np.cos(x / width * 7)
    photo = np.repeat(waves.astype(np.uint8)[..., None], 3, axis=2)
    seen, _ = project_photo(photo, PHOTO, branch)
    values = seen[..., 0].astype(np.float32)
    drawn = over_photo(values, branch, PHOTO, (height, width), (height, width))
    assert drawn.shape == (height, width)
    shown = drawn > 0
    # Whole photos are seen but for what is cropped away: of the longer side, what exceeds the input's shape.
    share = min(height * 64, width * 48) / max(height * 64, width * 48) if fit == "crop" else 1.0
    assert shown.mean() == pytest.approx(share, abs=0.02)
    inner = np.zeros_like(shown)
    inner[8:-8, 8:-8] = True
    assert np.abs(drawn - waves)[shown & inner].max() < 8


def test_a_plain_photo_has_no_neighbours_across_its_edge():
    cells = np.zeros((4, 8), np.float32)
    cells[1, 0] = 1.0
    plain = on_canvas(cells, (32, 64), 0, around=False)
    assert not plain[:, 32:].any() and plain.sum() == pytest.approx(1.0)
    assert on_canvas(cells, (32, 64), 0)[:, 60:].any()
