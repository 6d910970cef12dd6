"""An open encoder: photos and tiles in, descriptors out. Everything about pixels is in its card."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from engine.encoder.card import Branch, Card, Side
from engine.encoder.preprocess import (
    canvas_to_input,
    normalise,
    project_photo,
    shape_tiles,
    tiles_to_input,
)
from engine.encoder.session import CPU, GraphSession
from engine.errors import EncoderError
from engine.photo.projections import View, seen_blocks

FloatArray = NDArray[np.float32]

FEATURES = "features"
TILE_BATCH = 32  # enough to keep the cores busy; more only costs memory
BATCH_PIXELS = (
    1 << 21
)  # of all inputs of a batch: large networks on large inputs would need gigabytes


@dataclass(frozen=True)
class Canvas:
    """A photo as the query branch sees it, before normalisation.

    ``pixels`` [H, W, 3] and ``mask`` [H, W] (what the photo shows) at the graph's input size; on equirectangular
    canvases the photo's centre column is in the middle.
    """

    pixels: NDArray[np.uint8]
    mask: NDArray[np.bool_]


@dataclass(frozen=True)
class PhotoCode:
    """What a photo was encoded to, once for every roll of its canvas.

    Args:
        descriptor: [R, D].
        seen: [R, K], share of every block that the photo shows, 0..1.
        rolls: R numbers of columns that the canvas was rolled to the right.
        width: of the canvas, so that a roll is ``rolls[r] * 360 / width`` degrees of heading.
        features: [R, d, h, w], or attention's [R, h, w], where asked for, else None.
        run_seconds: onnxruntime's own time.
    """

    descriptor: FloatArray
    seen: FloatArray
    rolls: tuple[int, ...]
    width: int
    features: FloatArray | None
    run_seconds: float


class Encoder:
    """A query and a reference graph with their card; made by :func:`engine.encoder.open_encoder`.

    Args:
        graphs: by file name.
        later: gives the graph of the reference branch when it is first needed, if ``graphs`` does not hold it.
    """

    def __init__(
        self,
        card: Card,
        graphs: Mapping[str, bytes],
        *,
        path: Path | None = None,
        threads: int = 0,
        gpu: bool = True,
        later: Callable[[], bytes] | None = None,
    ) -> None:
        self.card = card
        self.hash = card.hash
        self.path = path
        self._threads, self._gpu = threads, gpu
        self._later, self._lock = later, threading.Lock()
        query, reference = card.branches.query, card.branches.reference
        self._query = self._start("query", graphs[query.graph])
        self._references: GraphSession | None = None
        if reference.graph == query.graph:
            _check_graph(card, reference, self._query, "reference", path)
            self._references = self._query
        elif reference.graph in graphs:
            self._references = self._start("reference", graphs[reference.graph])

    def _start(self, side: Side, graph: bytes) -> GraphSession:
        branch = self.card.branches.query if side == "query" else self.card.branches.reference
        providers = None if self._gpu else (CPU,)
        try:
            session = GraphSession(graph, threads=self._threads, providers=providers)
        except EncoderError as error:
            raise EncoderError(error.problem, self.path, error.remedy) from error
        _check_graph(self.card, branch, session, side, self.path)
        return session

    @property
    def _reference(self) -> GraphSession:
        with self._lock:
            if self._references is None:
                assert self._later is not None
                self._references = self._start("reference", self._later())
            return self._references

    @property
    def _started(self) -> list[GraphSession]:
        return [self._query, *([self._references] if self._references is not None else [])]

    @property
    def name(self) -> str:
        """The card's name."""
        return self.card.name

    @property
    def device(self) -> str:
        """Where photos and tiles are encoded: "CPU" or "CUDA"."""
        devices = {session.device for session in self._started}
        return self._query.device if len(devices) == 1 else "CPU"

    @property
    def notices(self) -> list[str]:
        """What did not go as planned, for people: a GPU that was there and did not work."""
        return list(dict.fromkeys(said for session in self._started for said in session.notices))

    def encode_tiles(self, tiles: NDArray[np.uint8]) -> FloatArray:
        """Descriptors [N, D] of north-up tiles [N, P, P, 3], cut at the card's extent and ``tile_pixels``.

        For cards of S extents: [N, S, P, P, 3], one cut for each, in the card's order.
        """
        self._check_tiles(tiles)
        card, batch = self.card, self._tile_batch
        return self._of_references(
            tiles_to_input(tiles[i : i + batch], card.branches.reference, card.tile_up)
            for i in range(0, len(tiles), batch)
        )

    def tile_features(self, tiles: NDArray[np.uint8]) -> tuple[FloatArray, FloatArray]:
        """Descriptors [N, D] and features of tiles, see :class:`engine.encoder.Outputs`; for cards of S extents the
        features have S beside N."""
        self._need_features()
        self._check_tiles(tiles)
        card = self.card
        names = [card.outputs.descriptor, FEATURES]
        batch = tiles_to_input(tiles, card.branches.reference, card.tile_up)
        descriptor, features = self._reference.run(batch, names)[0]
        return descriptor, features

    def encode_pictures(self, pictures: Sequence[NDArray[np.uint8]]) -> FloatArray:
        """Descriptors [N, D] of references that are pictures of their own: a dataset's tiles, photos of a database.

        Args:
            pictures: each [H, W, 3] of any size, standing for the card's extent; the card says how it is shaped.
                Polar branches need squares.

        Raises:
            EncoderError: for a card of several extents, which one picture does not show.
        """
        if len(self.card.tile_extents_m) > 1:
            raise EncoderError(
                "this encoder reads several extents of a place together; a picture shows one",
                self.path,
                "Evaluate it on imagery, from which all of them can be cut",
            )
        batch = self._tile_batch
        shaped = (
            np.stack([self.shape_picture(picture) for picture in pictures[i : i + batch]])
            for i in range(0, len(pictures), batch)
        )
        branch = self.card.branches.reference
        return self._of_references(normalise(some, branch) for some in shaped)

    def shape_picture(self, picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """A picture [H', W', 3] as the reference branch sees it, [H, W, 3], before normalisation; see
        :meth:`encode_pictures`. Safe in any thread."""
        return shape_tiles(picture[None], self.card.branches.reference, self.card.tile_up)[0]

    def encode_shaped(self, shaped: NDArray[np.uint8]) -> FloatArray:
        """Descriptors [N, D] of pictures [N, H, W, 3] that :meth:`shape_picture` made."""
        batch, branch = self._tile_batch, self.card.branches.reference
        return self._of_references(
            normalise(shaped[i : i + batch], branch) for i in range(0, len(shaped), batch)
        )

    def picture_features(self, picture: NDArray[np.uint8]) -> tuple[FloatArray, FloatArray]:
        """Descriptor [D] and features of one picture by the reference branch, as :meth:`tile_features` of a tile."""
        self._need_features()
        names = [self.card.outputs.descriptor, FEATURES]
        shaped = normalise(self.shape_picture(picture)[None], self.card.branches.reference)
        descriptor, features = self._reference.run(shaped, names)[0]
        return descriptor[0], features[0]

    def encode_inputs(self, side: Side, batch: FloatArray) -> FloatArray:
        """Descriptors [N, D] of a graph's input as it is: normalised float32 [N, 3, H, W], of any N."""
        session = self._query if side == "query" else self._reference
        some = max(1, 3 * BATCH_PIXELS // max(1, batch[:1].size))
        parts = [
            session.run(batch[i : i + some], [self.card.outputs.descriptor])[0][0]
            for i in range(0, max(1, len(batch)), some)
        ]
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    def reads_any_size(self, side: Side) -> bool:
        """Whether a side's graph takes pictures of any height and width."""
        session = self._query if side == "query" else self._reference
        return not any(isinstance(size, int) for size in session.inputs[0][1][2:])

    def project(self, pixels: NDArray[np.uint8], view: View) -> Canvas:
        """Draw a photo [H, W, 3] the way the query branch expects it."""
        canvas, mask = project_photo(pixels, view, self.card.branches.query)
        return Canvas(canvas, np.ones(canvas.shape[:2], np.bool_) if mask is None else mask)

    def subshift_rolls(self) -> tuple[int, ...]:
        """The card's rolls by equal parts of a block, columns: ``(0,)`` where there is one, or there are no blocks."""
        if self.card.azimuth_blocks == 1:
            return (0,)
        step = self.card.branches.query.input_size[1] // (
            self.card.azimuth_blocks * self.card.query_subshifts
        )
        return tuple(j * step for j in range(self.card.query_subshifts))

    def encode_canvas(
        self, canvas: Canvas, rolls: Sequence[int] | None = None, *, with_features: bool = False
    ) -> PhotoCode:
        """Encode a canvas once for every roll (default: :meth:`subshift_rolls`); a plain one cannot be rolled."""
        branch = self.card.branches.query
        upright = canvas_to_input(canvas.pixels, canvas.mask, branch)[0]
        if branch.projection == "plain":
            rolls = (0,)
            seen = np.ones((1, self.card.azimuth_blocks), np.float32)
        else:
            rolls = tuple(self.subshift_rolls() if rolls is None else rolls)
            masks = [np.roll(canvas.mask, roll, axis=1) for roll in rolls]
            seen = np.stack([seen_blocks(mask, self.card.azimuth_blocks) for mask in masks])
        names = [self.card.outputs.descriptor]
        if with_features:
            self._need_features()
            names.append(FEATURES)
        some = _batch_size(branch.input_size)
        runs = []
        for i in range(0, len(rolls), some):
            batch = np.stack([np.roll(upright, roll, axis=-1) for roll in rolls[i : i + some]])
            runs.append(self._query.run(batch, names))
        values = [np.concatenate(parts) for parts in zip(*(run[0] for run in runs), strict=True)]
        return PhotoCode(
            descriptor=values[0],
            seen=seen.astype(np.float32),
            rolls=rolls,
            width=branch.input_size[1],
            features=values[1] if with_features else None,
            run_seconds=sum(run[1] for run in runs),
        )

    def encode_photo(
        self,
        pixels: NDArray[np.uint8],
        view: View,
        rolls: Sequence[int] | None = None,
        *,
        with_features: bool = False,
    ) -> PhotoCode:
        """:meth:`project` and :meth:`encode_canvas` in one."""
        return self.encode_canvas(self.project(pixels, view), rolls, with_features=with_features)

    @property
    def _tile_batch(self) -> int:
        size = self.card.branches.reference.input_size
        return _batch_size(size, len(self.card.tile_extents_m))

    def _of_references(self, batches: Iterable[FloatArray]) -> FloatArray:
        parts = [self.encode_inputs("reference", batch) for batch in batches]
        if not parts:
            return np.zeros((0, self.card.descriptor_dim), np.float32)
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    def _check_tiles(self, tiles: NDArray[np.uint8]) -> None:
        side, extents = self.card.branches.reference.tile_pixels, len(self.card.tile_extents_m)
        wanted = (side, side, 3) if extents == 1 else (extents, side, side, 3)
        if tiles.shape[1:] != wanted:
            raise EncoderError(
                f"tiles of shape {tiles.shape[1:]} were given where the encoder reads {wanted}",
                self.path,
            )

    def _need_features(self) -> None:
        if self.card.outputs.features is None:
            raise EncoderError(
                "this encoder gives no features, so there is no evidence to show", self.path
            )


def _batch_size(size: tuple[int, int], extents: int = 1) -> int:
    """How many inputs are run together."""
    return max(1, min(TILE_BATCH, BATCH_PIXELS // (size[0] * size[1] * extents)))


def _check_graph(
    card: Card, branch: Branch, session: GraphSession, side: str, path: Path | None
) -> None:
    again = "Get the encoder again from its source"
    if len(session.inputs) != 1:
        raise EncoderError(
            f"{branch.graph} takes {len(session.inputs)} inputs where one belongs", path, again
        )
    shape = session.inputs[0][1]
    extents = len(card.tile_extents_m) if side == "reference" else 1
    expected = ["N", *([extents] if extents > 1 else []), 3, *branch.input_size]
    fits = len(shape) == len(expected) and all(
        not isinstance(got, int) or got == want
        for got, want in zip(shape[1:], expected[1:], strict=True)
    )
    if not fits or isinstance(shape[0], int):
        raise EncoderError(
            f"{branch.graph} reads {shape} where the card's {side} branch says {expected}",
            path,
            again,
        )
    wanted = {card.outputs.descriptor: {-1: card.descriptor_dim}}
    if card.outputs.features:
        wanted[FEATURES] = {}
    for name, sizes in wanted.items():
        got = session.outputs.get(name)
        if got is None:
            raise EncoderError(
                f"{branch.graph} has no output {name!r}, which the card promises", path, again
            )
        for axis, size in sizes.items():
            if isinstance(got[axis], int) and got[axis] != size:
                raise EncoderError(
                    f"{branch.graph} gives {name} {got} where the card says {size}", path, again
                )
    columns = session.outputs[FEATURES][-1] if card.outputs.features == "contributions" else None
    if isinstance(columns, int) and columns % card.azimuth_blocks:
        raise EncoderError(
            f"{branch.graph} gives features of {columns} columns, no multiple of the card's blocks",
            path,
            again,
        )
