"""What the published datasets look like, as branches of a card: sizes in degrees and metres, colours, tiles.

Every paper's weights were made for one of these pictures, so a release says which and how its authors resize.

==========  ==============================================  =============================================
dataset     panorama                                        tile
==========  ==============================================  =============================================
CVUSA       1232 x 224 pixels, 360° x 65.45° (square        750 pixels, Bing zoom 19: about 0.233 m a
            pixels), taken as centred on the horizon        pixel at 39° N
CVACT       1664 x 832, of which the authors read the       1200 pixels, Google zoom 20: about 0.12 m a
            middle half of the rows: 360° x 90°             pixel at Canberra
VIGOR       2048 x 1024, the whole sphere                   640 pixels of 0.114 m
==========  ==============================================  =============================================

CVUSA and CVACT pair every panorama with one tile about its place; VIGOR's tiles overlap by half, so that a panorama
lies in the middle quarter of one of them.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from engine.encoder import Branch
from engine.networks.releases import Preprocessing, Size

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
CAFFE_MEAN = (103.939 / 255, 116.779 / 255, 123.6 / 255)
"""Blue, green, red: what the VGG weights of the time were trained with; nothing is divided (see ``CAFFE_STD``)."""
CAFFE_STD = (1 / 255, 1 / 255, 1 / 255)


@dataclass(frozen=True)
class Pictures:
    """A dataset's pictures.

    Args:
        name: of the dataset.
        half_height_deg: the panorama shows elevations from minus this to this.
        tile_pixels: side of a tile.
        extent_m: ground that a tile covers, metres.
        stride_m: distance of tiles that suits the weights trained on it.
        terms: what the dataset's owners allow.
    """

    name: str
    half_height_deg: float
    tile_pixels: int
    extent_m: float
    stride_m: float
    terms: str


CVUSA = Pictures(
    "CVUSA", 180 * 224 / 1232, 750, 175.0, 20.0, "CVUSA is for research use, on request"
)
CVACT = Pictures("CVACT", 45.0, 1200, 144.0, 16.0, "CVACT is for research use, on request")
VIGOR = Pictures("VIGOR", 90.0, 640, 72.96, 36.48, "VIGOR is for research use")


def pictures_for(query_size: Size) -> Pictures:
    """Whose panoramas have this shape, where weights do not tell: 1:2 is VIGOR's whole sphere, else CVUSA's band."""
    height, width = query_size
    return VIGOR if 2 * height == width else CVUSA


def sizes(query_size: Size, reference_size: Size) -> dict[str, Any]:
    """The options of a network that say what it reads; an import puts the user's in their place."""
    return {"query_size": query_size, "reference_size": reference_size}


def panorama_branch(pictures: Pictures, size: Size, **more: Any) -> Branch:
    """The photo's side for panoramas of ``pictures``, ImageNet's colours unless ``more`` says otherwise."""
    branch = Branch(
        graph="query.onnx",
        input_size=size,
        mean=IMAGENET_MEAN,
        std=IMAGENET_STD,
        projection="equirectangular",
        top_deg=pictures.half_height_deg,
        bottom_deg=-pictures.half_height_deg,
        fov_trained_deg=(360.0, 360.0),
    )
    return replace(branch, **more)


def tile_branch(pictures: Pictures, size: Size, **more: Any) -> Branch:
    """The tile's side for tiles of ``pictures``, resized to ``size``."""
    branch = Branch(
        graph="reference.onnx",
        input_size=size,
        mean=IMAGENET_MEAN,
        std=IMAGENET_STD,
        projection="plain",
        tile_pixels=pictures.tile_pixels,
    )
    return replace(branch, **more)


def paired(
    pictures: Pictures,
    query: Branch,
    reference: Branch,
    *,
    licence: str,
    query_subshifts: int = 16,
    note: str = "",
) -> Preprocessing:
    """Both sides of an encoder for the pictures of one dataset.

    Args:
        licence: of the weights, for people.
        query_subshifts: encodings of a panorama, rolled, when its heading is to be found.
        note: shown with every result.
    """
    return Preprocessing(
        query=query,
        reference=reference,
        tile_extents_m=(pictures.extent_m,),
        stride_m=pictures.stride_m,
        query_subshifts=query_subshifts,
        data=pictures.name,
        licence=f"{licence}. {pictures.terms}.",
        note=note,
    )


def cvusa_or_cvact(pre: Preprocessing) -> Preprocessing:
    """``pre`` for CVUSA, said of weights that may as well be CVACT's: networks for both have the same shapes."""
    notes = ("Weights trained on CVACT expect 90 degrees of height", pre.note)
    return replace(
        pre,
        data="CVUSA or CVACT",
        licence=pre.licence.replace(
            CVUSA.terms, "CVUSA and CVACT are for research use, on request"
        ),
        note=". ".join(note for note in notes if note),
    )


def untrained(
    size: Size,
    *,
    mean: tuple[float, float, float] = IMAGENET_MEAN,
    std: tuple[float, float, float] = IMAGENET_STD,
    licence: str,
) -> Preprocessing:
    """Pictures as ImageNet's are shown (the middle square, bicubic) on both sides, for weights that are no more than a
    start; tiles as VIGOR's, for want of any."""
    photos = Branch("query.onnx", size, mean, std, "plain", resize="bicubic", fit="crop")
    tiles = tile_branch(VIGOR, size, mean=mean, std=std, resize="bicubic")
    pre = paired(
        VIGOR,
        photos,
        tiles,
        licence=licence,
        query_subshifts=1,
        note="These weights are a start for training; they were not trained to compare photos with tiles",
    )
    return replace(pre, data="ImageNet", licence=f"{licence}. ImageNet is for research use.")
