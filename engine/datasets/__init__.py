"""Datasets on disk: published layouts and one's own, as queries, references and the truth between them."""

from engine.datasets.formats import FORMATS, Format, open_dataset
from engine.datasets.layout import check_pictures, missing_pictures, without_missing
from engine.datasets.records import Dataset, Records, make_records
from engine.datasets.world import PANORAMA_FOV_DEG, Truth, World, read_world

__all__ = [
    "FORMATS",
    "PANORAMA_FOV_DEG",
    "Dataset",
    "Format",
    "Records",
    "Truth",
    "World",
    "check_pictures",
    "make_records",
    "missing_pictures",
    "open_dataset",
    "read_world",
    "without_missing",
]
