"""The one preprocessing: pixels to a graph's input, by the card alone.

Training, export, index and application call these functions, so that an encoder always sees in use what it
saw while it learned.

Which way is up: the program cuts every tile north-up, its centre between the four middle pixels. For a card whose
tiles are south-up they are turned by 180°, which keeps that centre. Fervers et al. (ECCV 2024) cut theirs about the
middle of pixel ``P / 2``, so their crops lie half a pixel (0.1 m at 0.2 m a pixel) to the south-east of ours. That is
a hundredth of the shifts their networks were trained with, and is not imitated: a place stays where it is on the map.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from engine.encoder.card import Branch, TileUp
from engine.photo.facts import WHOLE
from engine.photo.polar import polar_warp, safa_warp
from engine.photo.projections import View, to_canvas
from engine.photo.resize import resize

Pixels = NDArray[np.uint8]
Mask = NDArray[np.bool_]

_WHOLE_ROWS = 1e-3
"""How far from whole, in rows, the edges of a canvas may lie in a panorama that is said to hold it exactly."""


@dataclass(frozen=True)
class Placement:
    """Where a plain picture lies in a graph's input: upper left corner and size, pixels.

    Corners are negative, and sizes larger than the input's, where it is cropped.
    """

    top: int
    left: int
    height: int
    width: int


def placement(height: int, width: int, branch: Branch) -> Placement:
    """Where a picture of this size lies in the input of a plain branch, by the branch's ``fit``.

    ``pad`` rounds down as Fervers et al. do when they make their data sets: ``floor(size * (factor + 1e-6))``; the odd
    pixel of the margin is behind. ``crop`` is torchvision's Resize of the shorter side with CenterCrop.
    """
    wanted_height, wanted_width = branch.input_size
    if branch.fit == "pad":
        factor = min(wanted_height / height, wanted_width / width) + 1e-6
        inner_height = min(max(1, int(height * factor)), wanted_height)
        inner_width = min(max(1, int(width * factor)), wanted_width)
        top, left = (wanted_height - inner_height) // 2, (wanted_width - inner_width) // 2
        return Placement(top, left, inner_height, inner_width)
    if branch.fit == "crop":
        if wanted_height * width >= wanted_width * height:
            cover = (wanted_height, max(wanted_width, wanted_height * width // height))
        else:
            cover = (max(wanted_height, wanted_width * height // width), wanted_width)
        top, left = round((cover[0] - wanted_height) / 2), round((cover[1] - wanted_width) / 2)
        return Placement(-top, -left, *cover)
    return Placement(0, 0, wanted_height, wanted_width)


def project_photo(pixels: Pixels, view: View, branch: Branch) -> tuple[Pixels, Mask | None]:
    """A photo [H', W', 3] as the query branch sees it, before normalisation.

    On an equirectangular canvas the photo is drawn where it looks, its centre column in the middle. A panorama whose
    rows (or some whole rows of it) are the canvas already is resized by the card's rule instead, as the authors of
    data sets of such panoramas do.

    Returns:
        uint8 [H, W, 3] at the branch's input size, and bool [H, W] where it shows the photo; None: everywhere.
    """
    if branch.projection == "plain":
        return _fitted(pixels, branch)
    assert branch.top_deg is not None and branch.bottom_deg is not None  # the card was checked
    height, width = branch.input_size
    rows = _rows_of_canvas(len(pixels), view, branch.top_deg, branch.bottom_deg)
    if rows is not None:
        return resize(pixels[rows], height, width, branch.resize), None
    return to_canvas(
        pixels,
        view,
        height=height,
        width=width,
        top_deg=branch.top_deg,
        bottom_deg=branch.bottom_deg,
    )


def shape_tiles(tiles: Pixels, branch: Branch, up: TileUp = "north") -> Pixels:
    """North-up tiles as the reference graph will see them, before normalisation: turned, warped or resized.

    Args:
        tiles: uint8 [N, P, P, 3], or [N, S, P, P, 3] where S extents are read together. Plain branches take pictures
            of any shape.
        up: the compass direction that the card wants at the top.

    Returns:
        uint8 [N, H, W, 3], or [N, S, H, W, 3].
    """
    height, width = branch.input_size
    several, flat = tiles.shape[:-3], tiles.reshape(-1, *tiles.shape[-3:])
    if up == "south":
        flat = flat[:, ::-1, ::-1]
    if branch.projection == "polar" and branch.polar == "safa":
        shaped = safa_warp(flat, height=height, width=width)
    elif branch.projection == "polar":
        shaped = polar_warp(flat, height=height, width=width, radii=branch.radii)
    elif flat.shape[1:3] == (height, width):
        shaped = flat
    else:
        shaped = np.stack([_fitted(tile, branch)[0] for tile in flat])
    return shaped.reshape(*several, height, width, 3)


def normalise(pixels: Pixels, branch: Branch) -> NDArray[np.float32]:
    """Bytes [N, H, W, 3] to ``(value/255 - mean)/std`` as float32 [N, 3, H, W], channels in the card's order."""
    # One fused multiply and add a channel, written straight into the layout the graph wants.
    out = np.empty((pixels.shape[0], 3, *pixels.shape[1:3]), np.float32)
    for channel in range(3):
        scale = np.float32(1.0 / (255.0 * branch.std[channel]))
        shift = np.float32(-branch.mean[channel] / branch.std[channel])
        colour = channel if branch.channels == "RGB" else 2 - channel
        np.multiply(pixels[..., colour], scale, out=out[:, channel], casting="unsafe")
        out[:, channel] += shift
    return out


def tiles_to_input(tiles: Pixels, branch: Branch, up: TileUp = "north") -> NDArray[np.float32]:
    """North-up tiles to the reference graph's input [N, 3, H, W], or [N, S, 3, H, W]: shaped, then normalised."""
    shaped = shape_tiles(tiles, branch, up)
    flat = normalise(shaped.reshape(-1, *shaped.shape[-3:]), branch)
    return flat.reshape(*shaped.shape[:-3], *flat.shape[1:])


def canvas_to_input(canvas: Pixels, mask: Mask | None, branch: Branch) -> NDArray[np.float32]:
    """What :func:`project_photo` gives to the query graph's input [N, 3, H, W].

    What a photo does not show of an equirectangular canvas is 0; the margin of a padded photo is black, and stays so.

    Args:
        canvas: [H, W, 3] or [N, H, W, 3].
        mask: [H, W] or [N, H, W], where the photo shows something; None: everywhere.
    """
    if canvas.ndim == 3:
        canvas, mask = canvas[None], None if mask is None else mask[None]
    out = normalise(canvas, branch)
    if mask is not None and branch.projection != "plain" and not mask.all():
        out *= mask[:, None]
    return out


def _fitted(pixels: Pixels, branch: Branch) -> tuple[Pixels, Mask | None]:
    height, width = branch.input_size
    at = placement(pixels.shape[0], pixels.shape[1], branch)
    resized = resize(pixels, at.height, at.width, branch.resize)
    if at.top <= 0 and at.left <= 0:
        return resized[-at.top : height - at.top, -at.left : width - at.left], None
    canvas = np.zeros((height, width, 3), np.uint8)
    mask = np.zeros((height, width), np.bool_)
    inside = slice(at.top, at.top + at.height), slice(at.left, at.left + at.width)
    canvas[inside], mask[inside] = resized, True
    return canvas, mask


def _rows_of_canvas(height: int, view: View, top_deg: float, bottom_deg: float) -> slice | None:
    """The rows of a level panorama over the full turn that are the canvas, if whole rows of it are."""
    tilted = view.pitch_deg != 0.0 or view.roll_deg != 0.0
    if not view.full_turn or tilted or view.usable != WHOLE:
        return None
    rows_a_degree = height / (view.top_deg - view.bottom_deg)
    first = (view.top_deg - top_deg) * rows_a_degree
    last = (view.top_deg - bottom_deg) * rows_a_degree
    if max(abs(first - round(first)), abs(last - round(last))) > _WHOLE_ROWS:
        return None
    if round(first) < 0 or round(last) > height or round(first) == round(last):
        return None
    return slice(round(first), round(last))
