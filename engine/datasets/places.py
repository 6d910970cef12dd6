"""Positives by the name of the place: what shows the same place belongs together."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import overload

import numpy as np

from engine.datasets.records import NONE, Indices


class PlacePositives(Sequence[Indices]):
    """For every query the references of its place, made when asked for: half a million photos need no lists.

    Args:
        queries, references: the place of every picture.
        same: the queries are the references, so that a picture is no answer to itself.
    """

    def __init__(self, queries: Sequence[str], references: Sequence[str], same: bool) -> None:
        order = np.argsort(np.asarray(references, dtype=str), kind="stable")
        names = np.asarray(references, dtype=str)[order]
        starts = np.flatnonzero(np.r_[True, names[1:] != names[:-1]]) if len(names) else NONE
        groups = np.split(order.astype(np.int64), starts[1:]) if len(names) else []
        self._members = {
            str(names[start]): group for start, group in zip(starts, groups, strict=True)
        }
        self._queries = tuple(queries)
        self._same = same

    def __len__(self) -> int:
        return len(self._queries)

    @overload
    def __getitem__(self, index: int) -> Indices: ...

    @overload
    def __getitem__(self, index: slice) -> Sequence[Indices]: ...

    def __getitem__(self, index: int | slice) -> Indices | Sequence[Indices]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        members = self._members.get(self._queries[index], NONE)
        if self._same:
            members = members[members != index % len(self)]
        return members

    def __iter__(self) -> Iterator[Indices]:
        return (self[i] for i in range(len(self)))


def positives_of_places(
    queries: Sequence[str], references: Sequence[str], *, same: bool = False
) -> PlacePositives:
    """For every query the references with its place's name, in order; none where there are none."""
    return PlacePositives(queries, references, same)
