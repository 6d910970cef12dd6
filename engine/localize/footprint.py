"""The ground that a candidate's tile shows, as rings of longitude and latitude."""

from __future__ import annotations

from engine.geo import tile_bounds
from engine.localize.result import Candidate, Result

Ring = list[list[float]]


def footprint(candidate: Candidate, result: Result) -> list[Ring]:
    """Closed rings of [longitude, latitude], counterclockwise: one, or two where the 180° meridian cuts the tile; none
    where the candidate is a photo of the street."""
    extent_m = result.extent_of(candidate)
    if not extent_m:
        return []
    box = tile_bounds(candidate.tile_lat, candidate.tile_lon, extent_m)
    south, north = round(box.south, 8), round(box.north, 8)

    def ring(west: float, east: float) -> Ring:
        west, east = round(west, 8), round(east, 8)
        return [[west, south], [east, south], [east, north], [west, north], [west, south]]

    if box.west <= box.east:
        return [ring(box.west, box.east)]
    return [ring(box.west, 180.0), ring(-180.0, box.east)]
