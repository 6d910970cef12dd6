"""The one preprocessing: pixels to a graph's input, by the card alone.

Training, export, index and application call these functions, so that an encoder always sees in use what it
saw while it learned.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from engine.encoder.card import Branch
from engine.photo.polar import polar_warp

_FILTERS = {
    "area": Image.Resampling.BOX,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
}


def normalise(pixels: NDArray[np.uint8], branch: Branch) -> NDArray[np.float32]:
    """Bytes [N, H, W, 3] to ``(value/255 - mean)/std`` as float32 [N, 3, H, W]."""
    # One fused multiply and add a channel, written straight into the layout the graph wants.
    out = np.empty((pixels.shape[0], 3, *pixels.shape[1:3]), np.float32)
    for channel in range(3):
        scale = np.float32(1.0 / (255.0 * branch.std[channel]))
        shift = np.float32(-branch.mean[channel] / branch.std[channel])
        np.multiply(pixels[..., channel], scale, out=out[:, channel], casting="unsafe")
        out[:, channel] += shift
    return out


def shape_tiles(tiles: NDArray[np.uint8], branch: Branch) -> NDArray[np.uint8]:
    """North-up tiles [N, P, P, 3] as the reference graph will see them [N, H, W, 3]: warped or resized."""
    height, width = branch.input_size
    if branch.projection == "polar":
        return polar_warp(tiles, height=height, width=width, radii=branch.radii)
    return _resize(tiles, height, width, branch)


def tiles_to_input(tiles: NDArray[np.uint8], branch: Branch) -> NDArray[np.float32]:
    """North-up tiles [N, P, P, 3] to the reference graph's input [N, 3, H, W]: shaped, then normalised."""
    return normalise(shape_tiles(tiles, branch), branch)


def canvas_to_input(
    canvas: NDArray[np.uint8], mask: NDArray[np.bool_], branch: Branch
) -> NDArray[np.float32]:
    """Query canvases to the query graph's input [N, 3, H, W]; what the photo does not show is 0.

    Args:
        canvas: [H, W, 3] or [N, H, W, 3], the photo drawn on the canvas that the card describes.
        mask: [H, W] or [N, H, W], where the photo shows something.
    """
    if canvas.ndim == 3:
        canvas, mask = canvas[None], mask[None]
    out = normalise(canvas, branch)
    if not mask.all():
        out *= mask[:, None]
    return out


def plain_to_input(pixels: NDArray[np.uint8], branch: Branch) -> NDArray[np.float32]:
    """A photo [H', W', 3] resized to the graph's input [1, 3, H, W]: for branches with no projection."""
    return normalise(_resize(pixels[None], *branch.input_size, branch), branch)


def _resize(
    images: NDArray[np.uint8], height: int, width: int, branch: Branch
) -> NDArray[np.uint8]:
    if images.shape[1:3] == (height, width):
        return images
    rule = _FILTERS[branch.resize]
    return np.stack(
        [np.asarray(Image.fromarray(image).resize((width, height), rule)) for image in images]
    )
