"""The aerial image: painted ground, roofs lit by one sun, crowns, cars, shadows."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

from engine.world.ground import Canvas, corners, noise_tile, paint_ground, standing_heights
from engine.world.light import Sun, shadow_height
from engine.world.model import Box, Kind, Roof, Species, Town, Tree

U8 = NDArray[np.uint8]
F32 = NDArray[np.floating[Any]]


def _lit(
    colour: tuple[float, float, float], normal: tuple[float, float, float], sun: Sun
) -> tuple[int, int, int]:
    """A surface's colour under the sun, without cast shadow."""
    d = sun.direction
    direct = max(0.0, normal[0] * d[0] + normal[1] * d[1] + normal[2] * d[2]) * sun.strength
    level = (0.45 + 0.85 * direct) * 255 / (0.45 + 0.85 * sun.strength * d[2])
    return tuple(int(np.clip(c * level, 0, 255)) for c in colour)  # type: ignore[return-value]


def _draw_roof(draw: ImageDraw.ImageDraw, canvas: Canvas, box: Box, sun: Sun) -> None:
    colour = (box.roof_r, box.roof_g, box.roof_b)
    c, s = np.cos(box.angle), np.sin(box.angle)

    def ground(local: list[tuple[float, float]]) -> list[tuple[float, float]]:
        p = np.array(local)
        return canvas.points(
            np.stack([box.x + p[:, 0] * c - p[:, 1] * s, box.y + p[:, 0] * s + p[:, 1] * c], axis=1)
        )

    def slope(nx: float, ny: float, pitch: float) -> tuple[float, float, float]:
        k = 1 / np.hypot(1, pitch)
        return (nx * c - ny * s) * pitch * k, (nx * s + ny * c) * pitch * k, k

    hx, hy, rise = box.half_x, box.half_y, box.ridge - box.eave
    if box.roof in (Roof.GABLE, Roof.HIP) and rise > 0.2:
        inset = min(hy, hx * 0.98) if box.roof == Roof.HIP else 0.0
        pitch = rise / hy
        draw.polygon(
            ground([(-hx, -hy), (hx, -hy), (hx - inset, 0), (-hx + inset, 0)]),
            fill=_lit(colour, slope(0, -1, pitch), sun),
        )
        draw.polygon(
            ground([(-hx, hy), (hx, hy), (hx - inset, 0), (-hx + inset, 0)]),
            fill=_lit(colour, slope(0, 1, pitch), sun),
        )
        if inset:
            draw.polygon(
                ground([(-hx, -hy), (-hx, hy), (-hx + inset, 0)]),
                fill=_lit(colour, slope(-1, 0, rise / inset), sun),
            )
            draw.polygon(
                ground([(hx, -hy), (hx, hy), (hx - inset, 0)]),
                fill=_lit(colour, slope(1, 0, rise / inset), sun),
            )
        return
    normal = slope(0, 1, rise / (2 * hy)) if box.roof == Roof.SHED else (0.0, 0.0, 1.0)
    lit = _lit(colour, normal, sun)
    draw.polygon(ground([(-hx, -hy), (hx, -hy), (hx, hy), (-hx, hy)]), fill=lit)
    if (
        box.kind in (Kind.SHOP, Kind.BLOCK, Kind.INDUSTRY)
        and box.roof == Roof.FLAT
        and min(hx, hy) > 2
    ):
        edge = tuple(min(255, int(v * 1.18)) for v in lit)
        draw.polygon(ground([(-hx, -hy), (hx, -hy), (hx, hy), (-hx, hy)]), outline=edge, width=2)


def _crown(
    rng: np.random.Generator, species: int, sun: Sun, size: int = 64
) -> tuple[F32, Image.Image]:
    """Light over a crown seen from above, [size, size], and its mask."""
    y, x = (np.mgrid[0:size, 0:size] + 0.5) / size * 2 - 1
    noise = noise_tile(rng, size, (3, 5, 9, 16))
    rho = np.hypot(x, y) * (1 + 0.32 * noise)
    d = sun.direction
    z = np.sqrt(np.clip(1 - np.minimum(rho, 1) ** 2, 0, 1))
    if species == Species.CONIFER:
        rho = np.hypot(x, y) * (1 + 0.25 * np.cos(np.arctan2(y, x) * 9 + noise * 3))
        z = 0.6 * np.ones_like(z)
    level = (
        0.5 + 0.75 * sun.strength * np.clip(x * d[0] - y * d[1] + z * d[2], 0, None) + 0.28 * noise
    )
    mask = Image.fromarray(np.uint8(255 * np.clip((1 - rho) * 8, 0, 1)))
    return np.asarray(level, np.float32), mask


def _draw_trees(image: Image.Image, canvas: Canvas, town: Town, sun: Sun) -> None:
    rng = np.random.default_rng([town.seed, 2])
    stamps = {s: [_crown(rng, s, sun) for _ in range(6)] for s in (0, 1, 2, 3)}
    masks: dict[tuple[int, int, int], Image.Image] = {}
    for tree in sorted(town.trees, key=lambda t: t.height):
        level, mask = stamps[tree.species][int(tree.style) % 6]
        size = max(2, round(2 * tree.radius * 1.1 / canvas.resolution))
        key = (tree.species, int(tree.style) % 6, size)
        if key not in masks:
            masks[key] = mask.resize((size, size), Image.Resampling.BOX)
        image.paste(_coloured(tree, level, size), _corner(canvas, tree, size), masks[key])


def _coloured(tree: Tree, level: F32, size: int) -> Image.Image:
    step = np.minimum((np.arange(size) * 64) // size, 63)
    tone = level[np.ix_(step, step)]
    colour = np.array([tree.r, tree.g, tree.b], np.float32)
    return Image.fromarray(np.uint8(np.clip(tone[..., None] * colour * 255, 0, 255)))


def _corner(canvas: Canvas, tree: Tree, size: int) -> tuple[int, int]:
    c = (tree.x + canvas.half) / canvas.resolution - size / 2
    r = (canvas.half - tree.y) / canvas.resolution - size / 2
    return round(c), round(r)


def render_orthophoto(
    town: Town, resolution_m: float, sun: Sun | None = None, ground: U8 | None = None
) -> tuple[U8, Sun]:
    """The whole town from above, [S, S, 3] uint8 with row 0 north, and the sun it was taken under."""
    rng = np.random.default_rng([town.seed, 3])
    sun = sun or Sun(
        float(rng.choice([rng.uniform(-75, 75), rng.uniform(20, 70)])) % 360,
        float(rng.uniform(35, 62)),
        float(rng.uniform(0.6, 1.0)),
    )
    canvas = Canvas(town.half_m, resolution_m)
    ground = paint_ground(town, resolution_m) if ground is None else ground
    heights = standing_heights(town, resolution_m)
    shade = shadow_height(heights, resolution_m, sun)

    image = Image.fromarray(ground)
    draw = ImageDraw.Draw(image)
    low = [
        b
        for b in town.boxes + town.passing
        if b.kind in (Kind.CAR, Kind.CABIN, Kind.HEDGE, Kind.FENCE, Kind.CONTAINER)
    ]
    for box in low:
        if box.kind == Kind.CAR:
            draw.polygon(canvas.points(corners(box, 0.12)), fill=(52, 54, 56))
        draw.polygon(
            canvas.points(corners(box)),
            fill=_lit((box.roof_r, box.roof_g, box.roof_b), (0, 0, 1), sun),
        )
    high = [
        b
        for b in town.boxes
        if b.kind not in (Kind.CAR, Kind.CABIN, Kind.HEDGE, Kind.FENCE, Kind.CONTAINER, Kind.POLE)
    ]
    for box in sorted(high, key=lambda b: b.eave):
        _draw_roof(draw, canvas, box, sun)
    roofs_and_ground = np.asarray(image)
    solid = standing_heights(town, resolution_m, trees=False)
    depth = np.clip((shade - solid - 0.9) / 0.6, 0, 1) * sun.strength
    dark = (1 - depth * np.float32(0.62))[..., None] * np.array([1, 1, 1], np.float32) + depth[
        ..., None
    ] * np.array([0, 0.015, 0.05], np.float32)
    image = Image.fromarray(np.uint8(np.clip(roofs_and_ground * dark, 0, 255)))
    _draw_trees(image, canvas, town, sun)
    image = image.filter(ImageFilter.GaussianBlur(0.5 * 0.25 / resolution_m))
    gain = rng.uniform(1.0, 1.3) * rng.normal(1, 0.03, 3)
    pixels = np.asarray(image, np.float32) * gain.astype(np.float32)
    pixels += rng.normal(0, 2.2, (512, 512, 1)).astype(np.float32)[
        np.arange(canvas.size)[:, None] % 512, np.arange(canvas.size)[None] % 512
    ]
    return np.clip(pixels, 0, 255).astype(np.uint8), sun
