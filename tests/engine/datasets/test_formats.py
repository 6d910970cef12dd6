"""Options of the formats, as Python, a recipe or a command line give them."""

from __future__ import annotations

import math

import pytest

from engine.datasets import open_dataset
from engine.errors import DatasetError
from tests.engine.datasets.pictures import picture


@pytest.fixture
def street(tmp_path):
    for i, away in enumerate((0, 8, 30)):
        picture(tmp_path / f"database/@{500_000 + away:.2f}@4000000.00@@{i}@.jpg", i)
    picture(tmp_path / "queries/@500000.00@4000000.00@@q@.jpg", 9)
    return tmp_path


@pytest.mark.parametrize(
    ("radius", "found"), [(10, [0, 1]), (7.5, [0]), ("10", [0, 1]), (" 1e2 ", [0, 1, 2])]
)
def test_numbers(street, radius, found):
    data = open_dataset("vg", street, radius_m=radius)
    assert sorted(data.positives[0].tolist()) == found and data.radius_m == float(radius)


def test_lists(realdata):
    folder = realdata / "vigor_labels"
    for several in (["Nowhere", "Seattle"], "Nowhere,Seattle", "Nowhere"):
        with pytest.raises(DatasetError, match=r"\bNowhere\b(?!,)"):
            open_dataset("vigor", folder, cities=several)


@pytest.mark.parametrize(
    ("format", "name", "value", "words"),
    [
        ("vg", "radius_m", "wide", "'radius_m' cannot be 'wide'. It is a number"),
        ("vg", "radius_m", math.nan, "It is a number"),
        ("vg", "radius_m", True, "It is a number"),
        ("vg", "queries", 9, "'queries' cannot be 9. It is a text"),
        ("vigor", "area", "both", "'both'. It is one of same, cross"),
        ("vigor", "cities", 5, "It is several of: a text or a text"),
        ("university", "task", "up-down", "one of drone-satellite, satellite-drone"),
        ("gsv-cities", "least_photos", 2.5, "It is a whole number"),
        ("world", "tile_pixels", [], "It is a whole number"),
        ("cvusa", "area", "same", "has no option 'area'. It has: none"),
        ("kitti", "area", "same", "no dataset format 'kitti'. Known: cvact"),
    ],
)
def test_what_does_not_fit(tmp_path, format, name, value, words):
    with pytest.raises(DatasetError) as caught:
        open_dataset(format, tmp_path, **{name: value})
    assert words in str(caught.value)
