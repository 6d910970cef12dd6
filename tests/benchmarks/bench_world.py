"""How fast a town's pictures are made: ``python -m tests.benchmarks.bench_world``.

The baseline is the plain way to cast a panorama, in the same run: march every ray over the town's raster of heights
in steps of a quarter of a metre. It gives distances only; the renderer's time includes all colours.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import numpy as np

from engine.world.camera import Stage, panorama, panorama_grid, set_stage
from engine.world.ground import paint_ground, standing_heights
from engine.world.orthophoto import render_orthophoto
from engine.world.town import make_town

PLACES = 12
SIZE = (512, 128)


def march(heights: np.ndarray, half_m: float, x: float, y: float) -> np.ndarray:
    """Distances to what the raster shows, by small steps, for every pixel of a panorama."""
    azimuths, elevations = panorama_grid(*SIZE, 45.0, -45.0)
    slope = np.tan(elevations)[:, None]
    distance = np.full((SIZE[1], SIZE[0]), np.inf, np.float32)
    size = len(heights)
    for t in np.arange(0.5, 150.0, 0.25):
        column = ((x + np.sin(azimuths) * t + half_m) / 0.25).astype(int).clip(0, size - 1)
        row = ((half_m - y - np.cos(azimuths) * t) / 0.25).astype(int).clip(0, size - 1)
        hit = (2.5 + slope * t <= heights[row, column][None]) & np.isinf(distance)
        distance[hit] = t
    return distance


def median_ms(work: Callable[[float, float], object], places: np.ndarray) -> float:
    """Median time of a piece of work over places, milliseconds."""
    times = []
    for x, y in places:
        start = time.perf_counter()
        work(float(x), float(y))
        times.append(1000 * (time.perf_counter() - start))
    return statistics.median(times)


def main() -> None:
    """Print the table."""
    start = time.perf_counter()
    town = make_town(7, 600.0)
    ground = paint_ground(town, 0.25)
    ortho, _ = render_orthophoto(town, 0.25, ground=ground)
    tiles = (ortho.shape[0] * 0.25 / 70.0) ** 2
    aerial_s = time.perf_counter() - start
    stage: Stage = set_stage(town, ground, 0.25)
    heights = standing_heights(town, 0.25)
    points = np.array(town.street_points)[:, :2]
    inside = points[np.abs(points).max(axis=1) < 220]
    places = inside[np.random.default_rng(0).permutation(len(inside))[:PLACES]]
    rng = np.random.default_rng(1)

    def ours(x: float, y: float) -> object:
        return panorama(stage, x, y, rng, width=SIZE[0], height=SIZE[1], top_deg=45, bottom_deg=-45)

    ours(*places[0])
    fast = median_ms(ours, places)
    slow = median_ms(lambda x, y: march(heights, town.half_m, x, y), places)
    print(f"town of 0.55 km², its orthophoto included   {aerial_s:8.1f} s")
    print(f"  of that a tile of 70 m                     {1000 * aerial_s / tiles:8.1f} ms")
    print(f"panorama 128 x 512, colours and all          {fast:8.1f} ms")
    print(f"the same rays marched over a raster          {slow:8.1f} ms")
    print(f"ratio                                        {slow / fast:8.1f}")


if __name__ == "__main__":
    main()
