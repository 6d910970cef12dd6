"""The ray caster against a slow, obvious marcher, and landmarks at known bearings."""

from __future__ import annotations

import numpy as np
import pytest

from engine.world.camera import open_stage, panorama_grid, take_view
from engine.world.command import Shot, take_photo
from engine.world.light import Sun, shadow_height
from engine.world.model import Box, Kind, Roof, Town, columns_of_boxes, columns_of_trees
from engine.world.orthophoto import render_orthophoto
from engine.world.view import Scene, cast

RED = (0.95, 0.02, 0.02)


def box(x: float, y: float, **changes: float) -> Box:
    values: dict[str, float] = {
        "x": x,
        "y": y,
        "angle": 0.3,
        "half_x": 5,
        "half_y": 3,
        "base": 0,
        "eave": 4,
        "ridge": 7,
        "roof": Roof.GABLE,
        "kind": Kind.CONTAINER,
        "wall_r": RED[0],
        "wall_g": RED[1],
        "wall_b": RED[2],
        "roof_r": RED[0],
        "roof_g": RED[1],
        "roof_b": RED[2],
        "style": 1,
    } | changes
    return Box(**values)  # type: ignore[arg-type]


def roof_height(b: Box, lx: np.ndarray, ly: np.ndarray) -> np.ndarray:
    """Height of a box's top over local points; -1 outside its footprint."""
    rise = b.ridge - b.eave
    inside = (np.abs(lx) <= b.half_x) & (np.abs(ly) <= b.half_y)
    if b.roof == Roof.GABLE:
        top = b.eave + rise * (1 - np.abs(ly) / b.half_y)
    elif b.roof == Roof.HIP:
        inset = min(b.half_y, b.half_x * 0.98)
        top = b.eave + rise * np.minimum(1 - np.abs(ly) / b.half_y, (b.half_x - np.abs(lx)) / inset)
    elif b.roof == Roof.SHED:
        top = b.eave + rise * (1 - ly / b.half_y) / 2
    else:
        top = np.full_like(lx, b.eave)
    return np.where(inside, top, -1.0)


def march(boxes: list[Box], eye: float, azimuth: float, elevation: float) -> float:
    """Distance to the first thing met, by 2 cm steps; infinity for the sky."""
    t = np.arange(0.4, 120, 0.02)
    z = eye + np.tan(elevation) * t
    x, y = np.sin(azimuth) * t, np.cos(azimuth) * t
    hit = z <= 0
    for b in boxes:
        c, s = np.cos(b.angle), np.sin(b.angle)
        lx, ly = (x - b.x) * c + (y - b.y) * s, -(x - b.x) * s + (y - b.y) * c
        top = roof_height(b, lx, ly)
        hit |= (top >= 0) & (z <= top) & (z >= b.base)
    return float(t[np.argmax(hit)]) if hit.any() else np.inf


@pytest.mark.parametrize("roof", list(Roof))
def test_distances_equal_those_of_a_slow_marcher(roof: Roof) -> None:
    rng = np.random.default_rng(int(roof))
    boxes = []
    for _ in range(14):
        angle, far = rng.uniform(0, 6.28), rng.uniform(9, 70)
        eave = rng.uniform(0.8, 7)
        ridge = eave if roof == Roof.FLAT else eave + rng.uniform(1, 4)
        boxes.append(
            box(
                far * np.sin(angle),
                far * np.cos(angle),
                angle=rng.uniform(0, 3),
                half_x=rng.uniform(3, 7),
                half_y=rng.uniform(1, 3),
                eave=eave,
                ridge=ridge,
                roof=roof,
                base=float(rng.choice([0, 0, 0.6])),
            )
        )
    azimuths, elevations = panorama_grid(96, 40, 30, -20)
    hits = cast(
        Scene(columns_of_boxes(boxes), columns_of_trees([])), 0, 0, 2.5, azimuths, elevations
    )
    wrong = 0
    for r in range(0, 40, 3):
        for c in range(0, 96, 3):
            slow = march(boxes, 2.5, float(azimuths[c]), float(elevations[r]))
            fast = float(hits.distance[r, c])
            same = fast > 119 if np.isinf(slow) else abs(fast - slow) < 0.05 + 0.002 * slow
            wrong += not same
    assert wrong <= 2  # rays that graze an edge between two of the marcher's steps


def lonely(*boxes: Box) -> Town:
    town = Town(5, 120.0, boxes=list(boxes), street_points=[(0.0, 0.0, 0.0)])
    from engine.world.model import Patch

    town.patches.append(Patch(np.array([[-1.0, -1], [1, -1], [1, 1], [-1, 1]]), (0.4, 0.4, 0.4), 1))
    return town


def reddest_column(picture: np.ndarray) -> float:
    red = picture[..., 0].astype(float) - picture[..., 1:].max(axis=-1)
    weight = np.clip(red - 0.4 * red.max(), 0, None).sum(axis=0)
    return float((weight * (np.arange(picture.shape[1]) + 0.5)).sum() / weight.sum())


@pytest.mark.parametrize("bearing", [3.0, 60.0, 200.0, 310.0])
def test_a_landmark_stands_at_its_bearing_in_both_views(bearing: float) -> None:
    x, y = 40 * np.sin(np.radians(bearing)), 40 * np.cos(np.radians(bearing))
    town = lonely(
        box(x, y, angle=np.radians(-bearing), half_x=2, half_y=2, eave=9, ridge=9, roof=Roof.FLAT)
    )
    stage = open_stage(town)
    azimuths, elevations = panorama_grid(720, 120, 30, -30)
    colours = take_view(stage, 0, 0, azimuths, elevations, np.random.default_rng(0))
    assert reddest_column(colours) / 2 - 180 == pytest.approx((bearing + 180) % 360 - 180, abs=0.5)
    ortho, _ = render_orthophoto(town, 0.25)
    row, column = round((town.half_m - y) / 0.25), round((x + town.half_m) / 0.25)
    r, g, b = ortho[row, column].astype(int)
    assert r > 2 * max(g, b)


@pytest.mark.parametrize(("pitch", "roll"), [(0, 0), (8, 0), (-6, 4), (5, -5)])
def test_a_photo_shows_a_landmark_where_a_pinhole_camera_would(pitch: float, roll: float) -> None:
    bearing, heading, fov, size = 70.0, 55.0, 80.0, (640, 480)
    x, y = 50 * np.sin(np.radians(bearing)), 50 * np.cos(np.radians(bearing))
    town = lonely(box(x, y, half_x=0.6, half_y=0.6, base=3.0, eave=4.2, ridge=4.2, roof=Roof.FLAT))
    picture = take_photo(
        open_stage(town), Shot("a.jpg", 0, 0, heading, fov, pitch, roll, 1, size, False)
    )
    # The camera's height above the ground is drawn between 1.6 and 2.6 m, so only the bearing is exact here.
    turn = np.radians(bearing - heading)
    ray = np.array([np.sin(turn), np.cos(turn), 1.5 / 50])
    p, q = np.radians(pitch), np.radians(roll)
    forward, upright = np.array([0, np.cos(p), np.sin(p)]), np.array([0, -np.sin(p), np.cos(p)])
    right = np.cos(q) * np.array([1, 0, 0]) - np.sin(q) * upright
    focal = size[0] / 2 / np.tan(np.radians(fov / 2))
    column = size[0] / 2 + focal * (ray @ right) / (ray @ forward)
    assert reddest_column(picture / 255) == pytest.approx(column, abs=4)


def test_a_shadow_falls_away_from_the_sun_by_the_height_over_the_tangent() -> None:
    height = np.zeros((200, 200), np.float32)
    height[95:105, 95:105] = 10.0
    shade = shadow_height(
        height, 0.5, Sun(90, 45, 1.0)
    )  # the sun in the east: the shadow goes west
    row = shade[100]
    assert (row[78:94] > 0.3).all()  # 10 m of shadow: 20 pixels
    assert (row[:73] == 0).all()
    assert (row[107:] == 0).all()
