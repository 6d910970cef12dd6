"""What the published street-view networks have in common: one network for both sides, photos of the street on both.

The graph serves photo and reference alike. Colours are normalised by ImageNet's mean and standard deviation.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import nn

from engine.encoder import Branch
from engine.encoder.card import Fit, Resize
from engine.networks.dual import DualEncoder
from engine.networks.parts import Size
from engine.networks.releases import Found, Preprocessing, Shapes, State
from engine.networks.street.resnet import DEPTHS, BasicBlock

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
GRAPH = "model.onnx"
EXTENT_M = 50.0
"""What a street photo shows, roughly: a card must say an extent, and these networks know none."""
NOTE = (
    "Trained to compare street photos with street photos. Tiles seen from above are not what it knows: "
    "its references should be photos."
)


def shared(branch: nn.Module, scale: float | None = None) -> DualEncoder:
    """One branch for both sides; in the state dict it is called ``model``."""
    return DualEncoder(branch, branch, names=("model", "model"), scale=scale)


def prefixed(state: State, found: Found) -> State:
    """A checkpoint of one network as the state of :func:`shared`."""
    return {f"model.{name}": value for name, value in state.items()}


def as_size(value: Sequence[int]) -> Size:
    """Two whole numbers, at least 1."""
    height, width = (int(number) for number in value)
    if height < 1 or width < 1:
        raise ValueError(f"{height} x {width} is no image size")
    return height, width


def one_input(options: Mapping[str, Any]) -> dict[str, Any]:
    """Options of a network for both sides, whose input may be said as that of the photos and of the references.

    Raises:
        ValueError: the two sides are of different sizes.
    """
    kept = dict(options)
    sizes = [as_size(kept.pop(key)) for key in ("query_size", "reference_size") if key in kept]
    if len(set(sizes)) > 1:
        raise ValueError("one network reads both sides, so both must have one size")
    return {"input_size": sizes[0], **kept} if sizes else kept


def preprocessing(
    found: Found,
    *,
    data: str,
    licence: str,
    resize: Resize = "bilinear",
    fit: Fit = "stretch",
    note: str = "",
) -> Preprocessing:
    """Both sides of the card: resized to the size that was found, nothing else."""

    def side(size: Size, tile_pixels: int | None) -> Branch:
        return Branch(
            graph=GRAPH,
            input_size=size,
            mean=IMAGENET_MEAN,
            std=IMAGENET_STD,
            projection="plain",
            resize=resize,
            fit=fit,
            tile_pixels=tile_pixels,
        )

    return Preprocessing(
        query=side(found.query_size, None),
        reference=side(found.reference_size, max(found.reference_size)),
        tile_extents_m=(EXTENT_M,),
        stride_m=EXTENT_M / 2,
        data=data,
        licence=licence,
        note=f"{NOTE} {note}".strip(),
    )


def found(
    network: str,
    variant: str,
    size: Size,
    options: Mapping[str, Any],
    choices: Mapping[str, tuple[str, ...]] | None = None,
) -> Found:
    """What was recognised, for a network that reads one size."""
    return Found(
        network=network,
        variant=variant,
        query_size=size,
        reference_size=size,
        options={"input_size": list(size), **options},
        choices=choices or {},
    )


def starting(shapes: Shapes, prefix: str) -> dict[str, tuple[int, ...]]:
    """The entries whose names start with ``prefix``, without it."""
    return {name[len(prefix) :]: shape for name, shape in shapes.items() if name.startswith(prefix)}


def resnet_of(shapes: Shapes) -> dict[str, Any] | None:
    """Which ResNet these (unprefixed) parameters are: ``depth``, ``cut``, ``named``, and what differs from the usual.

    None: not one.
    """
    named = "conv1.weight" in shapes
    stem = shapes.get("conv1.weight" if named else "0.weight", ())
    if len(stem) != 4 or stem[1:] != (3, 7, 7):
        return None
    stages = [f"layer{n}" if named else str(n + 3) for n in range(1, 5)]
    counts = [
        len({name.split(".")[1] for name in shapes if name.startswith(f"{stage}.")})
        for stage in stages
    ]
    cut = 5 if counts[3] else 4
    counts = counts[: cut - 1]
    if min(counts) < 1:
        return None
    basic = f"{stages[0]}.0.conv3.weight" not in shapes
    usual = {
        depth: kind.blocks[: cut - 1]
        for depth, kind in DEPTHS.items()
        if (kind.block is BasicBlock) == basic
    }
    # 50 and 101 differ in conv4 alone, so that a cut after conv4 tells them apart too.
    depth = next((d for d, blocks in usual.items() if blocks == tuple(counts)), None)
    options: dict[str, Any] = {"depth": depth or min(usual), "cut": cut, "named": named}
    if depth is None:
        options["blocks"] = counts
    if stem[0] != 64:
        options["width"] = stem[0]
    return options


def vgg_of(shapes: Shapes) -> dict[str, Any] | None:
    """Options of VGG16 for these (unprefixed) parameters; None: not one."""
    first, last = shapes.get("0.weight", ()), shapes.get("28.weight", ())
    if len(first) != 4 or first[1:] != (3, 3, 3) or len(last) != 4:
        return None
    return {} if first[0] == 64 else {"width": first[0]}
