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
from engine.encoder.encoder import TILE_BATCH, Canvas
from engine.encoder.preprocess import canvas_to_input, normalise, shape_tiles
from engine.errors import DatasetError
from engine.evaluation.store import Store, key_of
from engine.evaluation.variants import Variant, check_variant, crops_of, encode_crops
from engine.localize.plan import Plan, make_plan
from engine.photo.projections import crop_to_fov, seen_blocks
from engine.progress import Report, silent

FloatArray = NDArray[np.float32]
Pixels = NDArray[np.uint8]
T = TypeVar("T")

READERS = 4
"""Threads that decode and shape pictures while the encoder works; only what is shaped is kept."""


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
    branch, up = encoder.card.branches.reference, encoder.card.tile_up
    extents = len(encoder.card.tile_extents_m)

    def shaped(index: int) -> Pixels:
        picture = read(index)
        if extents == 1:
            return shape_tiles(picture[None], branch, up)[0]
        if picture.ndim != 4 or len(picture) != extents:
            raise DatasetError(
                f"its references are single pictures, and {encoder.name} reads {extents} extents of each place "
                "together",
                None,
                "Evaluate it on a world, whose tiles are cut from imagery",
            )
        return picture

    parts = [np.zeros((0, encoder.card.descriptor_dim), np.float32)]
    done = 0
    for group in _ahead(shaped, count):
        report(done, count, f"Encoding references, {done:,} of {count:,}")
        batch = np.stack(group)
        if extents == 1:
            parts.append(encoder.encode_inputs("reference", normalise(batch, branch)))
        else:
            parts.append(encoder.encode_tiles(batch))
        done += len(group)
    return np.concatenate(parts)


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
    plans = None
    if variant == "hard_resize":
        plans = tuple(
            make_plan(model.card, float(heading) if asked.heading_known else None)
            for heading in headings
        )
    how = {
        "fov": asked.fov_deg,
        "variant": variant,
        "rolls": plans and [plan.rolls for plan in plans],
    }
    key = key_of(dataset, "query", model.hash, how)
    kept = store.load(dataset.name, key, count) if store else None
    from_store = kept is not None
    if kept is None:
        kept = _encode_queries(dataset, model, asked, plans, report)
        if store:
            store.save(dataset.name, key, kept)
    return Queries(kept["descriptor"], kept["seen"], plans, from_store)


def _encode_queries(
    dataset: Dataset,
    model: Model,
    asked: Asked,
    plans: Sequence[Plan] | None,
    report: Report,
) -> dict[str, FloatArray]:
    check_variant(model.encoder, asked.variant)
    if plans is None:
        found = _encode_as_crops(dataset, model.encoder, asked, report)
    else:
        found = _encode_as_canvases(dataset, model.encoder, asked, plans, report)
    codes = list(found)
    return {
        "descriptor": np.stack([descriptor for descriptor, _ in codes]).astype(np.float32),
        "seen": np.stack([seen for _, seen in codes]).astype(np.float32),
    }


def _encode_as_crops(
    dataset: Dataset, encoder: Encoder, asked: Asked, report: Report
) -> Iterator[tuple[FloatArray, FloatArray]]:
    """Descriptors [C, D] of every query by a variant, all of it seen."""
    branch, count = encoder.card.branches.query, len(dataset.queries)

    def shown(index: int) -> Pixels:
        return crops_of(dataset.read_query(index)[0], asked.variant, branch)

    done = 0
    for group in _ahead(shown, count):
        report(done, count, _progress(done, count))
        for crops in group:
            found = encode_crops(encoder, crops, asked.variant)
            yield found, np.ones((len(found), 1), np.float32)
        done += len(group)


def _encode_as_canvases(
    dataset: Dataset, encoder: Encoder, asked: Asked, plans: Sequence[Plan], report: Report
) -> Iterator[tuple[FloatArray, FloatArray]]:
    """Descriptors [R, D] and shares seen [R, K] of every query; where each has one encoding they go together."""
    count, fov = len(dataset.queries), asked.fov_deg
    turned = encoder.card.branches.query.projection != "plain"
    together = encoder.card.azimuth_blocks == 1 and all(len(plan.rolls) == 1 for plan in plans)

    def drawn(index: int) -> Canvas:
        pixels, view = dataset.read_query(index)
        if fov is not None and fov < view.fov_deg:
            pixels, view = crop_to_fov(pixels, view, fov)
        canvas = encoder.project(pixels, view)
        if turned and not seen_blocks(canvas.mask, 1).any():
            raise DatasetError(
                "shows nothing that the encoder looks at", dataset.queries.files[index]
            )
        return canvas

    done = 0
    for group in _ahead(drawn, count):
        own = plans[done : done + len(group)]
        report(done, count, _progress(done, count))
        if together:
            yield from _encode_together(encoder, group, [plan.rolls[0] for plan in own])
        else:
            for number, (canvas, plan) in enumerate(zip(group, own, strict=True), done):
                report(number, count, _progress(number, count))
                code = encoder.encode_canvas(canvas, plan.rolls)
                yield code.descriptor, code.seen
        done += len(group)


def _encode_together(
    encoder: Encoder, canvases: Sequence[Canvas], rolls: Sequence[int]
) -> Iterator[tuple[FloatArray, FloatArray]]:
    masks = np.stack([canvas.mask for canvas in canvases])
    pixels = np.stack([canvas.pixels for canvas in canvases])
    upright = canvas_to_input(pixels, masks, encoder.card.branches.query)
    turned = [np.roll(image, roll, axis=-1) for image, roll in zip(upright, rolls, strict=True)]
    found = encoder.encode_inputs("query", np.stack(turned))
    for row in found:
        yield row[None], np.ones((1, 1), np.float32)


def _progress(done: int, count: int) -> str:
    return f"Encoding queries, {done:,} of {count:,}"


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
