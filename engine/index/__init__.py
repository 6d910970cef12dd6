"""Indexes: the descriptors of reference tiles over an area, where they lie, and the imagery they were cut from."""

from engine.index.adding import add_to_index
from engine.index.area import Area, AreaError, area_from_geojson, read_area
from engine.index.build import build_index
from engine.index.manifest import FileFacts, ImageryFacts, Manifest, read_manifest
from engine.index.merging import merge_indexes
from engine.index.seam import TileEncoder
from engine.index.shards import Shard, build_shard, is_shard, merge_shards
from engine.index.store import Index
from engine.index.tiles import Tile
from engine.index.verify import Problem, verify_index

__all__ = [
    "Area",
    "AreaError",
    "FileFacts",
    "ImageryFacts",
    "Index",
    "Manifest",
    "Problem",
    "Shard",
    "Tile",
    "TileEncoder",
    "add_to_index",
    "area_from_geojson",
    "build_index",
    "build_shard",
    "is_shard",
    "merge_indexes",
    "merge_shards",
    "read_area",
    "read_manifest",
    "verify_index",
]
