"""Training pairs of a town, rendered once and kept as arrays that a trainer maps into memory.

Layout of ``FOLDER/town-SEED/``: ``ortho.npy`` uint8 [H, W, 3] (row 0 north, 0.5 m a pixel), ``panoramas.npy`` uint8
[N, 144, 512, 3] (360 degrees by +50..-50 degrees of elevation, centre column north), ``positions.npy`` float32 [N, 2]
(metres east of the left edge and south of the top edge of the orthophoto), ``meta.json``, written last.

A town belongs to what was asked for: seed, area, number of pairs (the panoramas are drawn in one go, so the first of
many are not those of few) and split. Where ``town-SEED`` is another town already, the one that is asked for gets a
folder of its own, named by what is particular to it.
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image

from engine.files import write_json
from engine.progress import Report, silent
from engine.world.camera import panorama, set_stage
from engine.world.ground import paint_ground
from engine.world.orthophoto import render_orthophoto
from engine.world.town import MARGIN_M, make_town

META = "meta.json"
RESOLUTION_M = 0.5
TOP_DEG, BOTTOM_DEG = 50.0, -50.0
ROWS, COLUMNS = 144, 512
EDGE_M = 72.0
"""Positions keep this far from the orthophoto's edge, so that a whole tile can be cut around them."""

_GROUND_S_PER_KM2, _PAIR_S = (
    11.5,
    0.0235,
)  # seconds of one core of the machine that the README's figures are from


def town_folder(folder: Path, seed: int) -> Path:
    """Where a town's arrays are, unless another town of its seed is there."""
    return folder / f"town-{seed}"


@dataclass(frozen=True)
class TownAsked:
    """All that decides a rendered town."""

    seed: int
    split: Literal["train", "validation"]
    pairs: int
    area_km2: float

    @property
    def side_m(self) -> float:
        """The side of the square that it fills, without the ground about it."""
        return float(np.sqrt(self.area_km2) * 1000)


def is_there(town: Path) -> bool:
    """Whether a town's folder holds a finished one."""
    return (town / META).is_file()


def fits(town: Path, asked: TownAsked) -> bool:
    """Whether a folder holds the very town that is asked for, whichever version of the program has rendered it.

    Earlier ones did not note the area: there the orthophoto's width tells it.
    """
    try:
        meta = json.loads((town / META).read_text("utf-8"))
        width = float(meta["width_m"])
        area = meta.get("area_km2")
        return (
            (meta["seed"], meta["split"], meta["pairs"]) == (asked.seed, asked.split, asked.pairs)
            and float(meta["resolution_m"]) == RESOLUTION_M
            and float(meta["panorama_top_deg"]) == TOP_DEG
            and float(meta["panorama_bottom_deg"]) == BOTTOM_DEG
            and abs(width - (asked.side_m + 2 * MARGIN_M)) < RESOLUTION_M
            and (area is None or float(area) == asked.area_km2)
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return False


def place_of(folder: Path, asked: TownAsked) -> Path:
    """Where the town that is asked for is, else where it is to be rendered without touching another."""
    usual = town_folder(folder, asked.seed)
    if fits(usual, asked):
        return usual
    for other in sorted(folder.glob(f"town-{asked.seed}-*")):
        if fits(other, asked):
            return other
    if not is_there(usual):
        return usual
    name = f"{usual.name}-{asked.split}-{asked.pairs}-{asked.area_km2:g}km2"
    number, own = 1, folder / name
    while is_there(own):
        number += 1
        own = folder / f"{name}-{number}"
    return own


def rough_seconds(asked: TownAsked) -> float:
    """About how long one core takes to render a town."""
    ground_km2 = (asked.side_m + 2 * MARGIN_M) ** 2 / 1e6
    return _GROUND_S_PER_KM2 * ground_km2 + _PAIR_S * asked.pairs


def seconds_taken(town: Path) -> tuple[float, float] | None:
    """How long a finished town took to render, and how long it was reckoned to take; None where that is not noted."""
    try:
        meta = json.loads((town / META).read_text("utf-8"))
        asked = TownAsked(
            int(meta["seed"]), meta["split"], int(meta["pairs"]), float(meta["area_km2"])
        )
        return float(meta["seconds"]), rough_seconds(asked)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def make_training_town(
    folder: Path,
    seed: int,
    area_km2: float,
    pairs: int,
    split: Literal["train", "validation"] = "train",
    report: Report = silent,
) -> Path:
    """Render a town's pairs into ``folder`` unless they are there already; returns the town's folder."""
    asked = TownAsked(seed, split, pairs, area_km2)
    out = place_of(folder, asked)
    return out if is_there(out) else render_training_town(out, asked, report)


def render_training_town(out: Path, asked: TownAsked, report: Report = silent) -> Path:
    """Render a town's pairs into a folder of its own; what is there of an unfinished one is made anew."""
    seed, pairs, side = asked.seed, asked.pairs, asked.side_m
    began = time.perf_counter()
    out.mkdir(parents=True, exist_ok=True)
    report(0, pairs, f"Town {seed}: building")
    town = make_town(seed, side)
    ground = paint_ground(town, RESOLUTION_M / 2)
    ortho, _ = render_orthophoto(town, RESOLUTION_M / 2, ground=ground)
    image = Image.fromarray(ortho)
    np.save(out / "ortho.npy", np.asarray(image.reduce(2)))
    stage = set_stage(town, ground, RESOLUTION_M / 2, suns=8)
    rng = np.random.default_rng([seed, 11])
    points = np.array(town.street_points)[:, :2]
    points = points[np.abs(points).max(axis=1) < town.half_m - EDGE_M]
    chosen = (
        rng.permutation(len(points))[:pairs]
        if len(points) >= pairs
        else rng.integers(len(points), size=pairs)
    )
    places = points[chosen] + rng.uniform(-2.5, 2.5, (pairs, 2))
    pictures = np.lib.format.open_memmap(
        out / "panoramas.npy", "w+", np.uint8, (pairs, ROWS, COLUMNS, 3)
    )
    for i, (x, y) in enumerate(places):
        report(i, pairs, f"Town {seed}: panoramas")
        pictures[i] = panorama(
            stage, x, y, rng, width=COLUMNS, height=ROWS, top_deg=TOP_DEG, bottom_deg=BOTTOM_DEG
        )
    pictures.flush()
    size = image.width / 2 * RESOLUTION_M
    np.save(
        out / "positions.npy",
        np.stack([places[:, 0] + town.half_m, town.half_m - places[:, 1]], axis=1).astype(
            np.float32
        ),
    )
    write_json(
        out / META,
        {
            "seed": seed,
            "split": asked.split,
            "pairs": pairs,
            "area_km2": asked.area_km2,
            "resolution_m": RESOLUTION_M,
            "width_m": size,
            "height_m": size,
            "panorama_top_deg": TOP_DEG,
            "panorama_bottom_deg": BOTTOM_DEG,
            "seconds": round(time.perf_counter() - began, 2),
        },
    )
    return out
