"""Pictures from street level: panoramas, and perspective photos cut from them with true optics."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.world.builder import Builder, Frame
from engine.world.crowns import draw_trees
from engine.world.facade import wall_colours
from engine.world.ground import Canvas, noise_tile, paint_close, paint_ground, standing_heights
from engine.world.light import Sun, shadow_height
from engine.world.model import Boxes, Kind, Town, columns_of_boxes
from engine.world.view import FAR_M, Hits, Scene, cast

F32 = NDArray[np.floating[Any]]
U8 = NDArray[np.uint8]


FINE_STEP_RAD = 2 * np.pi / 900
"""Views with finer columns than this get the ground around the camera painted again, finer."""
CLOSE_M = 16.0


@dataclass(frozen=True)
class Weather:
    """Light and season of one ground view."""

    sun: Sun
    sky_top: F32
    sky_low: F32
    cloud: float
    haze_m: float
    season: F32  # factor on leaf and grass colours


@dataclass(frozen=True)
class Stage:
    """All that is needed to take pictures in a town: rasters, the scene and a few kinds of weather."""

    town: Town
    scene: Scene
    ground: U8
    resolution_m: float
    shade_resolution_m: float
    weathers: list[Weather]
    shades: list[F32]
    broad: F32
    fine: F32


def set_stage(town: Town, ground: U8, resolution_m: float, suns: int = 4) -> Stage:
    """Prepare a town for pictures. ``ground``: what :func:`paint_ground` gave at ``resolution_m``."""
    rng = np.random.default_rng([town.seed, 4])
    coarse = max(0.5, resolution_m)
    heights = standing_heights(town, coarse)
    weathers = [_weather(rng) for _ in range(suns)]
    shades = [shadow_height(heights, coarse, w.sun) for w in weathers]
    broad, fine = noise_tile(rng, 256, (8, 16, 32)), noise_tile(rng, 256, (64, 128))
    return Stage(town, Scene.of(town), ground, resolution_m, coarse, weathers, shades, broad, fine)


def open_stage(town: Town, resolution_m: float = 0.25) -> Stage:
    """Paint the ground and prepare a town for pictures."""
    return set_stage(town, paint_ground(town, resolution_m), resolution_m)


def _weather(rng: np.random.Generator) -> Weather:
    clear = float(
        rng.choice([0.0, rng.uniform(0.3, 0.7), rng.uniform(0.75, 1.0)], p=[0.25, 0.25, 0.5])
    )
    sun = Sun(float(rng.uniform(-110, 110)) % 360, float(rng.uniform(18, 62)), clear)
    blue = np.array([0.3, 0.5, 0.82], np.float32) * rng.uniform(0.8, 1.2)
    grey = np.array([0.72, 0.74, 0.77], np.float32) * rng.uniform(0.85, 1.1)
    top = blue * clear + grey * (1 - clear)
    low = np.array([0.8, 0.86, 0.93], np.float32) * rng.uniform(0.9, 1.1)
    season = np.array(
        [[1, 1, 1], [1.14, 1.03, 0.85], [1.08, 0.96, 0.85], [0.95, 1.08, 0.95]][
            int(rng.integers(4))
        ],
        np.float32,
    )
    return Weather(
        sun,
        top.astype(np.float32),
        low.astype(np.float32),
        float(rng.uniform(0.2, 1)),
        float(rng.uniform(350, 1500)),
        season,
    )


@dataclass(frozen=True)
class _Look:
    """One view being painted: from where, in which light, along which bearings."""

    stage: Stage
    weather: Weather
    shade: F32
    x: float
    y: float
    sin: F32
    cos: F32
    ambient: F32

    def shaded_to(self, x: F32, y: F32) -> F32:
        """How high the shadow reaches over ground points, metres."""
        canvas = Canvas(self.stage.town.half_m, self.stage.shade_resolution_m)
        return _sample(self.shade, canvas, x, y)


def take_view(
    stage: Stage,
    x: float,
    y: float,
    azimuths: F32,
    elevations: F32,
    rng: np.random.Generator,
    eye: float = 2.5,
) -> F32:
    """Colours (0..1, float32 [R, C, 3]) seen from (x, y) over a grid of bearings and elevations, in radians."""
    pick = int(rng.integers(len(stage.weathers)))
    weather, shade = stage.weathers[pick], stage.shades[pick]
    hits = cast(stage.scene, x, y, eye, azimuths, elevations, _traffic(stage, x, y, rng))
    sin, cos = np.sin(azimuths).astype(np.float32), np.cos(azimuths).astype(np.float32)
    ambient = np.array([1.0, 1.0, 1.0], np.float32) * (0.75 + 0.25 * weather.sun.strength)
    colours = _sky(weather, stage, azimuths, elevations, rng)
    close = None
    if azimuths[1] - azimuths[0] < FINE_STEP_RAD:
        close = (canvas := Canvas(CLOSE_M, 0.05, x, y)), paint_close(stage.town, canvas)
    look = _Look(stage, weather, shade, x, y, sin, cos, ambient)
    _paint_ground_hits(colours, hits, look, close)
    _paint_boxes(colours, hits, look)
    draw_trees(
        colours,
        hits.distance,
        hits.trees,
        x,
        y,
        eye,
        azimuths,
        elevations,
        weather.sun,
        stage.broad,
        stage.fine,
        ambient * weather.season,
    )
    far = hits.distance < FAR_M * 0.5
    veil = np.exp(-hits.distance / weather.haze_m) * far + (~far)
    return colours * veil[..., None] + weather.sky_low * (1 - veil)[..., None]


def _traffic(stage: Stage, x: float, y: float, rng: np.random.Generator) -> Boxes:
    """Cars that happen to pass during this view, on the streets around."""
    points = np.array(stage.town.street_points)
    near = np.flatnonzero(np.abs(np.hypot(points[:, 0] - x, points[:, 1] - y) - 32) < 25)
    town = Town(0, stage.town.half_m)
    builder = Builder(town, lambda u, v: (u, v), rng, None)  # type: ignore[arg-type]
    for i in near[rng.random(len(near)) < 0.06]:
        px, py, angle = points[i]
        builder.car(Frame(px, py, angle), 0, 0)
    return columns_of_boxes(town.boxes)


def _sky(
    weather: Weather, stage: Stage, azimuths: F32, elevations: F32, rng: np.random.Generator
) -> F32:
    """A gradient with clouds on a plane overhead, so that they have no seam; below the horizon, the haze's colour."""
    up = np.sin(np.maximum(elevations, 0)).astype(np.float32)[:, None]
    f = np.sqrt(up)[..., None]
    colours = (
        weather.sky_low * (1 - f)
        + weather.sky_top * f
        + np.zeros((1, len(azimuths), 1), np.float32)
    )
    drift = rng.uniform(0, 256, 2)
    high = np.flatnonzero(elevations > 0)
    reach = (22.0 / np.maximum(np.tan(elevations[high]), 0.06)).astype(np.float32)[:, None]
    u, v = np.sin(azimuths)[None] * reach + drift[0], np.cos(azimuths)[None] * reach + drift[1]
    cover = np.clip((_smooth(stage.broad, v, u) + weather.cloud - 0.55) * 2.2, 0, 1) * np.clip(
        up[high] * 6, 0, 1
    )
    white = np.array([0.95, 0.96, 0.98], np.float32) * (0.7 + 0.3 * weather.sun.strength)
    colours[high] = colours[high] * (1 - cover[..., None]) + white * cover[..., None]
    return colours.astype(np.float32)


def _smooth(tile: F32, rows: F32, columns: F32) -> F32:
    """A repeating tile of 256 x 256 sampled bilinearly."""
    r, c = np.floor(rows), np.floor(columns)
    fr, fc = rows - r, columns - c
    r0, c0 = r.astype(np.int32) & 255, c.astype(np.int32) & 255
    r1, c1 = (r0 + 1) & 255, (c0 + 1) & 255
    top = tile[r0, c0] * (1 - fc) + tile[r0, c1] * fc
    return top * (1 - fr) + (tile[r1, c0] * (1 - fc) + tile[r1, c1] * fc) * fr


def _sample(raster: F32 | U8, canvas: Canvas, x: F32, y: F32) -> F32:
    """A raster [S, S] or [S, S, C] at ground points, bilinear: [N] or [N, C]."""
    c = np.clip((x - canvas.x + canvas.half) / canvas.resolution - 0.5, 0, canvas.size - 1.001)
    r = np.clip((canvas.half - y + canvas.y) / canvas.resolution - 0.5, 0, canvas.size - 1.001)
    c0, r0 = c.astype(np.int32), r.astype(np.int32)
    fc, fr = c - c0, r - r0
    if raster.ndim == 3:
        fc, fr = fc[:, None], fr[:, None]
    flat, at = raster.reshape(-1, *raster.shape[2:]), r0 * canvas.size + c0
    below = at + canvas.size
    top = flat[at] * (1 - fc) + flat[at + 1] * fc
    return top * (1 - fr) + (flat[below] * (1 - fc) + flat[below + 1] * fc) * fr


def _paint_ground_hits(
    colours: F32, hits: Hits, look: _Look, close: tuple[Canvas, U8] | None
) -> None:
    stage, weather = look.stage, look.weather
    rows, cols = np.nonzero((hits.box < 0) & (hits.distance < 900))
    t = hits.distance[rows, cols]
    px, py = look.x + look.sin[cols] * t, look.y + look.cos[cols] * t
    soft = _sample(stage.ground, Canvas(stage.town.half_m, stage.resolution_m), px, py)
    if close is not None:
        canvas, pixels = close
        near = np.flatnonzero(
            np.maximum(np.abs(px - canvas.x), np.abs(py - canvas.y)) < canvas.half - 1
        )
        soft[near] = _sample(pixels, canvas, px[near], py[near])
    grain = stage.fine[
        (py * 20).astype(np.int32) & 255, (px * 20).astype(np.int32) & 255
    ] * np.clip(12 / t, 0, 1)
    soft = soft * (1 / 255) * (1 + 0.13 * grain)[:, None]
    green = (soft[:, 1] > soft[:, 0] * 1.12) & (soft[:, 1] > soft[:, 2] * 1.2)
    soft = np.where(green[:, None], soft * weather.season, soft)
    blocked = np.clip(look.shaded_to(px, py) / 0.8, 0, 1)
    up = weather.sun.direction[2]
    light = 0.55 + 0.75 * weather.sun.strength * up * (1 - blocked)
    colours[rows, cols] = soft * light[:, None] * look.ambient * 1.25


def _paint_boxes(colours: F32, hits: Hits, look: _Look) -> None:
    stage, weather = look.stage, look.weather
    rows, cols = np.nonzero(hits.box >= 0)
    if not len(rows):
        return
    which = hits.box[rows, cols].astype(np.intp)
    face, along, height = hits.face[rows, cols], hits.along[rows, cols], hits.height[rows, cols]
    nx, ny, nz, t = (
        hits.nx[rows, cols],
        hits.ny[rows, cols],
        hits.nz[rows, cols],
        hits.distance[rows, cols],
    )
    b = hits.boxes
    colour = wall_colours(b, which, face, along, height, stage.fine)
    roof = face == 2
    tiles = np.stack([b.roof_r, b.roof_g, b.roof_b], axis=1)[which]
    course = 1 + 0.07 * np.sign(np.sin(height * 16))
    colour = np.where(roof[:, None], tiles * course[:, None], colour)
    leafy = (b.kind[which] == Kind.HEDGE)[:, None]
    leaf = stage.fine[(height * 30).astype(np.int32) & 255, (along * 30).astype(np.int32) & 255]
    colour = np.where(leafy, tiles * weather.season * (0.85 + 0.45 * leaf)[:, None], colour)
    px = look.x + look.sin[cols] * t + nx * 0.8  # just in front of the wall
    py = look.y + look.cos[cols] * t + ny * 0.8
    blocked = np.clip((look.shaded_to(px, py) - height - 0.3) / 0.8, 0, 1)
    d = weather.sun.direction
    facing = np.clip(nx * d[0] + ny * d[1] + nz * d[2], 0, None)
    light = 0.5 + 0.1 * nz + 0.75 * weather.sun.strength * facing * (1 - blocked)
    low = 0.75 + 0.25 * np.clip(height / 1.2, 0, 1)
    colours[rows, cols] = colour * (light * low)[:, None] * look.ambient * 1.15


def develop(colours: F32, rng: np.random.Generator, noise: float = 0.012) -> U8:
    """Expose, balance, tone and add sensor noise: float colours to uint8."""
    gain = rng.uniform(0.85, 1.25) * rng.normal(1, 0.035, 3)
    image = np.clip(colours * gain.astype(np.float32), 0, 1.2)
    image = np.clip(image, 0, 1) ** np.float32(rng.uniform(0.7, 0.95))
    grain = rng.normal(0, noise * rng.uniform(0.3, 1.5), (64, 512)).astype(np.float32)
    r, c = (
        np.arange(image.shape[0])[:, None] * 7 % 64,
        (np.arange(image.shape[1])[None] + 31 * np.arange(image.shape[0])[:, None]) % 512,
    )
    return np.clip((image + grain[r, c][..., None]) * 255, 0, 255).astype(np.uint8)


def panorama_grid(
    width: int, height: int, top_deg: float, bottom_deg: float, heading_deg: float = 0.0
) -> tuple[F32, F32]:
    """Bearings of the columns and elevations of the rows (pixel centres, radians) of an equirectangular picture."""
    azimuths = np.radians(heading_deg - 180 + (np.arange(width) + 0.5) * 360 / width)
    elevations = np.radians(top_deg + (np.arange(height) + 0.5) * (bottom_deg - top_deg) / height)
    return azimuths.astype(np.float32), elevations.astype(np.float32)


def panorama(
    stage: Stage,
    x: float,
    y: float,
    rng: np.random.Generator,
    *,
    width: int,
    height: int,
    top_deg: float = 90.0,
    bottom_deg: float = -90.0,
    heading_deg: float = 0.0,
) -> U8:
    """An equirectangular picture, [height, width, 3] uint8, its centre column looking along ``heading_deg``."""
    azimuths, elevations = panorama_grid(width, height, top_deg, bottom_deg, heading_deg)
    edge = np.radians(89.4)
    return develop(
        take_view(
            stage,
            x,
            y,
            azimuths,
            np.clip(elevations, -edge, edge),
            rng,
            eye=float(rng.uniform(2.35, 2.65)),
        ),
        rng,
    )
