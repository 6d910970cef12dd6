"""Putting an index into Milvus. An upload that was broken off goes on where it stopped when it is asked for again."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

import numpy as np

from engine.index.milvus import (
    KINDS,
    PROPERTY,
    MilvusStore,
    count_rows,
    read_collection,
)
from engine.index.milvus_cells import LEVELS, cell_numbers
from engine.index.milvus_client import MilvusError, check_name, connect, plainly
from engine.index.milvus_filter import (
    EXTENT,
    HEADING,
    ID,
    LAT,
    LON,
    NAME,
    PICTURE,
    SOURCE,
    SOURCE_KEY,
    SOURCE_NUMBER,
    UNKNOWN,
    VECTOR,
    cell_field,
    source_key,
)
from engine.progress import Report, silent

if TYPE_CHECKING:
    from engine.index.manifest import Manifest
    from engine.index.store import Index

_BATCH_BYTES = 8 << 20  # a server takes 64 MB at once
_ROW_BYTES = 400  # of a row beside its vector
_TEXT_BYTES = 4000
_MANIFEST_LENGTH = 1 << 20  # a server's own store takes 1.5 MB a value


def upload(
    index: Index,
    address: str,
    collection: str,
    *,
    kind: str = "FLAT",
    token: str = "",
    report: Report = silent,
) -> MilvusStore:
    """Put an index into a collection, and open it. The imagery stays where it is.

    Args:
        address: of a server, or a folder ``NAME.db`` for Milvus Lite.
        collection: made where there is none; one that holds a part of the same index is completed.
        kind: how the server keeps descriptors (:data:`engine.index.milvus.KINDS`).
        token: for servers that ask for one.
        report: counts tiles; raising :class:`engine.errors.Cancelled` leaves what is uploaded for the next time.

    Raises:
        MilvusError: see :meth:`MilvusStore.open`; or the collection holds another index.
    """
    check_name(collection)
    if kind not in KINDS:
        raise MilvusError(
            f"{kind[:40]!r} is no way to keep descriptors", None, f"Choose {', '.join(KINDS)}"
        )
    manifest = index.manifest
    client = connect(address, token)
    try:
        with plainly(address):
            known = bool(client.has_collection(collection))
        if known:
            held = _held(client, address, collection, manifest)
        else:
            with plainly(address):
                _create(client, collection, manifest, kind)
            held = 0
        _insert(client, address, collection, index, held, report)
    finally:
        client.close()
    return MilvusStore.open(address, collection, token)


def _held(client: Any, address: str, collection: str, manifest: Manifest) -> int:
    """How many tiles of this index a collection holds already.

    Raises:
        MilvusError: it holds something else.
    """
    there = read_collection(client, address, collection)
    if there.hash != manifest.hash:
        raise MilvusError(
            f"the collection {collection} holds another index, {there.name} for {there.encoder_name}",
            None,
            "Give another name, or drop that collection first",
        )
    with plainly(address):
        client.flush(collection)
        client.load_collection(collection)
    return count_rows(client, address, collection)


def _create(client: Any, collection: str, manifest: Manifest, kind: str) -> None:
    from pymilvus import DataType, MilvusClient

    text = json.dumps(manifest.to_dict(), ensure_ascii=True, allow_nan=False)
    if len(text) > _MANIFEST_LENGTH:
        raise MilvusError("the manifest of this index is too long to be kept in a collection")
    schema = MilvusClient.create_schema(auto_id=False, enable_dynamic_field=False, description=text)
    schema.add_field(ID, DataType.INT64, is_primary=True)
    schema.add_field(VECTOR, DataType.FLOAT_VECTOR, dim=manifest.dimension)
    for name in (LAT, LON, EXTENT, HEADING):
        schema.add_field(name, DataType.DOUBLE)
    for name in (SOURCE, NAME):
        schema.add_field(name, DataType.VARCHAR, max_length=_TEXT_BYTES)
    for name in (SOURCE_KEY, SOURCE_NUMBER, PICTURE, *map(cell_field, LEVELS)):
        schema.add_field(name, DataType.INT64)
    indexes = client.prepare_index_params()
    built = dict(KINDS[kind])
    if "nlist" in built:
        built["nlist"] = max(1, min(built["nlist"], int(4 * math.sqrt(manifest.count))))
    indexes.add_index(VECTOR, index_type=kind, metric_type="IP", params=built)
    for name in (SOURCE_KEY, *map(cell_field, LEVELS)):
        indexes.add_index(name, index_type="INVERTED")
    client.create_collection(
        collection, schema=schema, properties={PROPERTY: text}, consistency_level="Strong"
    )
    # Not awaited one by one: nothing is there to be indexed yet, and the client looks twice a second.
    client.create_index(collection, indexes, sync=False)
    client.load_collection(collection)


def _insert(
    client: Any, address: str, collection: str, index: Index, held: int, report: Report
) -> None:
    """Upload the tiles from number ``held`` on; they arrive in order."""
    manifest = index.manifest
    count = manifest.count
    batch = max(1, _BATCH_BYTES // (4 * manifest.dimension + _ROW_BYTES))
    for first in range(held, count, batch):
        report(first, count, "Uploading tiles")
        rows = _rows(index, np.arange(first, min(first + batch, count)))
        with plainly(address):
            client.insert(collection, rows)
    if held < count:
        with plainly(address):
            client.flush(collection)
    report(count, count, "Uploading tiles")


def _rows(index: Index, ids: np.ndarray) -> list[dict[str, Any]]:
    vectors = index.vectors(ids)
    tiles = index.tiles(ids)
    lats, lons = (np.array([getattr(tile, axis) for tile in tiles]) for axis in (LAT, LON))
    cells = {cell_field(level): cell_numbers(lats, lons, level).tolist() for level in LEVELS}
    keys = {source: source_key(source) for source in {tile.source for tile in tiles}}
    return [
        {
            ID: tile.id,
            VECTOR: vectors[row],
            LAT: tile.lat,
            LON: tile.lon,
            EXTENT: tile.extent_m,
            SOURCE: _cut(tile.source),
            SOURCE_KEY: keys[tile.source],
            SOURCE_NUMBER: tile.source_number,
            PICTURE: UNKNOWN if tile.picture is None else tile.picture,
            HEADING: UNKNOWN if tile.heading_deg is None else tile.heading_deg,
            NAME: _cut(tile.name),
            **{field: numbers[row] for field, numbers in cells.items()},
        }
        for row, tile in enumerate(tiles)
    ]


def _cut(text: str) -> str:
    """As much of a text as the field takes."""
    return text.encode("utf-8", "replace")[:_TEXT_BYTES].decode("utf-8", "ignore")
