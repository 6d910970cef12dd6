"""What the tests of the window look at: a flat world's encoder and area, photos of it on disk, and spoiled files."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from engine.photo import gpano
from engine.photo.write import save_jpeg
from tests.engine.flat import make_town
from tests.flat_world import FlatWorld
from tests.linear_encoder import save_linear_encoder

HERE = (
    110.0,
    105.0,
    40.0,
)  # east and south of the corner, metres, and heading: where the photos are taken


@dataclass(frozen=True)
class Sights:
    """Paths, and the truth about the photos."""

    folder: Path
    world: FlatWorld
    encoder: Path
    other_encoder: Path
    index: Path
    panorama: Path  # its heading unknown
    headed: Path  # the same, its heading in the file
    photo: Path  # an ordinary one of 90°
    text: Path  # a text named .jpg
    lat: float
    lon: float

    def copy_index(self, folder: Path) -> Path:
        """An index of one's own, to spoil."""
        return Path(shutil.copytree(self.index, folder / "spoiled.index"))


def make_sights(folder: Path) -> Sights:
    """Write everything."""
    town = make_town(folder)
    town.index.close()
    save_linear_encoder(folder / "other.encoder", seed=1, name="other")
    east, south, heading = HERE
    pixels = town.panorama(east, south, heading).pixels
    names = ("Straße am Hafen ñ 東京.jpg", "headed.jpg", "photo.jpg", "letter.jpg")
    panorama, headed, photo, text = (folder / name for name in names)
    save_jpeg(panorama, pixels, 92)
    height, width = pixels.shape[:2]
    save_jpeg(headed, pixels, 92, gpano=gpano.full_sphere(width, height, heading_deg=heading))
    save_jpeg(photo, town.perspective(east, south, heading).pixels, 92, fov_deg=90.0)
    text.write_text("Dear Ada,\nthis is no picture.\n")
    lat, lon = town.world.to_wgs84(east, south)
    return Sights(
        folder=folder,
        world=town.world,
        encoder=folder / "linear.encoder",
        other_encoder=folder / "other.encoder",
        index=folder / "flat.index",
        panorama=panorama,
        headed=headed,
        photo=photo,
        text=text,
        lat=lat,
        lon=lon,
    )


def big_photo(path: Path) -> Path:
    """A picture that takes a moment to read."""
    noise = np.random.default_rng(0).integers(0, 255, (600, 800, 3), np.uint8)
    Image.fromarray(noise).resize((5000, 4000)).save(path, quality=80)
    return path
