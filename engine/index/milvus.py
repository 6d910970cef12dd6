"""Descriptors in Milvus: a gallery that outgrows one machine, searched through the same seam as files are.

A collection holds one index: a row for every tile, with its descriptor, position, extent and source, and the numbers of
the cells it lies in; and as a property of the collection the manifest of the index, so that everyone who searches it
knows which encoder it is for. The same code talks to a cluster and to Milvus Lite, which keeps a small collection in a
folder of this machine.
"""

from __future__ import annotations

import json
import weakref
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from engine.errors import IndexFolderError
from engine.index.filters import Allowed, Filter
from engine.index.manifest import Manifest, manifest_from_dict
from engine.index.milvus_client import (
    MAX_RESULTS,
    MilvusError,
    check_name,
    connect,
    plainly,
)
from engine.index.milvus_filter import (
    EXTENT,
    ID,
    LAT,
    LON,
    SOURCE,
    VECTOR,
    Positions,
    among,
    expression_of,
    of_ids,
)
from engine.progress import Report, silent

PROPERTY = "nadir.manifest"
KINDS = {"FLAT": {}, "HNSW": {"M": 24, "efConstruction": 200}, "IVF_SQ8": {"nlist": 4096}}
"""How Milvus may keep descriptors: all compared; as a graph; in lists of 8-bit numbers; with how it builds them."""

EXACT = ("FLAT", "BRUTE_FORCE")
_QUERIES = 256  # at a time, so that a search can be stopped
_ROWS = 4096  # fetched at a time
_SAME = 1e-6  # difference of scores that is rounding, for a query of length 1
_SPARE = 16  # results asked for beyond k, to see whether equal scores go on behind it


class MilvusStore:
    """The descriptors of a collection. Made by :meth:`open`; safe in several threads.

    Attributes:
        manifest: of the index that was uploaded.
        address, collection: where it is.
    """

    def __init__(
        self, client: Any, address: str, collection: str, manifest: Manifest, kind: str
    ) -> None:
        self.address, self.collection, self.manifest = address, collection, manifest
        self._client = client
        self._kind = kind
        self._expressions: weakref.WeakKeyDictionary[Filter, str] = weakref.WeakKeyDictionary()

    @staticmethod
    def open(address: str, collection: str, token: str = "") -> MilvusStore:
        """Open a collection that was made by :func:`engine.index.milvus_upload.upload`.

        Raises:
            MilvusError: no server, no such collection, not one of Nadir's, or not uploaded whole.
        """
        check_name(collection)
        client = connect(address, token)
        try:
            manifest = read_collection(client, address, collection)
            with plainly(address):
                kind = str(client.describe_index(collection, VECTOR).get("index_type", ""))
                client.load_collection(collection)
            held = count_rows(client, address, collection)
            if held != manifest.count:
                raise MilvusError(
                    f"the collection {collection} holds {held:,} of {manifest.count:,} tiles",
                    None,
                    "Go on with: nadir index upload",
                )
        except BaseException:
            client.close()
            raise
        return MilvusStore(client, address, collection, manifest, kind)

    @property
    def count(self) -> int:
        return self.manifest.count

    @property
    def dimension(self) -> int:
        return self.manifest.dimension

    @property
    def factory(self) -> str:
        """The server's name for how it keeps descriptors."""
        return self._kind

    @property
    def exact(self) -> bool:
        return self._kind in EXACT

    def search(
        self,
        queries: NDArray[np.float32],
        k: int,
        allowed: Allowed | None = None,
        report: Report = silent,
    ) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """See :meth:`engine.index.vector_store.VectorStore.search`.

        Where the server looks only at a part of the descriptors (see :attr:`exact`) and finds too few, ids are -1.

        Raises:
            MilvusError: the server failed, or ``k`` is more than it gives.
        """
        queries = np.ascontiguousarray(queries, np.float32)
        if queries.ndim != 2 or queries.shape[1] != self.dimension:
            raise ValueError(f"queries must be [Q, {self.dimension}], not {queries.shape}")
        expression = ""
        if allowed is not None:
            if allowed.total != self.count:
                raise ValueError(f"a set of {allowed.total} tiles does not go with {self.count}")
            expression = self.expression(allowed)
        k = min(k, self.count)
        if k > MAX_RESULTS:
            raise MilvusError(f"Milvus gives at most {MAX_RESULTS:,} results, not {k:,}")
        rows: list[tuple[NDArray[np.float32], NDArray[np.int64]]] = []
        for first in range(0, len(queries) if k > 0 else 0, _QUERIES):
            report(first, len(queries), "Searching")
            rows += self._best(queries[first : first + _QUERIES], k, expression)
        width = max((len(ids) for _, ids in rows), default=0)
        scores = np.full((len(queries), width), -np.inf, np.float32)
        ids = np.full((len(queries), width), -1, np.int64)
        for row, (own_scores, own_ids) in enumerate(rows):
            scores[row, : len(own_ids)], ids[row, : len(own_ids)] = own_scores, own_ids
        return scores, ids

    def _best(
        self, queries: NDArray[np.float32], k: int, expression: str
    ) -> list[tuple[NDArray[np.float32], NDArray[np.int64]]]:
        """Scores and ids of each query. Equal scores go by id, so all that are equal to the last must be seen."""
        asked = min(k + _SPARE, MAX_RESULTS)
        while True:
            with plainly(self.address):
                found = self._client.search(
                    self.collection,
                    data=list(queries),
                    anns_field=VECTOR,
                    limit=asked,
                    filter=expression,
                    output_fields=[ID],
                    search_params={"metric_type": "IP", "params": self._search_params(asked)},
                )
                rows = [
                    _row(hits, _SAME * float(np.linalg.norm(query)))
                    for hits, query in zip(found, queries, strict=True)
                ]
            for scores, ids in rows:
                self._check(ids, scores)
            open_ended = any(len(s) == asked and s[k - 1] == s[-1] for s, _ in rows)
            if not open_ended or asked == MAX_RESULTS:
                return [(scores[:k], ids[:k]) for scores, ids in rows]
            asked = min(4 * asked, MAX_RESULTS)

    def _search_params(self, k: int) -> dict[str, int]:
        if self._kind == "HNSW":
            return {"ef": min(max(2 * k, 128), 32_768)}
        if self._kind.startswith("IVF"):
            return {"nprobe": 64}
        return {}

    def expression(self, allowed: Allowed) -> str:
        """What lets exactly these tiles answer, in Milvus' words; empty: all."""
        if allowed.filter is None:
            return "" if allowed.mask.all() else of_ids(allowed.ids)
        if allowed.filter not in self._expressions:
            self._expressions[allowed.filter] = expression_of(
                allowed.filter, self.manifest.coverage, self.positions
            )
        return self._expressions[allowed.filter]

    def count_of(self, expression: str) -> int:
        """How many tiles an expression holds for; empty: all."""
        with plainly(self.address):
            rows = self._client.query(
                self.collection, filter=expression, output_fields=["count(*)"]
            )
            return int(rows[0]["count(*)"])

    def positions(self, expression: str) -> Iterator[Positions]:
        """Ids, latitudes and longitudes, some at a time, of the tiles that an expression holds for."""
        with plainly(self.address):
            pages = self._client.query_iterator(
                self.collection, batch_size=_ROWS, filter=expression, output_fields=[ID, LAT, LON]
            )
            try:
                while page := pages.next():
                    ids = np.array([row[ID] for row in page], np.int64)
                    lats = np.array([row[LAT] for row in page], np.float64)
                    lons = np.array([row[LON] for row in page], np.float64)
                    self._check(ids, lats, lons)
                    yield ids, lats, lons
            finally:
                pages.close()

    def vectors(self, ids: ArrayLike) -> NDArray[np.float32]:
        """Descriptors [n, D] by id."""
        wanted = np.atleast_1d(np.asarray(ids, np.int64))
        rows = self.fields(wanted, [VECTOR])
        vectors = np.zeros((len(wanted), self.dimension), np.float32)
        for number, row in enumerate(rows):
            vectors[number] = row[VECTOR]
        self._check(wanted, vectors)
        return vectors

    def _check(self, ids: NDArray[np.int64], *numbers: NDArray[np.floating]) -> None:
        """What a server answers is foreign, too."""
        good = not len(ids) or 0 <= int(ids.min()) <= int(ids.max()) < self.count
        if not good or not all(np.isfinite(some).all() for some in numbers):
            raise MilvusError(
                f"the collection {self.collection} holds what its manifest does not know",
                None,
                "Upload the index again under another name",
            )

    def fields(self, ids: NDArray[np.int64], names: list[str]) -> list[dict[str, Any]]:
        """Some fields of tiles, in the order asked for. Raises ``IndexError`` for ids that do not exist."""
        if len(ids) and not 0 <= int(ids.min()) <= int(ids.max()) < self.count:
            raise IndexError(f"tile ids run from 0 to {self.count - 1}")
        found: dict[int, dict[str, Any]] = {}
        unique = np.unique(ids)
        for first in range(0, len(unique), _ROWS):
            part = unique[first : first + _ROWS]
            with plainly(self.address):
                for row in self._client.query(
                    self.collection,
                    filter=among(ID, part),
                    output_fields=[ID, *names],
                    limit=_ROWS,
                ):
                    found[int(row[ID])] = row
        try:
            return [found[i] for i in ids.tolist()]
        except KeyError as error:
            raise MilvusError(
                f"the collection {self.collection} lacks the tile {error.args[0]}",
                None,
                "Upload the index again",
            ) from error

    def close(self) -> None:
        """Let go of the server."""
        self._client.close()


def _row(hits: Any, same: float) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Scores, falling, and ids of a query's results.

    A server adds up equal descriptors in different orders, so scores that follow each other closer than ``same`` are
    equal.
    """
    scores = np.array([hit["distance"] for hit in hits], np.float32)
    ids = np.array([hit[ID] for hit in hits], np.int64)
    order = np.argsort(-scores, kind="stable")
    scores, ids = scores[order], ids[order]
    first = np.flatnonzero(np.diff(scores, prepend=np.float32(np.inf)) < -same)
    group = np.cumsum(np.isin(np.arange(len(scores)), first)) - 1
    scores = scores[first][group] if len(first) else scores
    return scores, ids[np.lexsort((ids, -scores))]


def read_collection(client: Any, address: str, collection: str) -> Manifest:
    """The manifest that a collection was uploaded with.

    Raises:
        MilvusError: there is no such collection, or it is not one of Nadir's.
    """
    with plainly(address):
        if not client.has_collection(collection):
            names = ", ".join(sorted(client.list_collections())[:8]) or "none"
            raise MilvusError(
                f"there is no collection {collection}; there are: {names}",
                None,
                "Make it with: nadir index upload",
            )
        described = client.describe_collection(collection)
    text = described.get("properties", {}).get(PROPERTY) or described.get("description", "")
    foreign = MilvusError(
        f"the collection {collection} does not hold an index of Nadir", None, "Give another name"
    )
    try:
        manifest = manifest_from_dict(json.loads(text))
    except (ValueError, RecursionError, IndexFolderError) as error:
        raise foreign from error
    fields = {field.get("name"): field.get("params", {}) for field in described.get("fields", [])}
    if not {ID, VECTOR, LAT, LON, EXTENT, SOURCE} <= set(fields):
        raise foreign
    if fields[VECTOR].get("dim") != manifest.dimension:
        raise foreign
    return manifest


def count_rows(client: Any, address: str, collection: str) -> int:
    """How many tiles a loaded collection holds."""
    with plainly(address):
        return int(client.query(collection, filter="", output_fields=["count(*)"])[0]["count(*)"])
