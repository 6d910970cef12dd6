"""The changes of pictures that a recipe's ``augment`` section asks for, each picture on its own.

What happens to a picture follows from its batch's chance and its number in the batch alone, so that several processes
make the pictures that one would have made. Nothing is drawn where nothing is asked for: such batches are those of a
recipe without the section.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageEnhance, ImageOps
from torch import Tensor

from engine.training.augment import ColourJitter, blur, jitter_colour, occlude
from engine.training.photometric import Light, recolour, recolour_tiles
from engine.training.recipes import Recipe
from engine.training.sections import AugmentSection

Pixels = NDArray[np.uint8]
Mask = NDArray[np.bool_]
Side = Literal["photos", "tiles"]
_LIGHT, _COVER = 0, 1
_RATIO = (3 / 4, 4 / 3)
_TRIES = 10


def draw_variation(how: AugmentSection, rng: np.random.Generator, first: int) -> Variation | None:
    """What chance decides about the pictures of a batch, from its ``first`` one on; None where nothing is asked for."""
    return Variation(how, int(rng.integers(1 << 62)), first) if how.any else None


@dataclass(frozen=True)
class Variation:
    """Changes of pictures of which the first is number ``first`` of its batch."""

    how: AugmentSection
    seed: int
    first: int

    def photos(self, pictures: Pixels, *, wrap: bool = False) -> Pixels:
        """Photos uint8 [N, H, W, 3] in other colours, cuts and sharpness; ``wrap``: they are full turns."""
        return self._each(pictures, "photos", wrap)

    def tiles(self, pictures: Pixels, *, wrap: bool = False) -> Pixels:
        """Tiles uint8 [N, H, W, 3], or [N, S, H, W, 3] whose extents of one place change alike."""
        if pictures.ndim == 4:
            return self._each(pictures, "tiles", wrap)
        every = [self._each(pictures[:, i], "tiles", wrap) for i in range(pictures.shape[1])]
        return np.stack(every, axis=1)

    def covered(self, images: Tensor, side: Side, *, wrap: bool = False) -> tuple[Tensor, Mask]:
        """Normalised images [N, 3, H, W], or [N, S, 3, H, W], with rectangles of 0, and what is still seen."""
        how, shape = self.how, images.shape
        seen = np.ones((shape[0], *shape[-2:]), bool)
        if how.occlude_share <= 0 or not self._concerns(side):
            return images, seen
        changed = images.clone()
        for i in range(len(images)):
            flat, seen[i] = occlude_one(
                images[i].reshape(1, -1, *shape[-2:]), how, self._chance(i, side, _COVER), wrap
            )
            changed[i] = flat.view_as(changed[i])
        return changed, seen

    def _concerns(self, side: Side) -> bool:
        return self.how.sides in ("both", side)

    def _chance(self, index: int, side: Side, what: int) -> np.random.Generator:
        number = self.first + index
        return np.random.default_rng((self.seed, number, int(side == "tiles"), what))

    def _each(self, pictures: Pixels, side: Side, wrap: bool) -> Pixels:
        how = self.how
        if not self._concerns(side):
            return pictures
        changed = pictures.copy()
        for i in range(len(pictures)):
            rng = self._chance(i, side, _LIGHT)
            jittered, blurred = rng.random(2) < (how.jitter_share, how.blur_share)
            if how.jitters and jittered:
                reach = ColourJitter(how.brightness, how.contrast, how.saturation, how.hue)
                changed[i] = _as_tensor(changed[i], lambda x: jitter_colour(x, reach, rng))  # noqa: B023
            if blurred:
                sigma = rng.uniform(0.0, how.blur_sigma, 1)
                changed[i] = _as_tensor(changed[i], lambda x: blur(x, sigma, wrap=wrap))  # noqa: B023
            if side == "photos" and how.random_operations:
                changed[i] = random_operations(changed[i], how.random_operations, rng)
            if side == "photos" and how.crop < 1:
                changed[i] = random_cut(changed[i], how.crop, rng)
        return changed


def to_inputs(
    recipe: Recipe,
    canvases: Pixels,
    seen: Mask,
    tiles: Pixels,
    lights: Sequence[Light],
    varied: Variation | None,
) -> tuple[Tensor, Tensor, Mask]:
    """Photos and tiles, varied and normalised, as the two branches read them, and what is seen of the photos.

    Args:
        canvases: uint8 [N, H, W, 3]; seen: [N, H, W], where they show something.
        tiles: uint8 [N, H, W, 3] or [N, S, H, W, 3].
        lights: of the photos and of the tiles.
    """
    canvas = recipe.canvas
    level = canvas.projection == "equirectangular"
    polar = recipe.tile.projection == "polar"
    if varied is not None:
        canvases = varied.photos(canvases, wrap=level)
        tiles = varied.tiles(tiles, wrap=polar)
    photos = recolour(canvases, canvas.mean, canvas.std, lights[0], canvas.channels)
    grounds = recolour_tiles(tiles, recipe.tile, lights[1])
    if varied is not None:
        photos, uncovered = varied.covered(photos, "photos", wrap=level)
        grounds, _ = varied.covered(grounds, "tiles", wrap=polar)
        seen = seen & uncovered
    # The margin of a padded photo is black, as its authors pad; only a canvas has parts that are not there.
    return photos * torch.from_numpy(seen)[:, None] if level else photos, grounds, seen


def occlude_one(
    image: Tensor, how: AugmentSection, rng: np.random.Generator, wrap: bool
) -> tuple[Tensor, Mask]:
    """One image [1, C, H, W] covered as ``how`` says; the image and what is seen of it [H, W]."""
    covered, seen = occlude(
        image,
        rng,
        share=how.occlude_share,
        holes=how.occlude_holes,
        area=how.occlude_area,
        wrap=wrap,
    )
    return covered, seen[0]


def _as_tensor(picture: Pixels, change: Callable[[Tensor], Tensor]) -> Pixels:
    """A change of tensors [1, 3, H, W] in 0..1 done to bytes [H, W, 3]."""
    values = torch.from_numpy(picture).permute(2, 0, 1)[None].float() / 255
    changed = change(values)[0].permute(1, 2, 0)
    return (changed * 255).round().clamp(0, 255).to(torch.uint8).numpy()


def random_cut(picture: Pixels, least: float, rng: np.random.Generator) -> Pixels:
    """A rectangle of the picture of ``least`` to all of its area, a little taller or wider, at its full size again
    (torchvision's RandomResizedCrop, bilinear)."""
    height, width = picture.shape[:2]
    box = (0, 0, width, height)
    for _ in range(_TRIES):
        area = height * width * rng.uniform(least, 1.0)
        ratio = math.exp(rng.uniform(math.log(_RATIO[0]), math.log(_RATIO[1])))
        wide, high = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
        if 0 < wide <= width and 0 < high <= height:
            left, top = rng.integers(0, width - wide + 1), rng.integers(0, height - high + 1)
            box = (int(left), int(top), int(left) + wide, int(top) + high)
            break
    image = Image.fromarray(picture)
    return np.asarray(image.resize((width, height), Image.Resampling.BILINEAR, box=box))


def random_operations(picture: Pixels, count: int, rng: np.random.Generator) -> Pixels:
    """``count`` operations drawn from :data:`OPERATIONS`, one after the other (RandAugment, Cubuk et al., 2020)."""
    image = Image.fromarray(picture)
    for _ in range(count):
        operation = OPERATIONS[int(rng.integers(len(OPERATIONS)))]
        image = operation(image, 1.0 if rng.random() < 0.5 else -1.0)
    return np.asarray(image)


def _moved(image: Image.Image, matrix: tuple[float, ...]) -> Image.Image:
    return image.transform(
        image.size, Image.Transform.AFFINE, matrix, resample=Image.Resampling.BILINEAR
    )


_STRENGTH = 9 / 30
"""torchvision's: the ninth of thirty steps."""

OPERATIONS: tuple[Callable[[Image.Image, float], Image.Image], ...] = (
    lambda image, sign: image,
    lambda image, sign: _moved(image, (1, sign * 0.3 * _STRENGTH, 0, 0, 1, 0)),
    lambda image, sign: _moved(image, (1, 0, 0, sign * 0.3 * _STRENGTH, 1, 0)),
    lambda image, sign: _moved(
        image, (1, 0, sign * int(150 / 331 * image.width * _STRENGTH), 0, 1, 0)
    ),
    lambda image, sign: _moved(
        image, (1, 0, 0, 0, 1, sign * int(150 / 331 * image.height * _STRENGTH))
    ),
    lambda image, sign: image.rotate(sign * 30 * _STRENGTH, Image.Resampling.BILINEAR),
    lambda image, sign: ImageEnhance.Brightness(image).enhance(1 + sign * 0.9 * _STRENGTH),
    lambda image, sign: ImageEnhance.Color(image).enhance(1 + sign * 0.9 * _STRENGTH),
    lambda image, sign: ImageEnhance.Contrast(image).enhance(1 + sign * 0.9 * _STRENGTH),
    lambda image, sign: ImageEnhance.Sharpness(image).enhance(1 + sign * 0.9 * _STRENGTH),
    lambda image, sign: ImageOps.posterize(image, 8 - round(4 * _STRENGTH)),
    lambda image, sign: ImageOps.solarize(image, round(255 * (1 - _STRENGTH))),
    lambda image, sign: ImageOps.autocontrast(image),
    lambda image, sign: ImageOps.equalize(image),
)
"""RandAugment's, with torchvision's reaches: none, shear and shift along either side, rotation, brightness, colour,
contrast and sharpness (all of them either way), posterise, solarise, autocontrast, equalise."""
