"""Training pairs of a town, rendered once and kept as arrays that a trainer maps into memory.

Layout of ``FOLDER/town-SEED/``: ``ortho.npy`` uint8 [H, W, 3] (row 0 north, 0.5 m a pixel), ``panoramas.npy`` uint8
[N, 144, 512, 3] (360 degrees by +50..-50 degrees of elevation, centre column north), ``positions.npy`` float32 [N, 2]
(metres east of the left edge and south of the top edge of the orthophoto), ``meta.json``, written last.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from engine.files import write_json
from engine.progress import Report, silent
from engine.world.camera import panorama, set_stage
from engine.world.ground import paint_ground
from engine.world.orthophoto import render_orthophoto
from engine.world.town import make_town

RESOLUTION_M = 0.5
TOP_DEG, BOTTOM_DEG = 50.0, -50.0
ROWS, COLUMNS = 144, 512
EDGE_M = 72.0
"""Positions keep this far from the orthophoto's edge, so that a whole tile can be cut around them."""


def town_folder(folder: Path, seed: int) -> Path:
    """Where a town's arrays are."""
    return folder / f"town-{seed}"


def make_training_town(
    folder: Path,
    seed: int,
    area_km2: float,
    pairs: int,
    split: str = "train",
    report: Report = silent,
) -> Path:
    """Render a town's pairs into ``folder`` unless they are there already; returns the town's folder."""
    out = town_folder(folder, seed)
    if (out / "meta.json").exists():
        return out
    out.mkdir(parents=True, exist_ok=True)
    side = float(np.sqrt(area_km2) * 1000)
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
        out / "meta.json",
        {
            "seed": seed,
            "split": split,
            "pairs": pairs,
            "resolution_m": RESOLUTION_M,
            "width_m": size,
            "height_m": size,
            "panorama_top_deg": TOP_DEG,
            "panorama_bottom_deg": BOTTOM_DEG,
        },
    )
    return out
