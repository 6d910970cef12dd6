"""The benchmark's ways to show a query of odd size to a network (Berton et al., CVPR 2022, ``datasets_ws.py``).

==============  ==============================================================================================
hard_resize     to the network's input size, whatever the shape: the card's own rule, and every reference's
single_query    the shorter side to the shorter side of the input size, the shape kept; needs a graph for any size
central_crop    the smallest scale (nearest pixel) that covers the input size, then its middle
five_crops      the shorter side to the shorter side of the input size; the square crops of that side at the four
                corners and in the middle; the mean of their descriptors
nearest_crop    the same crops, each searched; a reference counts with its nearest crop
maj_voting      the same, with references that crops agree on brought nearer
==============  ==============================================================================================

The mean is not normalised again. Where the authors resize floats our pixels are bytes, so values differ by at most
half a grey level; their own resize of the time took the nearest pixels without antialiasing (the card's "linear").
Queries stay bytes until they are normalised by the card.
"""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from engine.encoder import Encoder
from engine.encoder.card import Branch
from engine.encoder.preprocess import normalise
from engine.errors import EncoderError
from engine.photo.resize import resize

Pixels = NDArray[np.uint8]
FloatArray = NDArray[np.float32]

Variant = Literal[
    "hard_resize", "single_query", "central_crop", "five_crops", "nearest_crop", "maj_voting"
]
VARIANTS: tuple[Variant, ...] = get_args(Variant)
MERGED: tuple[Variant, ...] = ("nearest_crop", "maj_voting")
"""Variants whose crops are searched one by one."""


def check_variant(encoder: Encoder, variant: Variant) -> None:
    """See that the encoder's query side can be asked so.

    Raises:
        EncoderError: it projects photos, or its graph reads one size alone and the variant needs another.
    """
    if variant == "hard_resize":
        return
    branch = encoder.card.branches.query
    if branch.projection != "plain":
        raise EncoderError(
            f"it draws photos on a canvas, so the variant {variant!r} means nothing to it",
            encoder.path,
            "Leave --variant out",
        )
    height, width = branch.input_size
    square = variant in ("five_crops", *MERGED)
    if variant == "central_crop" or (square and height == width):
        return
    if not encoder.reads_any_size("query"):
        raise EncoderError(
            f"its graph reads pictures of {height} × {width} alone, and the variant {variant!r} gives others",
            encoder.path,
            "Use hard_resize or central_crop, or an encoder with a square input"
            if square
            else "Use hard_resize or central_crop",
        )


def crops_of(pixels: Pixels, variant: Variant, branch: Branch) -> Pixels:
    """What a query is shown as: [C, H, W, 3], C = 5 for the crops and 1 otherwise (not for ``hard_resize``)."""
    height, width = branch.input_size
    if variant == "central_crop":
        return middle(_nearest(pixels, height, width), height, width)[None]
    side = min(height, width)
    shown = _shorter_side(pixels, side, branch)
    if variant == "single_query":
        return shown[None]
    bottom, right = shown.shape[0] - side, shown.shape[1] - side
    corners = [(0, 0), (0, right), (bottom, 0), (bottom, right)]
    crops = [shown[top : top + side, left : left + side] for top, left in corners]
    return np.stack([*crops, middle(shown, side, side)])


def encode_crops(encoder: Encoder, crops: Pixels, variant: Variant) -> FloatArray:
    """Descriptors of one query of :func:`crops_of`: [5, D] where crops are searched one by one, [1, D] otherwise."""
    branch = encoder.card.branches.query
    found = encoder.encode_inputs("query", normalise(crops, branch))
    if variant == "five_crops":
        return found.mean(axis=0, keepdims=True)
    return found


def middle(pixels: Pixels, height: int, width: int) -> Pixels:
    """The middle [height, width] of a picture at least so large; half pixels are rounded to even."""
    top = round((pixels.shape[0] - height) / 2.0)
    left = round((pixels.shape[1] - width) / 2.0)
    return pixels[top : top + height, left : left + width]


def _shorter_side(pixels: Pixels, side: int, branch: Branch) -> Pixels:
    height, width = pixels.shape[:2]
    if height <= width:
        return resize(pixels, side, max(side, int(side * width / height)), branch.resize)
    return resize(pixels, max(side, int(side * height / width)), side, branch.resize)


def _nearest(pixels: Pixels, height: int, width: int) -> Pixels:
    """Scaled so that it just covers [height, width]; pixel i shows the source's pixel ``floor(i / scale)``."""
    scale = max(height / pixels.shape[0], width / pixels.shape[1])
    step = np.float32(1.0 / scale)

    def source(size: int, least: int) -> NDArray[np.intp]:
        wanted = max(int(size * scale), least)
        steps = np.arange(wanted, dtype=np.float32) * step
        return np.minimum(steps.astype(np.intp), size - 1)

    rows, columns = source(pixels.shape[0], height), source(pixels.shape[1], width)
    return pixels[rows[:, None], columns[None, :]]
