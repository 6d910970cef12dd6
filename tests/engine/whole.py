"""What tests of whole descriptors share: a flat world with such an encoder, its index, photos from above."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from engine.encoder import Card, Encoder, open_encoder
from engine.geo import distance_m
from engine.imagery import open_imagery
from engine.index import Index, build_index
from engine.localize import Evidence, Query, Result, explain, localize
from engine.photo import Photo
from tests.engine.flat import SIDE_M, as_photo, present
from tests.flat_world import RESOLUTION_M, FlatWorld, make_flat_world
from tests.whole_encoder import save_whole_encoder


@dataclass(frozen=True)
class Place:
    """A flat world with an encoder and an index of it."""

    world: FlatWorld
    encoder: Encoder
    index: Index

    def from_above(self, east: float, south: float, side_m: float = 80.0) -> Photo:
        """A photo of the ground with south at its top, as wide as a tile and a little less high."""
        half = round(side_m / 2 / RESOLUTION_M)
        column, row = round(east / RESOLUTION_M), round(south / RESOLUTION_M)
        ground = self.world.ground[row - half : row + half, column - half : column + half]
        turned = np.ascontiguousarray(ground[::-1, ::-1])
        picture = Image.fromarray(turned).resize((120, 120), Image.Resampling.BICUBIC)
        return as_photo(np.asarray(picture)[4:116], "perspective", 70.0)

    def panorama(self, east: float, south: float, heading: float) -> Photo:
        """A panorama at metres from the upper left corner."""
        return as_photo(self.world.panorama(east, south, heading, 640), "panorama", 360.0)

    def located(self, photo: Photo, heading: float | None = None) -> Result:
        """The answer for a photo."""
        return localize(Query(photo, heading_deg=heading), self.encoder, self.index)

    def explained(self, photo: Photo, result: Result) -> Evidence:
        """The evidence for its first candidate."""
        return explain(Query(photo), present(result.best), self.encoder, self.index)

    def error_m(self, result: Result, east: float, south: float) -> float:
        best = present(result.best)
        return float(distance_m(best.lat, best.lon, *self.world.to_wgs84(east, south)))


def make_place(folder: Path, card: Card, stride_m: float, margin_m: float = 0.0) -> Place:
    world = make_flat_world(SIDE_M, 3)
    save_whole_encoder(folder / "whole.encoder", card)
    encoder = open_encoder(folder / "whole.encoder", threads=1)
    with open_imagery(world.write(folder / "imagery.tif")) as imagery:
        low, high = margin_m, SIDE_M - margin_m
        ring = [(low, low), (high, low), (high, high), (low, high), (low, low)]
        corners = [world.to_wgs84(east, south)[::-1] for east, south in ring]
        index = build_index(
            folder / "whole.index",
            imagery,
            encoder,
            stride_m=stride_m,
            area={"type": "Polygon", "coordinates": [corners]},
        )
    return Place(world, encoder, index)
