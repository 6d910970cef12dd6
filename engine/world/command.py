"""``nadir world``: a whole town on disk, as a dataset whose truth is exact."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from engine.errors import WorldError
from engine.files import atomic_write, write_json
from engine.geo import LocalFrame
from engine.imagery.geotiff import write_orthophoto
from engine.photo.gpano import full_sphere
from engine.photo.projections import View, camera_axes, focal_pixels, perspective_from_panorama
from engine.photo.write import save_jpeg
from engine.progress import Report, silent
from engine.world.camera import Stage, develop, panorama_grid, set_stage, take_view
from engine.world.ground import paint_ground
from engine.world.orthophoto import render_orthophoto
from engine.world.town import MARGIN_M, make_town

CENTRE_LAT, CENTRE_LON = -48.87, -123.39
"""Point Nemo's neighbourhood: the sea for a thousand miles around, so nobody takes the town for a real one."""

ATTRIBUTION = "Port Nemo, a fictional town rendered by Nadir"
LICENCE = "CC0-1.0"
IMAGERY_RESOLUTION_M = 0.25
PANORAMA_SIZE = (1536, 768)
PHOTO_SIZES = ((1024, 768), (1024, 683), (1024, 576))
QUERY_MARGIN_M = 40.0
MAX_AREA_KM2 = 16.0
PHOTO_FOV_DEG = (20.0, 130.0)
MAX_PICTURES = 100_000
_OURS = {"imagery.tif", "panoramas", "photos", "queries.csv", "world.json"}
FIELDS = ("file", "lat", "lon", "heading_deg", "fov_deg", "split", "pitch_deg", "roll_deg")


@dataclass(frozen=True)
class Shot:
    """One picture to take: where, which way, with what camera. ``fov_deg`` 360 is a panorama."""

    file: str
    x: float
    y: float
    heading_deg: float
    fov_deg: float
    pitch_deg: float
    roll_deg: float
    seed: int
    size: tuple[int, int]
    gps: bool


def plan_shots(
    points: NDArray[np.float64],
    seed: int,
    panoramas: int,
    photos: int,
    fov_range: tuple[float, float],
    gps: bool,
) -> list[Shot]:
    """Choose places and cameras for a town's pictures; ``points`` [N, 3]: street positions and directions."""
    rng = np.random.default_rng([seed, 21])
    shots = []
    for i in range(panoramas + photos):
        x, y, street = points[int(rng.integers(len(points)))]
        x, y = x + rng.uniform(-2, 2), y + rng.uniform(-2, 2)
        if i < panoramas:
            heading = float(rng.uniform(0, 360))
            shots.append(
                Shot(
                    f"panoramas/{i:04d}.jpg", x, y, heading, 360.0, 0.0, 0.0, i, PANORAMA_SIZE, gps
                )
            )
            continue
        # People look along a street or at what stands beside it, and rarely hold a camera level.
        along = 90 - np.degrees(street) + float(rng.choice([0, 90, 180, 270]))
        heading = float((along + rng.normal(0, 28)) % 360)
        size = PHOTO_SIZES[int(rng.integers(len(PHOTO_SIZES)))]
        if rng.random() < 0.15:
            size = (size[1], size[0])
        fov = float(rng.uniform(*fov_range))
        pitch, roll = (
            float(np.clip(rng.normal(1.5, 4), -10, 12)),
            float(np.clip(rng.normal(0, 1.6), -5, 5)),
        )
        shots.append(
            Shot(f"photos/{i - panoramas:04d}.jpg", x, y, heading, fov, pitch, roll, i, size, gps)
        )
    return shots


def take_panorama(stage: Stage, shot: Shot) -> NDArray[np.uint8]:
    """Render a full equirectangular picture, [H, W, 3] uint8."""
    rng = np.random.default_rng([stage.town.seed, 31, shot.seed])
    width, height = shot.size
    azimuths, elevations = panorama_grid(width, height, 89.9, -89.9, shot.heading_deg)
    limit = np.float32(np.radians(89.0))
    colours = take_view(
        stage,
        shot.x,
        shot.y,
        azimuths,
        np.clip(elevations, -limit, limit),
        rng,
        eye=float(rng.uniform(2.35, 2.65)),
    )
    return develop(colours, rng)


def take_photo(stage: Stage, shot: Shot) -> NDArray[np.uint8]:
    """Render a perspective photo with its own field of view, pitch and roll, [H, W, 3] uint8.

    Rays are cast over a piece of a panorama finer than the photo, which is then projected through the camera.
    """
    rng = np.random.default_rng([stage.town.seed, 31, shot.seed])
    width, height = shot.size
    focal = focal_pixels(shot.fov_deg, width)
    reach, top, bottom = _seen_span(shot, focal)
    step = float(np.degrees(1 / focal)) / 1.25
    columns, rows = round(reach / step), round((top - bottom) / step)
    azimuths = np.radians(
        shot.heading_deg - reach / 2 + (np.arange(columns) + 0.5) * reach / columns
    ).astype(np.float32)
    elevations = np.radians(top + (np.arange(rows) + 0.5) * (bottom - top) / rows).astype(
        np.float32
    )
    seen = develop(
        take_view(
            stage, shot.x, shot.y, azimuths, elevations, rng, eye=float(rng.uniform(1.6, 2.6))
        ),
        rng,
    )
    piece = View("panorama", reach, top_deg=top, bottom_deg=bottom)
    return perspective_from_panorama(
        seen,
        heading_offset_deg=0.0,
        fov_deg=shot.fov_deg,
        width=width,
        height=height,
        pitch_deg=shot.pitch_deg,
        roll_deg=shot.roll_deg,
        view=piece,
    )


def make_world(
    out: Path,
    seed: int,
    area_km2: float,
    panoramas: int,
    photos: int,
    *,
    fov_range: tuple[float, float] = (90.0, 110.0),
    gps: bool = False,
    report: Report = silent,
) -> None:
    """Write a town: ``imagery.tif``, ``panoramas/``, ``photos/``, ``queries.csv`` and ``world.json``.

    Args:
        out: a folder, made if need be; it must not hold anything else.
        seed: the town's; the same seed gives the same files.
        area_km2: what the imagery covers, a square centred at 48.87° S 123.39° W.
        panoramas, photos: how many of each, at street positions.
        fov_range: horizontal field of view of the photos, degrees, drawn evenly.
        gps: write each picture's position into it, as a telephone would.
    """
    if not 0.02 <= area_km2 <= MAX_AREA_KM2:
        raise WorldError(
            f"an area of {area_km2:g} km² is out of range",
            out,
            f"Choose 0.02 to {MAX_AREA_KM2:g} km²",
        )
    narrow, wide = fov_range
    if not PHOTO_FOV_DEG[0] <= narrow <= wide <= PHOTO_FOV_DEG[1]:
        raise WorldError(
            f"fields of view from {narrow:g}° to {wide:g}° cannot be photographed",
            out,
            f"Give the smaller one first, between {PHOTO_FOV_DEG[0]:g}° and {PHOTO_FOV_DEG[1]:g}°",
        )
    if panoramas + photos > MAX_PICTURES:
        raise WorldError(
            f"{panoramas + photos:,} pictures are too many",
            out,
            f"Ask for at most {MAX_PICTURES:,}",
        )
    facts = {
        "format": "nadir-world",
        "version": 1,
        "seed": seed,
        "area_km2": area_km2,
        "panoramas": panoramas,
        "photos": photos,
        "photo_fov_deg": list(fov_range),
        "gps": gps,
        "imagery_resolution_m": IMAGERY_RESOLUTION_M,
        "attribution": ATTRIBUTION,
        "licence": LICENCE,
    }
    if _made_already(out, facts):
        report(1, 1, "This world is there already")
        return
    for folder in (out, out / "panoramas", out / "photos"):
        folder.mkdir(parents=True, exist_ok=True)
    total = panoramas + photos + 4
    report(0, total, "Building the town")
    side = float(np.sqrt(area_km2)) * 1000
    town = make_town(seed, side)
    points = np.array(town.street_points)
    points = points[np.abs(points[:, :2]).max(axis=1) < max(side / 2 - QUERY_MARGIN_M, side / 4)]
    if not len(points):
        raise WorldError(
            "no street crosses this small town", out, "Ask for a larger area or another seed"
        )
    report(1, total, "Painting the ground")
    ground = paint_ground(town, IMAGERY_RESOLUTION_M)
    report(2, total, "Taking the aerial image")
    ortho, sun = render_orthophoto(town, IMAGERY_RESOLUTION_M, ground=ground)
    margin = round(MARGIN_M / IMAGERY_RESOLUTION_M)
    write_orthophoto(
        out / "imagery.tif",
        ortho[margin:-margin, margin:-margin],
        CENTRE_LAT,
        CENTRE_LON,
        IMAGERY_RESOLUTION_M,
        ATTRIBUTION,
        LICENCE,
    )
    report(3, total, "Setting up cameras")
    stage = set_stage(town, ground, IMAGERY_RESOLUTION_M, suns=6)
    shots = plan_shots(points, seed, panoramas, photos, fov_range, gps)
    _take_all(out, stage, shots, lambda done: report(4 + done, total, "Taking pictures"))
    frame = LocalFrame(CENTRE_LAT, CENTRE_LON)
    with atomic_write(out / "queries.csv", "w") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(FIELDS)
        for s in shots:
            lat, lon = frame.to_wgs84(s.x, s.y)
            writer.writerow(
                [
                    s.file,
                    f"{lat:.8f}",
                    f"{lon:.8f}",
                    f"{s.heading_deg:.3f}",
                    f"{s.fov_deg:.3f}",
                    "test",
                    f"{s.pitch_deg:.3f}",
                    f"{s.roll_deg:.3f}",
                ]
            )
    sunlight = {"azimuth_deg": sun.azimuth, "altitude_deg": sun.altitude}
    write_json(out / "world.json", facts | {"aerial_sun": sunlight})
    report(total, total, "Done")


def _made_already(out: Path, facts: dict[str, object]) -> bool:
    """Whether the same world is there, whole. False for a new folder and for one left half made; others are refused."""
    if not out.exists():
        return False
    if not out.is_dir() or {p.name for p in out.iterdir()} - _OURS:
        raise WorldError(
            "this place is taken by something else", out, "Choose a new or empty folder"
        )
    try:
        before = json.loads((out / "world.json").read_text("utf-8"))
    except (OSError, ValueError):
        return False
    if not isinstance(before, dict) or any(
        before.get(key) != value for key, value in facts.items()
    ):
        raise WorldError(
            "another world is in this folder", out, "Choose a new folder or the same options"
        )
    return True


def _seen_span(shot: Shot, focal: float) -> tuple[float, float, float]:
    """Degrees of azimuth, and the highest and lowest elevation, that a photo's edge reaches, and a little more."""
    width, height = shot.size
    edge = np.linspace(-0.5, 0.5, 41)
    x = np.concatenate([edge, edge, np.full(41, -0.5), np.full(41, 0.5)]) * width
    y = np.concatenate([np.full(41, -0.5), np.full(41, 0.5), edge, edge]) * height
    right, forward, up = camera_axes(shot.pitch_deg, shot.roll_deg)
    rays = x[:, None] * right + focal * forward - y[:, None] * up
    azimuth = np.degrees(np.arctan2(rays[:, 0], rays[:, 1]))
    elevation = np.degrees(np.arcsin(rays[:, 2] / np.linalg.norm(rays, axis=1)))
    reach = 2 * float(np.abs(azimuth).max()) + 3
    return (
        min(360.0, reach),
        min(88.0, float(elevation.max()) + 2),
        max(-88.0, float(elevation.min()) - 2),
    )


def _take_all(out: Path, stage: Stage, shots: list[Shot], done: Callable[[int], None]) -> None:
    """Take every shot, as many at a time as there are cores: NumPy works without the interpreter's lock."""
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        pending = [pool.submit(_save_shot, out, stage, shot) for shot in shots]
        try:
            for count, future in enumerate(pending):
                done(count)
                future.result()
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def _save_shot(out: Path, stage: Stage, shot: Shot) -> None:
    lat, lon = LocalFrame(CENTRE_LAT, CENTRE_LON).to_wgs84(shot.x, shot.y)
    panorama = shot.fov_deg >= 360
    rng = np.random.default_rng([stage.town.seed, 41, shot.seed])
    save_jpeg(
        out / shot.file,
        take_panorama(stage, shot) if panorama else take_photo(stage, shot),
        int(rng.integers(72, 96)),
        gpano=full_sphere(*shot.size, heading_deg=shot.heading_deg) if panorama else None,
        fov_deg=None if panorama else shot.fov_deg,
        camera="Nadir rendered camera",
        latitude=float(lat) if shot.gps else None,
        longitude=float(lon) if shot.gps else None,
        heading_deg=shot.heading_deg if shot.gps else None,
    )
