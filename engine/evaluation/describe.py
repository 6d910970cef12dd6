"""Descriptors of a dataset's two sides, from the store or from the encoder."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from engine.datasets import Dataset
from engine.encoder import Card, Encoder
from engine.encoder.blocks import aligned_queries
from engine.encoder.encoder import TILE_BATCH
from engine.encoder.preprocess import canvas_to_input
from engine.errors import DatasetError
from engine.evaluation.store import Store, key_of
from engine.evaluation.variants import Variant, check_variant, encode_variant
from engine.localize.plan import Plan, make_plan
from engine.photo.projections import crop_to_fov
from engine.photo.views import View
from engine.progress import Report, silent

FloatArray = NDArray[np.float32]
Pixels = NDArray[np.uint8]
T = TypeVar("T")

READERS = 4
"""Threads that decode pictures while the encoder works."""


class Model:
    """An encoder that is opened when the first picture has to be encoded: the store may need its card alone."""

    def __init__(self, card: Card, open_it: Callable[[], Encoder]) -> None:
        self.card = card
        self.hash = card.hash
        self._open = open_it

    @classmethod
    def of(cls, encoder: Encoder) -> Model:
        """A model that is open already."""
        return cls(encoder.card, lambda: encoder)

    @cached_property
    def encoder(self) -> Encoder:
        """The encoder, its graphs started."""
        return self._open()


@dataclass(frozen=True, eq=False)
class Asked:
    """How queries are shown and compared.

    Attributes:
        heading_known: turned to north by the heading that the dataset gives; else every heading is tried.
        fov_deg: what wider photos are cropped to about their centre; None: as they are.
        variant: the benchmark's test-time variant.
    """

    heading_known: bool
    fov_deg: float | None = None
    variant: Variant = "hard_resize"


@dataclass(frozen=True, eq=False)
class Queries:
    """Encoded queries, to be compared under every hypothesis about their heading.

    Attributes:
        descriptor: [Q, R, D], one row for every roll of the canvas or every crop.
        seen: [Q, R, K], share of every block that is seen.
        plans: for every query which rolls and shifts are compared; None: the rows as they are.
        from_store: whether the model was not needed.
    """

    descriptor: FloatArray
    seen: FloatArray
    plans: tuple[Plan, ...] | None
    from_store: bool

    def __len__(self) -> int:
        return len(self.descriptor)

    @property
    def turns(self) -> int:
        """V, vectors a query."""
        return self.descriptor.shape[1] if self.plans is None else len(self.plans[0])

    def block(self, start: int, stop: int) -> FloatArray:
        """The vectors [n, V, D] of some queries."""
        if self.plans is None:
            return self.descriptor[start:stop]
        return np.stack(
            [
                aligned_queries(
                    self.descriptor[i], self.seen[i], self.plans[i].roll_of, self.plans[i].shift_of
                )
                for i in range(start, min(stop, len(self)))
            ]
        )


def describe_references(
    dataset: Dataset, model: Model, store: Store | None = None, report: Report = silent
) -> tuple[FloatArray, bool]:
    """Descriptors [R, D] of all references, and whether they came from the store."""
    key = key_of(dataset, "reference", model.hash, {})
    kept = store.load(dataset.name, key, len(dataset.references)) if store else None
    if kept is not None:
        return kept["descriptor"], True
    found = describe_pictures(dataset.read_reference, len(dataset.references), model, report)
    if store:
        store.save(dataset.name, key, {"descriptor": found})
    return found, False


def describe_pictures(
    read: Callable[[int], Pixels], count: int, model: Model, report: Report = silent
) -> FloatArray:
    """Descriptors [N, D] of ``count`` pictures by the reference side; S extents a tile where the card reads them."""
    encoder = model.encoder
    several = len(encoder.card.tile_extents_m) > 1
    parts = [np.zeros((0, encoder.card.descriptor_dim), np.float32)]
    done = 0
    for pictures in _ahead(read, count):
        report(done, count, f"Encoding references, {done:,} of {count:,}")
        if several:
            parts.append(encoder.encode_tiles(_stacked(pictures, encoder)))
        else:
            parts.append(encoder.encode_pictures(pictures))
        done += len(pictures)
    return np.concatenate(parts)


def _stacked(pictures: Sequence[Pixels], encoder: Encoder) -> Pixels:
    extents = len(encoder.card.tile_extents_m)
    if any(p.ndim != 4 or len(p) != extents for p in pictures):
        raise DatasetError(
            f"its references are single pictures, and {encoder.name} reads {extents} extents of each place together",
            None,
            "Evaluate it on a world, whose tiles are cut from imagery",
        )
    return np.stack(list(pictures))


def describe_queries(
    dataset: Dataset,
    model: Model,
    asked: Asked,
    store: Store | None = None,
    report: Report = silent,
) -> Queries:
    """Encode all queries, or take them from the store.

    Raises:
        DatasetError: a heading is to be used and the dataset does not give it.
        EncoderError: the variant does not fit the encoder.
    """
    count = len(dataset.queries)
    headings = dataset.queries.heading_deg
    if asked.heading_known and not np.isfinite(headings).all():
        raise DatasetError(
            "does not say where its photos look", dataset.folder, "Use --heading unknown"
        )
    variant = asked.variant
    how = {"heading": asked.heading_known, "fov": asked.fov_deg, "variant": variant}
    key = key_of(dataset, "query", model.hash, how)
    kept = store.load(dataset.name, key, count) if store else None
    from_store = kept is not None
    if kept is None:
        kept = _encode_queries(dataset, model, asked, report)
        if store:
            store.save(dataset.name, key, kept)
    plans = None
    if variant == "hard_resize":
        plans = tuple(
            make_plan(
                model.card, _heading(asked, headings[i]), full_turn=bool(kept["full_turn"][i])
            )
            for i in range(count)
        )
    return Queries(kept["descriptor"], kept["seen"], plans, from_store)


def _heading(asked: Asked, heading: float) -> float | None:
    return float(heading) if asked.heading_known else None


def _encode_queries(
    dataset: Dataset, model: Model, asked: Asked, report: Report
) -> dict[str, FloatArray]:
    encoder, count = model.encoder, len(dataset.queries)
    check_variant(encoder, asked.variant)
    descriptors: list[FloatArray] = []
    seen: list[FloatArray] = []
    full: list[bool] = []

    def read(index: int) -> tuple[Pixels, View]:
        pixels, view = dataset.read_query(index)
        if asked.fov_deg is None or asked.fov_deg >= view.fov_deg:
            return pixels, view
        return crop_to_fov(pixels, view, asked.fov_deg)

    for group in _ahead(read, count):
        number = len(full)
        report(number, count, f"Encoding queries, {number:,} of {count:,}")
        full += [view.full_turn for _, view in group]
        if asked.variant != "hard_resize":
            found = [encode_variant(encoder, pixels, asked.variant) for pixels, _ in group]
            descriptors += found
            seen += [np.ones((len(f), 1), np.float32) for f in found]
            continue
        plans = [
            make_plan(
                encoder.card,
                _heading(asked, dataset.queries.heading_deg[number + i]),
                full_turn=view.full_turn,
            )
            for i, (_, view) in enumerate(group)
        ]
        for code in _encode_photos(encoder, group, plans):
            if not code[1].any(axis=1).all():
                raise DatasetError(
                    "shows nothing that the encoder looks at", dataset.queries.files[len(seen)]
                )
            descriptors.append(code[0])
            seen.append(code[1])
    if len({len(d) for d in descriptors}) > 1:
        raise DatasetError(
            "mixes full panoramas with other photos, which this encoder turns differently",
            dataset.folder,
            "Give each kind a list of its own",
        )
    return {
        "descriptor": np.stack(descriptors).astype(np.float32),
        "seen": np.stack(seen).astype(np.float32),
        "full_turn": np.array(full, np.float32),
    }


def _encode_photos(
    encoder: Encoder, group: Sequence[tuple[Pixels, View]], plans: Sequence[Plan]
) -> Iterator[tuple[FloatArray, FloatArray]]:
    """Descriptor [R, D] and shares seen [R, K] of every photo; photos with one encoding each go together."""
    if encoder.card.azimuth_blocks > 1 or any(len(plan.rolls) > 1 for plan in plans):
        for (pixels, view), plan in zip(group, plans, strict=True):
            code = encoder.encode_photo(pixels, view, plan.rolls)
            yield code.descriptor, code.seen
        return
    canvases = [encoder.project(pixels, view) for pixels, view in group]
    masks = np.stack([canvas.mask for canvas in canvases])
    batch = canvas_to_input(
        np.stack([canvas.pixels for canvas in canvases]), masks, encoder.card.branches.query
    )
    batch = np.stack([np.roll(b, p.rolls[0], axis=-1) for b, p in zip(batch, plans, strict=True)])
    found = encoder.encode_inputs("query", batch)
    for row, mask in zip(found, masks, strict=True):
        yield row[None], np.full((1, 1), mask.mean(), np.float32)


def _ahead(read: Callable[[int], T], count: int, size: int = TILE_BATCH) -> Iterator[list[T]]:
    """Groups of what ``read`` gives for 0..count-1, the next group read while this one is worked on."""
    with ThreadPoolExecutor(READERS) as pool:
        try:
            coming = [pool.submit(read, i) for i in range(min(size, count))]
            for start in range(0, count, size):
                group = coming
                stop = min(start + 2 * size, count)
                coming = [pool.submit(read, i) for i in range(min(start + size, count), stop)]
                yield [job.result() for job in group]
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def pictures_of(folder: Path, files: Sequence[Path]) -> Dataset:
    """A folder's pictures as a dataset of references alone, so that their descriptors can be kept."""
    from engine.datasets import make_records
    from engine.datasets.reading import FilesAsTiles, FilesWithView

    return Dataset(
        format="pictures",
        folder=folder,
        split="",
        queries=make_records(()),
        references=make_records(files),
        positives=(),
        query_reader=FilesWithView(),
        reference_reader=FilesAsTiles(),
    )
