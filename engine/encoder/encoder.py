"""An open encoder: photos and tiles in, descriptors out. Everything about pixels is in its card."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from engine.encoder.card import Branch, Card, Side
from engine.encoder.preprocess import (
    canvas_to_input,
    normalise,
    plain_to_input,
    shape_tiles,
    tiles_to_input,
)
from engine.encoder.session import CPU, GraphSession
from engine.errors import EncoderError
from engine.photo.projections import View, seen_blocks, to_canvas

FloatArray = NDArray[np.float32]

FEATURES = "features"
TILE_BATCH = 32  # enough to keep the cores busy; more only costs memory


@dataclass(frozen=True)
class Canvas:
    """A photo as the query branch sees it, before normalisation.

    ``pixels`` [H, W, 3] and ``mask`` [H, W] (what the photo shows) for equirectangular branches, the photo's
    centre column in the middle; the photo itself and no mask for plain ones.
    """

    pixels: NDArray[np.uint8]
    mask: NDArray[np.bool_] | None

    def rolled(self, columns: int) -> Canvas:
        """The canvas turned: content moves ``columns`` to the right, around."""
        if self.mask is None or not columns:
            return self
        return Canvas(np.roll(self.pixels, columns, axis=1), np.roll(self.mask, columns, axis=1))


@dataclass(frozen=True)
class PhotoCode:
    """What a photo was encoded to, once for every roll of its canvas.

    Args:
        descriptor: [R, D].
        seen: [R, K], share of every block that the photo shows, 0..1.
        rolls: R numbers of columns that the canvas was rolled to the right.
        width: of the canvas, so that a roll is ``rolls[r] * 360 / width`` degrees of heading.
        features: [R, d, h, w] where asked for, else None.
        run_seconds: onnxruntime's own time.
    """

    descriptor: FloatArray
    seen: FloatArray
    rolls: tuple[int, ...]
    width: int
    features: FloatArray | None
    run_seconds: float


class Encoder:
    """A query and a reference graph with their card; made by :func:`engine.encoder.open_encoder`."""

    def __init__(
        self,
        card: Card,
        graphs: Mapping[str, bytes],
        *,
        path: Path | None = None,
        threads: int = 0,
        gpu: bool = True,
    ) -> None:
        self.card = card
        self.hash = card.hash
        self.path = path
        query, reference = card.branches.query, card.branches.reference
        providers = None if gpu else (CPU,)
        try:
            self._query = GraphSession(graphs[query.graph], threads=threads, providers=providers)
            self._reference = (
                self._query
                if reference.graph == query.graph
                else GraphSession(graphs[reference.graph], threads=threads, providers=providers)
            )
        except EncoderError as error:
            raise EncoderError(error.problem, path, error.remedy) from error
        for side, branch, session in (
            ("query", query, self._query),
            ("reference", reference, self._reference),
        ):
            _check_graph(card, branch, session, side, path)

    @property
    def name(self) -> str:
        """The card's name."""
        return self.card.name

    @property
    def device(self) -> str:
        """Where photos and tiles are encoded: "CPU" or "CUDA"."""
        return self._query.device if self._query.device == self._reference.device else "CPU"

    @property
    def notices(self) -> list[str]:
        """What did not go as planned, for people: a GPU that was there and did not work."""
        return list(dict.fromkeys([*self._query.notices, *self._reference.notices]))

    def encode_tiles(self, tiles: NDArray[np.uint8]) -> FloatArray:
        """Descriptors [N, D] of north-up tiles [N, P, P, 3], cut at the card's extent and ``tile_pixels``."""
        if len(tiles) == 0:
            return np.zeros((0, self.card.descriptor_dim), np.float32)
        parts = [
            self._run_tiles(tiles[i : i + TILE_BATCH], False)[0]
            for i in range(0, len(tiles), TILE_BATCH)
        ]
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    def tile_features(self, tiles: NDArray[np.uint8]) -> tuple[FloatArray, FloatArray]:
        """Descriptors [N, D] and features [N, d, h, w] of tiles; see :class:`engine.encoder.Outputs`."""
        self._need_features()
        descriptor, features = self._run_tiles(tiles, True)
        return descriptor, features

    def encode_pictures(self, pictures: Sequence[NDArray[np.uint8]]) -> FloatArray:
        """Descriptors [N, D] of references that are pictures of their own: a dataset's tiles, photos of a database.

        Args:
            pictures: each [H, W, 3] of any size, standing for the card's extent; the card says how it is shaped.
        """
        branch = self.card.branches.reference
        parts = [np.zeros((0, self.card.descriptor_dim), np.float32)]
        for start in range(0, len(pictures), TILE_BATCH):
            shaped = [shape_tiles(p[None], branch) for p in pictures[start : start + TILE_BATCH]]
            parts.append(self.encode_inputs("reference", normalise(np.concatenate(shaped), branch)))
        return np.concatenate(parts)

    def encode_inputs(self, side: Side, batch: FloatArray) -> FloatArray:
        """Descriptors [N, D] of a graph's input as it is: normalised float32 [N, 3, H, W]."""
        session = self._query if side == "query" else self._reference
        return session.run(batch, [self.card.outputs.descriptor])[0][0]

    def reads_any_size(self, side: Side) -> bool:
        """Whether a side's graph takes pictures of any height and width."""
        session = self._query if side == "query" else self._reference
        return not any(isinstance(size, int) for size in session.inputs[0][1][2:])

    def project(self, pixels: NDArray[np.uint8], view: View) -> Canvas:
        """Draw a photo [H, W, 3] the way the query branch expects it."""
        branch = self.card.branches.query
        if branch.projection == "plain":
            return Canvas(pixels, None)
        assert branch.top_deg is not None and branch.bottom_deg is not None  # the card was checked
        height, width = branch.input_size
        canvas, mask = to_canvas(
            pixels,
            view,
            height=height,
            width=width,
            top_deg=branch.top_deg,
            bottom_deg=branch.bottom_deg,
        )
        return Canvas(canvas, mask)

    def subshift_rolls(self) -> tuple[int, ...]:
        """The card's rolls by equal parts of a block, columns: ``(0,)`` where there is one."""
        step = self.card.branches.query.input_size[1] // (
            self.card.azimuth_blocks * self.card.query_subshifts
        )
        return tuple(j * step for j in range(self.card.query_subshifts))

    def encode_canvas(
        self, canvas: Canvas, rolls: Sequence[int] | None = None, *, with_features: bool = False
    ) -> PhotoCode:
        """Encode a canvas once for every roll (default: :meth:`subshift_rolls`), in one batch."""
        branch = self.card.branches.query
        width = branch.input_size[1]
        if canvas.mask is None:
            rolls = (0,)
            batch = plain_to_input(canvas.pixels, branch)
            seen = np.ones((1, self.card.azimuth_blocks), np.float32)
        else:
            rolls = tuple(self.subshift_rolls() if rolls is None else rolls)
            upright = canvas_to_input(canvas.pixels, canvas.mask, branch)[0]
            batch = np.stack([np.roll(upright, roll, axis=-1) for roll in rolls])
            masks = [np.roll(canvas.mask, roll, axis=1) for roll in rolls]
            seen = np.stack([seen_blocks(mask, self.card.azimuth_blocks) for mask in masks]).astype(
                np.float32
            )
        names = [self.card.outputs.descriptor]
        if with_features:
            self._need_features()
            names.append(FEATURES)
        values, seconds = self._query.run(batch, names)
        return PhotoCode(
            values[0], seen, rolls, width, values[1] if with_features else None, seconds
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

    def _run_tiles(self, tiles: NDArray[np.uint8], with_features: bool) -> list[FloatArray]:
        branch = self.card.branches.reference
        side = branch.tile_pixels
        if tiles.ndim != 4 or tiles.shape[1:] != (side, side, 3):
            raise EncoderError(
                f"tiles of shape {tiles.shape[1:]} were given where the encoder reads ({side}, {side}, 3)",
                self.path,
            )
        names = [self.card.outputs.descriptor, *([FEATURES] if with_features else [])]
        return self._reference.run(tiles_to_input(tiles, branch), names)[0]

    def _need_features(self) -> None:
        if self.card.outputs.features is None:
            raise EncoderError(
                "this encoder gives no features, so there is no evidence to show", self.path
            )


def _check_graph(
    card: Card, branch: Branch, session: GraphSession, side: str, path: Path | None
) -> None:
    again = "Get the encoder again from its source"
    if len(session.inputs) != 1:
        raise EncoderError(
            f"{branch.graph} takes {len(session.inputs)} inputs where one belongs", path, again
        )
    shape = session.inputs[0][1]
    expected = ["N", 3, *branch.input_size]
    fits = len(shape) == 4 and all(
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
