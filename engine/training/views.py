"""Photos made from cached panoramas: panoramas and cameras drawn straight onto the canvas.

A camera's photo is not made first and then projected: for each canvas pixel the ray of the camera that the program
will assume (level, with the field of view it believes) is followed to the picture, from there along the ray of the
camera that took it (tilted, with its true field of view) to the panorama: one warp, averaged over 2 x 2 samples.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from engine.photo.projections import camera_axes
from engine.training.sections import CanvasSection, QuerySection

_SAMPLES = 2
FloatArray = NDArray[np.float64]
Edges = tuple[float, float]
"""Elevations of a panorama's upper and lower edge, degrees."""


@dataclass(frozen=True)
class Cameras:
    """N photos to take. Angles in degrees; conventions of :mod:`engine.photo.projections`.

    Attributes:
        full: bool, panoramas (the fields of view and aspects mean nothing then).
        heading_deg: where the centre column looks.
        pitch_deg, roll_deg: the camera's tilt, which nobody corrects.
        fov_deg: the true horizontal field of view; assumed_fov_deg: the one believed when it is projected.
        aspect: width over height.
    """

    full: NDArray[np.bool_]
    heading_deg: FloatArray
    pitch_deg: FloatArray
    roll_deg: FloatArray
    fov_deg: FloatArray
    assumed_fov_deg: FloatArray
    aspect: FloatArray

    def pick(self, index: NDArray[np.int64]) -> Cameras:
        """Some of them."""
        return Cameras(*(getattr(self, name)[index] for name in Cameras.__dataclass_fields__))

    def __len__(self) -> int:
        return len(self.full)


def draw_cameras(query: QuerySection, count: int, rng: np.random.Generator) -> Cameras:
    """Draw photos as the recipe says."""
    full = rng.random(count) < query.full_share
    heading = rng.uniform(0.0, 360.0, count) * (query.heading == "any")
    pitch = np.clip(rng.normal(0.0, query.pitch_std, count), -query.pitch_max, query.pitch_max)
    roll = rng.normal(0.0, query.roll_std, count)
    tilted = rng.random(count) < query.tilted_share
    for angle in (pitch, roll):
        angle[full] = np.where(tilted, rng.normal(0.0, query.tilt_std, count), 0.0)[full]
    aspect = rng.choice(np.array(query.aspects), count)
    if query.fov_min < query.fov_max:
        fov = rng.triangular(query.fov_min, query.fov_mode, query.fov_max, count)
    else:
        fov = np.full(count, query.fov_min)
    # Held upright, the same lens sees a narrower field across.
    upright = aspect < 1
    fov[upright] = np.degrees(2 * np.arctan(np.tan(np.radians(fov[upright]) / 2) * aspect[upright]))
    fov = np.maximum(fov, min(query.fov_min, 50.0))
    assumed = np.clip(fov * np.exp(rng.normal(0.0, query.fov_error, count)), 30.0, 140.0)
    return Cameras(full, heading, pitch, roll, fov, assumed, aspect)


def panorama_canvases(
    panoramas: NDArray[np.uint8], cameras: Cameras, canvas: CanvasSection, edges: Edges
) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """Level panoramas [N, h, w, 3] on canvases, area-averaged; turned to the heading by whole source columns."""
    height, width = panoramas.shape[1:3]
    columns = np.rint(cameras.heading_deg * width / 360.0).astype(np.int64)
    # Rounding is under half a column, a thirtieth of a block: less than the target can show.
    turned = np.stack(
        [np.roll(p, -int(c), axis=1) for p, c in zip(panoramas, columns, strict=True)]
    )
    rows = torch.from_numpy(
        _area_rows(height, edges, canvas.height, (canvas.top_deg, canvas.bottom_deg))
    )
    drawn = torch.matmul(rows, torch.from_numpy(turned).float().flatten(2))
    drawn = drawn.unflatten(2, (canvas.width, width // canvas.width, 3)).mean(3)
    pixels = drawn.add_(0.5).clamp_(0, 255).to(torch.uint8).numpy()
    return pixels, np.ones(pixels.shape[:3], bool)


def perspective_canvases(
    panoramas: NDArray[np.uint8], cameras: Cameras, canvas: CanvasSection, edges: Edges
) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """Cameras' photos, or tilted panoramas, on canvases.

    Returns:
        uint8 [N, H, W, 3], 0 where nothing is seen, and the mask bool [N, H, W]. All of ``cameras`` must be of one
        kind.
    """
    full = bool(cameras.full.all())
    columns = _columns(cameras, canvas, full)
    x, y, azimuth, elevation = (
        torch.from_numpy(a)
        for a in _canvas_rays(
            canvas.height, canvas.width, canvas.top_deg, canvas.bottom_deg, columns
        )
    )
    tilt = [
        camera_axes(float(p), float(r))
        for p, r in zip(cameras.pitch_deg, cameras.roll_deg, strict=True)
    ]
    axes = torch.from_numpy(np.array(tilt, np.float32))  # [N, (right, forward, up), 3]
    if full:
        level = torch.cos(elevation)
        ray = torch.stack(
            [level * torch.sin(azimuth), level * torch.cos(azimuth), torch.sin(elevation)]
        )
        seen = torch.ones((len(cameras), *x.shape), dtype=torch.bool)
        ray = ray.expand(len(cameras), -1, -1, -1)
    else:
        assumed = torch.from_numpy(
            np.tan(np.radians(cameras.assumed_fov_deg) / 2).astype(np.float32)
        )
        true = torch.from_numpy(np.tan(np.radians(cameras.fov_deg) / 2).astype(np.float32))
        high = assumed / torch.from_numpy(cameras.aspect.astype(np.float32))
        seen = (x.abs() <= assumed[:, None, None]) & (y.abs() <= high[:, None, None])
        ratio = (true / assumed)[:, None, None]
        ray = torch.stack(
            [x * ratio, torch.ones_like(x).expand(len(cameras), -1, -1), y * ratio], dim=1
        )
    world = torch.einsum("nahw,nac->nchw", ray, axes)
    turn = (
        torch.atan2(world[:, 0], world[:, 1]) / torch.pi
    )  # -1..1 over the full turn, 0 at the heading
    rise = torch.rad2deg(torch.atan2(world[:, 2], torch.hypot(world[:, 0], world[:, 1])))
    grid = torch.stack([turn, 1 - 2 * (rise - edges[1]) / (edges[0] - edges[1])], dim=3)
    # grid_sample knows no full turn: the panorama is rolled to have the heading in its middle instead, and a
    # camera, which sees less than half a turn, needs the middle half only.
    width = panoramas.shape[2]
    exact = cameras.heading_deg * width / 360.0
    whole = np.rint(exact).astype(np.int64)
    grid[..., 0] += torch.from_numpy(((exact - whole) * 2 / width).astype(np.float32))[
        :, None, None
    ]
    margin = 0 if full else width // 4
    if margin:
        grid[..., 0] *= width / (width - 2 * margin)
    turned = np.stack([_middle(p, int(c), margin) for p, c in zip(panoramas, whole, strict=True)])
    source = torch.from_numpy(turned).permute(0, 3, 1, 2).float()
    fine = F.grid_sample(source, grid, mode="bilinear", padding_mode="border", align_corners=False)
    weight = seen[:, None].float()
    count = _mean_of_four(weight)
    mean = _mean_of_four(fine.mul_(weight)) / count.clamp_min(0.25)
    mask = count[:, 0] >= 0.5
    mean = (
        (mean * mask[:, None]).add_(0.5).clamp_(0, 255).to(torch.uint8).permute(0, 2, 3, 1).numpy()
    )
    pixels = np.zeros((len(cameras), canvas.height, canvas.width, 3), np.uint8)
    seen_pixels = np.zeros(pixels.shape[:3], bool)
    first = (canvas.width - columns) // 2
    pixels[:, :, first : first + columns] = mean
    seen_pixels[:, :, first : first + columns] = mask.numpy()
    return pixels, seen_pixels


def _mean_of_four(x: torch.Tensor) -> torch.Tensor:
    """2 x 2 averages; twice as fast here as the pooling operator."""
    rows = x[..., 0::2, :] + x[..., 1::2, :]
    return (rows[..., 0::2] + rows[..., 1::2]).mul_(0.25)


def _middle(panorama: NDArray[np.uint8], column: int, margin: int) -> NDArray[np.uint8]:
    """A panorama turned to have ``column`` (from its centre) in the middle, less a margin on both sides."""
    width = panorama.shape[1]
    return panorama[:, (np.arange(margin, width - margin) + column) % width]


def seen_blocks(mask: NDArray[np.bool_], blocks: int) -> NDArray[np.float32]:
    """:func:`engine.photo.projections.seen_blocks` for many masks [N, H, W]: [N, K]."""
    columns = 4 * np.count_nonzero(mask, axis=1) >= mask.shape[1]
    return columns.reshape(len(mask), blocks, -1).mean(axis=2).astype(np.float32)


def _columns(cameras: Cameras, canvas: CanvasSection, full: bool) -> int:
    """How many columns about the middle can be seen at all; few sizes, so that their rays stay cached."""
    if full:
        return canvas.width
    widest = float(cameras.assumed_fov_deg.max()) / 360.0 * canvas.width
    return min(canvas.width, 2 * int(np.ceil((widest / 2 + 1) / 8) * 8))


@lru_cache(maxsize=32)
def _canvas_rays(
    height: int, width: int, top_deg: float, bottom_deg: float, columns: int
) -> tuple[NDArray[np.float32], ...]:
    """For every sample of the middle columns: x and y on a picture at distance 1, azimuth, elevation (radians)."""
    across = (np.arange(columns * _SAMPLES) + 0.5) / (columns * _SAMPLES) - 0.5
    down = (np.arange(height * _SAMPLES) + 0.5) / (height * _SAMPLES)
    azimuth, elevation = np.meshgrid(
        np.radians(across * columns / width * 360.0),
        np.radians(top_deg - down * (top_deg - bottom_deg)),
    )
    ahead = np.cos(azimuth) > 1e-3
    cos = np.where(ahead, np.cos(azimuth), 1.0)
    x = np.where(ahead, np.sin(azimuth) / cos, 1e6)
    y = np.where(ahead, np.tan(elevation) / cos, 1e6)
    return tuple(np.ascontiguousarray(a, np.float32) for a in (x, y, azimuth, elevation))


@lru_cache(maxsize=8)
def _area_rows(
    source: int, source_edges: Edges, target: int, target_edges: Edges
) -> NDArray[np.float32]:
    """[target, source] weights that average the source rows each target row covers."""
    density = source / (source_edges[0] - source_edges[1])
    step = (target_edges[0] - target_edges[1]) / target
    high = (source_edges[0] - (target_edges[0] - np.arange(target) * step)) * density
    low = high + step * density
    row = np.arange(source)
    overlap = np.minimum(low[:, None], row + 1) - np.maximum(high[:, None], row)
    weights = np.clip(overlap, 0.0, None)
    return (weights / weights.sum(1, keepdims=True)).astype(np.float32)
