"""Small sets of photos of the street on disk, and recipes for them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from engine.training.recipes import Recipe, recipe_from_dict

SIZE = 32


def photo(path: Path, place: int, seed: int, size: tuple[int, int] = (40, 40)) -> None:
    """A photo (width, height) of a place: its pattern, and noise that other photos do not have."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pattern = np.random.default_rng((7, place)).integers(0, 256, (4, 4, 3))
    noise = np.random.default_rng((8, seed)).integers(-30, 31, (4, 4, 3))
    small = np.clip(pattern + noise, 0, 255).astype(np.uint8)
    Image.fromarray(small).resize(size, Image.Resampling.NEAREST).save(path, quality=95)


def write_gsv(folder: Path, places: int = 5, photos: int = 4) -> Path:
    """Two cities of ``places`` places; the last place of each has too few photos for a batch of four."""
    (folder / "Dataframes").mkdir(parents=True)
    for c, city in enumerate(("Boston", "Osaka")):
        lines = ["place_id,year,month,northdeg,city_id,lat,lon,panoid"]
        for place in range(places):
            for i in range(photos - (place == places - 1)):
                lat, lon = f"42.{place}{i}1", f"-71.{place}{i}5"
                lines.append(f"{place},{2008 + i},{i + 1},{i * 9},{city},{lat},{lon},p{i}")
                name = f"{city}_{place:07d}_{2008 + i}_{i + 1:02d}_{i * 9:03d}_{lat}_{lon}_p{i}.jpg"
                photo(folder / "Images" / city / name, 100 * c + place, 1000 * c + 10 * place + i)
        (folder / "Dataframes" / f"{city}.csv").write_text("\n".join(lines) + "\n")
    return folder


def street_name(east: float, north: float, heading: float = 0.0) -> str:
    """The name of a photo in the benchmark's layout."""
    return f"@{east:010.2f}@{north:010.2f}@10@S@@@@@{heading:03.0f}@@@@@@.jpg"


def write_street(folder: Path, places: int = 8) -> Path:
    """``places`` places 40 m apart: a query and two photos of the database of each, one of them 8 m away; and a query
    that has none within 10 m."""
    for split in ("train", "val"):
        base = folder / "images" / split
        for place in range(places):
            east = 500_000.0 + 40 * place
            photo(base / "queries" / street_name(east, 4e6), place, 10 * place)
            photo(base / "database" / street_name(east + 2, 4e6), place, 10 * place + 1)
            photo(base / "database" / street_name(east, 4e6 + 8), place, 10 * place + 2)
        photo(base / "queries" / street_name(490_000.0, 4e6), 99, 990)
    return folder


def write_sfxl(folder: Path, *, panoramas: bool = False) -> Path:
    """Photos of SF-XL's kind on a grid of squares of 10 m, four in each of 6 x 2, looking north or east."""
    number = 0
    for column in range(6):
        for row in range(2):
            for i in range(4):
                east, north = 500_000.0 + 10 * column + 2 * i + 1, 4e6 + 10 * row + 2 * i + 1
                for heading in (0, 90):
                    name = street_name(east + heading / 100, north, heading)
                    size = (208, 32) if panoramas else (40, 40)
                    photo(folder / "train" / name, 10 * column + row + heading, number, size)
                    number += 1
    return folder


def street_recipe(**sections: dict[str, Any]) -> Recipe:
    """A recipe of photos, in which what is given takes the place of what is usual."""
    side = {"height": SIZE, "width": SIZE, "resize": "bilinear"}
    usual: dict[str, dict[str, Any]] = {
        "network": {
            "name": "gsv-cities",
            "aggregation": "gem",
            "backbone_options": {"depth": 18, "width": 8, "blocks": [1, 1, 1, 1]},
        },
        "canvas": {"projection": "plain", "query_subshifts": 1, **side},
        "tile": {"projection": "plain", "pixels": SIZE, **side},
        "query": {"heading": "north", "full_share": 1.0},
        "batch": {"size": 8, "flip": False, "workers": 0},
        "photometric": dict.fromkeys(
            ("gamma", "colour", "contrast", "brightness", "noise", "blur_share"), 0.0
        ),
        "optimiser": {"steps": 4, "warmup": 1, "precision": "fp32", "average": 0.0},
        "validation": {"queries": 0},
    }
    for name, values in sections.items():
        keep = {} if name in ("network", "loss", "mining", "data") else usual.get(name, {})
        usual[name] = {**keep, **values}
    return recipe_from_dict({"name": "street", **usual})


GSV: dict[str, Any] = {
    "data": {"format": "gsv-cities", "classes": {"by": "place"}, "least_photos": 2},
    "mining": {"name": "places", "images": 4},
    "loss": {"name": "multi-similarity", "exclude_m": 0.0},
}
TUPLES: dict[str, Any] = {
    "data": {"format": "vg"},
    "mining": {"name": "tuples-partial", "negatives": 2, "samples": 10, "queries": 6},
    "loss": {"name": "margin-triplet", "exclude_m": 0.0},
    "batch": {"size": 2, "flip": False, "workers": 0},
}
