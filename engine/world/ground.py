"""Rasters of a town: the painted ground, and the heights of what stands on it."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from engine.world.model import Box, Kind, Roof, Species, Town

F32 = NDArray[np.floating[Any]]
U8 = NDArray[np.uint8]


class Canvas:
    """Ground positions to pixels of a square raster of a town around (x, y), row 0 in the north."""

    def __init__(self, half_m: float, resolution_m: float, x: float = 0.0, y: float = 0.0) -> None:
        self.half, self.resolution, self.x, self.y = half_m, resolution_m, x, y
        self.size = round(2 * half_m / resolution_m)

    def points(self, xy: NDArray[np.float64]) -> list[tuple[float, float]]:
        """Pixel coordinates (column, row) for Pillow, whose pixel centres are whole numbers."""
        c = (xy[:, 0] - self.x + self.half) / self.resolution - 0.5
        r = (self.half - xy[:, 1] + self.y) / self.resolution - 0.5
        return list(zip(c.tolist(), r.tolist(), strict=True))


def noise_tile(
    rng: np.random.Generator, size: int = 256, octaves: tuple[int, ...] = (4, 8, 16, 32, 64)
) -> F32:
    """A tileable cloud of value noise, about -1..1, [size, size]."""
    total = np.zeros((size, size), np.float32)
    for n in octaves:
        grid = rng.normal(size=(n, n)).astype(np.float32)
        at = np.arange(size) * n / size
        low = at.astype(int) % n
        high = (low + 1) % n
        f = (at - np.floor(at)).astype(np.float32)
        f = f * f * (3 - 2 * f)
        rows = grid[low] * (1 - f)[:, None] + grid[high] * f[:, None]
        total += (rows[:, low] * (1 - f) + rows[:, high] * f) * (1.0 if n < 16 else 0.6)
    return total / np.float32(np.abs(total).max())


def corners(
    box: Box, grow: float = 0.0, share_x: float = 1.0, share_y: float = 1.0
) -> NDArray[np.float64]:
    """Ground corners of a box's footprint, [4, 2], optionally grown or shrunk."""
    hx, hy = box.half_x * share_x + grow, box.half_y * share_y + grow
    c, s = np.cos(box.angle), np.sin(box.angle)
    local = np.array([[-hx, -hy], [hx, -hy], [hx, hy], [-hx, hy]])
    return np.stack(
        [box.x + local[:, 0] * c - local[:, 1] * s, box.y + local[:, 0] * s + local[:, 1] * c],
        axis=1,
    )


def paint_ground(town: Town, resolution_m: float) -> U8:
    """The bare ground's colours, [S, S, 3]: lawns, streets, markings; no light, nothing that stands."""
    canvas = Canvas(town.half_m, resolution_m)
    rng = np.random.default_rng([town.seed, 1])
    image = Image.new("RGB", (canvas.size, canvas.size), (86, 108, 56))
    grain = Image.new("L", (canvas.size, canvas.size), 20)
    draw, draw_grain = ImageDraw.Draw(image), ImageDraw.Draw(grain)
    for patch in sorted(town.patches, key=lambda p: p.layer):
        points = canvas.points(patch.points)
        draw.polygon(points, fill=tuple(int(255 * c) for c in patch.colour))
        if patch.layer < 12:
            draw_grain.polygon(points, fill=int(patch.grain * 255))
    texture = noise_tile(rng, 512, (8, 16, 64, 128, 256))
    broad = noise_tile(rng, 512, (3, 5, 9))
    reps = -(-canvas.size // 512)
    fine = np.tile(texture, (reps, reps))[: canvas.size, : canvas.size]
    wide = np.kron(np.tile(broad, (-(-reps // 4),) * 2), np.ones((4, 4), np.float32))[
        : canvas.size, : canvas.size
    ]
    level = 1 + (fine * 2.0 + wide * 1.2) * (np.asarray(grain, np.float32) / 255)
    return np.clip(np.asarray(image) * level[..., None], 0, 255).astype(np.uint8)


def paint_close(town: Town, canvas: Canvas) -> U8:
    """The bare ground of a small square, without grain, for the surroundings of a camera."""
    low, high = town.patch_bounds
    reach = canvas.half + 0.1
    at = np.array([canvas.x, canvas.y])
    near = np.flatnonzero(((low < at + reach) & (high > at - reach)).all(axis=1))
    image = Image.new("RGB", (canvas.size, canvas.size), (86, 108, 56))
    draw = ImageDraw.Draw(image)
    for patch in sorted((town.patches[i] for i in near), key=lambda p: p.layer):
        draw.polygon(canvas.points(patch.points), fill=tuple(int(255 * c) for c in patch.colour))
    return np.asarray(image)


def standing_heights(town: Town, resolution_m: float, trees: bool = True) -> F32:
    """Heights of buildings (roof shapes in steps) and crowns, metres, [S, S]; cars and poles left out."""
    canvas = Canvas(town.half_m, resolution_m)
    image = Image.new("F", (canvas.size, canvas.size), 0.0)
    draw = ImageDraw.Draw(image)
    if trees:
        for tree in town.trees:
            shares = (
                ((1.0, 0.6), (0.7, 0.85), (0.35, 1.0))
                if tree.species != Species.CONIFER
                else ((1.0, 0.25), (0.66, 0.5), (0.33, 0.8))
            )
            for share, tall in shares:
                _disc(draw, canvas, tree.x, tree.y, tree.radius * share, tree.height * tall)
    for box in sorted(town.boxes, key=lambda b: b.eave):
        if box.kind in (Kind.CAR, Kind.CABIN, Kind.POLE):
            continue
        draw.polygon(canvas.points(corners(box)), fill=box.eave)
        if box.ridge > box.eave + 0.3 and box.roof in (Roof.GABLE, Roof.HIP, Roof.SHED):
            for share in (0.75, 0.5, 0.25, 0.08):
                along = (
                    1.0
                    if box.roof != Roof.HIP
                    else max(0.05, 1 - (1 - share) * box.half_y / max(box.half_x, 0.1))
                )
                draw.polygon(
                    canvas.points(corners(box, 0, along, share)),
                    fill=box.eave + (box.ridge - box.eave) * (1 - share),
                )
    return np.asarray(image, np.float32)


def _disc(
    draw: ImageDraw.ImageDraw, canvas: Canvas, x: float, y: float, radius: float, value: float
) -> None:
    c, r = (x + canvas.half) / canvas.resolution - 0.5, (canvas.half - y) / canvas.resolution - 0.5
    q = radius / canvas.resolution
    draw.ellipse((c - q, r - q, c + q, r + q), fill=value)
