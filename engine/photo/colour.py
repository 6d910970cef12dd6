"""Any of Pillow's colour modes to 8-bit sRGB."""

from __future__ import annotations

import io
from functools import lru_cache

import numpy as np
from PIL import Image, ImageCms

_BEHIND_TRANSPARENCY = (128, 128, 128)


def to_srgb(image: Image.Image, factor: int = 1) -> tuple[Image.Image, list[str]]:
    """Convert a loaded picture to RGB, through its colour profile where it has one.

    Args:
        image: any mode.
        factor: shrink by this whole factor on the way, averaging areas.

    Returns:
        the picture and notes on what a person would want to know.
    """
    notes: list[str] = []
    profile = image.info.get("icc_profile")
    if image.mode in ("I", "F") or image.mode.startswith("I;16"):
        image, note = _to_grey(image)
        notes.append(note)
    elif image.mode in ("P", "PA", "1") or "transparency" in image.info:
        transparent = image.mode == "PA" or "transparency" in image.info
        image = image.convert("RGBA" if transparent else "L" if image.mode == "1" else "RGB")
    if factor > 1:
        # Jpeg2KImageFile has a property of the same name in the way of the method.
        image = Image.Image.reduce(image, factor)
    if image.mode in ("RGBA", "LA", "RGBa", "La"):
        image, transparent = _without_alpha(image)
        if transparent:
            notes.append("It is transparent in places; they were filled with grey.")
    if profile and image.mode in ("RGB", "L", "CMYK", "LAB"):
        image, note = _through_profile(image, profile)
        notes.append(note)
    if image.mode == "LAB":
        image = (
            ImageCms.profileToProfile(
                image, ImageCms.createProfile("LAB"), _srgb(), outputMode="RGB"
            )
            or image
        )
    return image if image.mode == "RGB" else image.convert("RGB"), notes


def _to_grey(image: Image.Image) -> tuple[Image.Image, str]:
    """More than 8 bits a pixel to 8. Whole numbers keep their scale; other numbers are stretched."""
    values = np.asarray(image)
    if image.mode == "F":
        finite = values[np.isfinite(values)]
        low, high = (
            (float(v) for v in np.percentile(finite, (1, 99))) if finite.size else (0.0, 1.0)
        )
        values = np.nan_to_num(values, nan=low, posinf=high, neginf=low)
        note = "Its floating-point values were stretched to shades of grey."
    else:
        low, high, note = 0.0, 65535.0, ""
        brightest = int(values.max())
        if not 1 << 14 <= brightest <= 65535:
            # Twelve bits in a container of sixteen, or a mask: full scale is the next power of two.
            high = float((1 << max(1, brightest.bit_length())) - 1)
            note = "Its values use only part of their range and were stretched."
    scaled = (values.astype(np.float32) - low) * (255.0 / max(high - low, 1e-12))
    return Image.fromarray(np.rint(scaled.clip(0, 255)).astype(np.uint8)), note


def _without_alpha(image: Image.Image) -> tuple[Image.Image, bool]:
    image = image.convert("RGBA")
    alpha = image.getchannel("A")
    lowest = alpha.getextrema()[0]
    if lowest == 255:
        return image.convert("RGB"), False
    behind = Image.new("RGB", image.size, _BEHIND_TRANSPARENCY)
    behind.paste(image, mask=alpha)
    return behind, True


def _through_profile(image: Image.Image, profile: bytes) -> tuple[Image.Image, str]:
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        if image.mode == "RGB" and "srgb" in ImageCms.getProfileDescription(source).lower():
            return image, ""
        converted = ImageCms.profileToProfile(image, source, _srgb(), outputMode="RGB")
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
        return image, "Its colour profile is damaged or does not fit; plain colours were assumed."
    return converted or image, ""


@lru_cache(maxsize=1)
def _srgb() -> ImageCms.ImageCmsProfile:
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))
