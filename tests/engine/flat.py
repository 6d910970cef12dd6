"""What tests of localization share: a flat world on disk, its encoder, its index, photos with their truth."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np

from engine.encoder import Encoder, open_encoder
from engine.imagery import open_imagery
from engine.index import Index, build_index
from engine.photo import Photo, PhotoFacts
from engine.photo.projections import perspective_from_panorama
from engine.photo.write import save_jpeg
from tests.flat_world import FlatWorld, make_flat_world
from tests.linear_encoder import save_linear_encoder

T = TypeVar("T")

SIDE_M = 220.0
STRIDE_M = 5.0
WIDTH = 640  # of panoramas, pixels


def present(value: T | None) -> T:
    """The value, which is there."""
    assert value is not None
    return value


@dataclass(frozen=True)
class Town:
    """A flat world with everything to locate in it."""

    folder: Path
    world: FlatWorld
    encoder: Encoder
    index: Index

    def panorama(self, east: float, south: float, heading: float) -> Photo:
        """A panorama taken at metres from the upper left corner."""
        return as_photo(self.world.panorama(east, south, heading, WIDTH), "panorama", 360.0)

    def perspective(
        self, east: float, south: float, heading: float, fov: float = 90.0, pitch: float = 0.0
    ) -> Photo:
        """An ordinary photo."""
        pixels = perspective_from_panorama(
            self.world.panorama(east, south, heading, WIDTH),
            heading_offset_deg=0,
            fov_deg=fov,
            pitch_deg=pitch,
            width=400,
            height=300,
        )
        return as_photo(pixels, "perspective", fov, pitch_deg=pitch)


def as_photo(pixels: np.ndarray, kind: str, fov: float, **facts) -> Photo:
    height, width = pixels.shape[:2]
    known = PhotoFacts(width, height, kind, fov, "user", **facts)  # type: ignore[arg-type]
    return Photo(pixels, known, f"{kind}.jpg", None, "0" * 64)


def make_town(folder: Path, seed: int = 0) -> Town:
    """Write imagery, encoder and index into a folder and open them."""
    world = make_flat_world(SIDE_M, seed)
    save_linear_encoder(folder / "linear.encoder")
    encoder = open_encoder(folder / "linear.encoder", threads=1)
    imagery = open_imagery(world.write(folder / "imagery.tif"))
    index = build_index(folder / "flat.index", imagery, encoder, stride_m=STRIDE_M)
    return Town(folder, world, encoder, index)


def places(count: int, seed: int = 1) -> list[tuple[float, float, float]]:
    """East, south and heading of places well inside the world."""
    rng = np.random.default_rng(seed)
    low, high = 50.0, SIDE_M - 50.0
    return [(*rng.uniform(low, high, 2), rng.uniform(0, 360)) for _ in range(count)]  # type: ignore[misc]


def write_dataset(town: Town, panoramas: int, photos: int, seed: int = 1) -> Path:
    """Pictures and queries.csv beside the town's imagery, laid out as a world."""
    rows = []
    for kind, count, shift in (("panoramas", panoramas, 0), ("photos", photos, 100)):
        (town.folder / kind).mkdir(exist_ok=True)
        for number, (east, south, heading) in enumerate(places(count, seed + shift)):
            name = f"{kind}/{number:04d}.jpg"
            lat, lon = town.world.to_wgs84(east, south)
            panorama = kind == "panoramas"
            photo = (town.panorama if panorama else town.perspective)(east, south, heading)
            save_jpeg(town.folder / name, photo.pixels, 92)
            rows.append([name, lat, lon, heading, photo.facts.fov_deg, "test"])
    with open(town.folder / "queries.csv", "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["file", "lat", "lon", "heading_deg", "fov_deg", "split"])
        writer.writerows(rows)
    return town.folder
