"""The sections of a recipe: everything that decides a training, one dataclass a section."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

Triple = tuple[float, float, float]


Options = Mapping[str, Any]
"""The keys of a section that are another's to know: what a network, a loss, a sampler or a reader is asked for."""


@dataclass(frozen=True)
class NetworkSection:
    """The network: a name of :mod:`engine.networks.registry`; all further keys are its options.

    Args:
        azimuth_blocks: K, where the descriptor is made of blocks by bearing; 1: it is one whole.
        pretrained: a file of weights to begin with; see :mod:`engine.networks.pretrained`.
    """

    name: str = "sector-resnet"
    azimuth_blocks: int = 1
    pretrained: str = ""
    options: Options = field(default_factory=dict)


@dataclass(frozen=True)
class TileSection:
    """The tile, and what the network is shown of it.

    ``polar``: its polar image, whose row radii grow from ``near_m`` to ``far_m`` by ``radius_power``. ``plain``: the
    tile itself, cut at ``pixels`` and brought to ``height`` by ``width``. ``extents_m`` (plain only): several cuts of
    one place, read together, instead of the one of ``extent_m``. ``resize``, ``fit``, ``channels`` (``mean`` and
    ``std`` are in their order) and ``polar`` are those of :class:`engine.encoder.Branch`; SAFA's polar image has its
    own radii.
    """

    projection: Literal["polar", "plain"] = "polar"
    fit: Literal["stretch", "pad", "crop"] = "stretch"
    resize: Literal["area", "bilinear", "bicubic", "linear", "gaussian"] = "area"
    extent_m: float = 100.0
    extents_m: tuple[float, ...] = ()
    pixels: int = 200
    height: int = 64
    width: int = 256
    near_m: float = 2.0
    far_m: float = 50.0
    radius_power: float = 1.5
    index_stride_m: float = 8.0
    mean: Triple = (0.45, 0.45, 0.45)
    std: Triple = (0.25, 0.25, 0.25)
    channels: Literal["RGB", "BGR"] = "RGB"
    polar: Literal["centred", "safa"] = "centred"

    @property
    def radii(self) -> tuple[float, ...]:
        """Radius of every row, far row first, in half-extents."""
        share = (self.height - np.arange(self.height) - 0.5) / self.height
        metres = self.near_m + (self.far_m - self.near_m) * share**self.radius_power
        return tuple(float(r) for r in np.round(metres / (self.extent_m / 2), 6))


@dataclass(frozen=True)
class CanvasSection:
    """What the network is shown of a photo.

    ``equirectangular``: the photo drawn where it looks on a canvas of the full turn, ``bottom_deg`` to ``top_deg``
    high. ``plain``: the photo itself, brought to ``height`` by ``width`` as :class:`engine.encoder.Branch` says.
    """

    projection: Literal["equirectangular", "plain"] = "equirectangular"
    fit: Literal["stretch", "pad", "crop"] = "stretch"
    resize: Literal["area", "bilinear", "bicubic", "linear", "gaussian"] = "area"
    height: int = 64
    width: int = 256
    top_deg: float = 40.0
    bottom_deg: float = -36.0
    query_subshifts: int = 2
    mean: Triple = (0.45, 0.45, 0.45)
    std: Triple = (0.25, 0.25, 0.25)
    channels: Literal["RGB", "BGR"] = "RGB"


@dataclass(frozen=True)
class QuerySection:
    """Which photos are made from a panorama. Angles in degrees.

    ``heading``: ``any`` way they may look, or ``north`` as in data sets whose panoramas are aligned with the tile.
    ``full_share`` of them are panoramas, of which ``tilted_share`` are tilted by a normal angle of ``tilt_std``.
    The rest are perspective photos: field of view triangular between ``fov_min`` and ``fov_max`` about ``fov_mode``,
    shape from ``aspects`` (width over height), tilt normal with the given deviations and the pitch cut at
    ``pitch_max``, unprojected level and with a field of view that is wrong by a factor of deviation ``fov_error``.
    """

    heading: Literal["any", "north"] = "any"
    full_share: float = 0.4
    tilted_share: float = 0.3
    tilt_std: float = 1.5
    fov_min: float = 60.0
    fov_mode: float = 90.0
    fov_max: float = 120.0
    aspects: tuple[float, ...] = (4 / 3, 3 / 2, 16 / 9, 3 / 4)
    pitch_std: float = 5.0
    pitch_max: float = 12.0
    roll_std: float = 2.0
    fov_error: float = 0.03


@dataclass(frozen=True)
class BatchSection:
    """How pairs come together.

    ``towns`` towns are in one batch (0: any). ``group_size`` pairs lie within ``group_radius_m`` of each other, so
    that the batch holds neighbours to be told apart. ``shift_m`` is how far the tile's centre may lie from the
    photo, either way in both axes; ``flip`` mirrors both views of half the pairs; ``turn`` turns both by the same
    angle where the heading is north: any angle for polar images, quarters for plain tiles (with photos that are
    ``plain`` themselves the tiles alone, on data sets).

    ``size`` is one process's; several under ``torchrun`` make one batch of all of theirs. ``chunk`` pairs are in
    memory at once (0: all): the batch is gone through twice, and the gradient is that of the whole batch.
    """

    size: int = 64
    chunk: int = 0
    towns: int = 0
    group_size: int = 1
    group_radius_m: float = 120.0
    shift_m: float = 5.0
    flip: bool = True
    turn: bool = False
    workers: int = 1


@dataclass(frozen=True)
class PhotometricSection:
    """How the two views are made to differ, each on its own. Deviations of normal distributions.

    ``gamma``: of its logarithm. ``colour``: of the entries of a 3 x 3 matrix about one. ``brightness``: of an offset.
    ``noise``: largest deviation of pixel noise. ``blur_share``: how many are blurred. All for values in 0..1.
    """

    gamma: float = 0.2
    colour: float = 0.06
    contrast: float = 0.15
    brightness: float = 0.06
    noise: float = 0.03
    blur_share: float = 0.2


@dataclass(frozen=True)
class AugmentSection:
    """Further changes of the pictures, each picture on its own, none unless asked for; see
    :mod:`engine.training.variation`.

    Args:
        sides: whose pictures are changed.
        brightness, contrast, saturation, hue: how far colours may go, as :class:`engine.training.augment.ColourJitter`
            has them; ``jitter_share`` of the pictures are changed so.
        random_operations: of torchvision's RandAugment at its usual strength, how many are done to every picture
            (photos that are no panoramas, alone: some move the picture).
        crop: a photo's cut of random size, brought back to the full one, covers at least this share of it; 1: all
            (likewise).
        blur_share: of the pictures, blurred by a Gaussian of up to ``blur_sigma`` pixels.
        occlude_share: of the pictures, in which from the least to the most of ``occlude_holes`` rectangles are
            covered, each from the least to the most of ``occlude_area`` of the picture.
    """

    sides: Literal["both", "photos", "tiles"] = "both"
    brightness: float = 0.0
    contrast: float = 0.0
    saturation: float = 0.0
    hue: float = 0.0
    jitter_share: float = 1.0
    random_operations: int = 0
    crop: float = 1.0
    blur_share: float = 0.0
    blur_sigma: float = 1.5
    occlude_share: float = 0.0
    occlude_holes: tuple[int, int] = (1, 1)
    occlude_area: tuple[float, float] = (0.02, 0.2)

    @property
    def jitters(self) -> bool:
        """Whether colours are changed."""
        reach = self.brightness, self.contrast, self.saturation, self.hue
        return any(reach) and self.jitter_share > 0

    @property
    def any(self) -> bool:
        """Whether anything is asked for."""
        return (
            self.jitters
            or self.random_operations > 0
            or self.crop < 1
            or self.blur_share > 0
            or self.occlude_share > 0
        )


@dataclass(frozen=True)
class MiningSection:
    """Which pairs meet in a batch: a name of :mod:`engine.training.mining`; all further keys are its options.

    ``drawn`` is the towns' own way, by neighbourhood (see :class:`BatchSection`). With ``tuples-random``,
    ``tuples-partial`` and ``tuples-full`` a batch is ``batch.size`` tuples of photos of the street: a photo, the
    photo of the database that shows its place best, and mined ones that do not.
    """

    name: str = "drawn"
    options: Options = field(default_factory=dict)


@dataclass(frozen=True)
class LossSection:
    """The loss: a name of :mod:`engine.training.losses`; all further keys are its options.

    Args:
        exclude_m: a photo and another pair's tile nearer than this are no negatives; 0: everything else is.
    """

    name: str = "sector-info-nce"
    exclude_m: float = 25.0
    options: Options = field(default_factory=dict)


@dataclass(frozen=True)
class OptimiserSection:
    """How the weights are moved.

    Args:
        name: the optimiser; ``sam`` a second look at a worse place nearby before every step, ``rho`` away.
        rate: the highest learning rate; ``schedule`` leads to it over ``warmup`` steps and down to ``final`` of it
            over ``steps``. A budget of minutes, given when the training is started, takes the place of ``steps``.
        drops: shares of the training after which the rate falls to ``drop`` of what it was, with the schedule
            ``step``.
        decay: weight decay, of weights alone (norms, biases and scales do not decay), or with ``decay_all`` of all.
        momentum: of ``sgd``; eta: of ``asam-samsung``.
        loss_rate: the factor on the learning rate of the loss's own weights, where it has some.
        rates: factors on the learning rate of parts of the network: the weights whose names hold a key between dots
            (``crn``: CRN's mask) take the first such key's.
        clip: largest norm of the gradient; 0: any.
        average: decay of the moving average of the weights, which is what is validated and exported.
        precision: of the branches' computing; weights and losses stay fp32.
        compile: whether the branches are compiled (worth it on a GPU).
    """

    name: Literal["adamw", "adam", "sgd"] = "adamw"
    sam: Literal["none", "sam", "asam", "asam-samsung"] = "none"
    rho: float = 0.05
    rate: float = 1e-3
    schedule: str = "cosine"
    final: float = 0.01
    drops: tuple[float, ...] = (0.6, 0.8)
    drop: float = 0.1
    decay: float = 0.05
    decay_all: bool = False
    momentum: float = 0.9
    eta: float = 0.01
    loss_rate: float = 1.0
    rates: Options = field(default_factory=dict)
    warmup: int = 150
    clip: float = 5.0
    steps: int = 40_000
    average: float = 0.999
    precision: Literal["bf16", "fp16", "fp32"] = "bf16"
    channels_last: bool = True
    compile: bool = False


@dataclass(frozen=True)
class ValidationSection:
    """Every ``every`` steps on ``queries`` photos of each kind, against tiles at ``stride_m`` over a whole town.

    ``pictures`` of them are drawn with their tiles and heatmaps, for people to watch.
    """

    every: int = 2000
    queries: int = 200
    pictures: int = 4
    stride_m: float = 10.0
    within_m: float = 25.0


@dataclass(frozen=True)
class DataSection:
    """Where the pairs come from.

    ``format`` is ``towns``, or one of :mod:`engine.datasets` with its splits, whose options are all further keys.
    The towns named are rendered when the data folder lacks them; none: the folder is taken as it is. ``towns`` and
    ``validation`` are seeds; every training town gives ``pairs`` places from ``area_km2``.

    ``classes`` makes a set of photos, labelled by place, of the data: ``by`` is one of
    :mod:`engine.training.photo_classes` and its further keys are options. Then no tiles are read: a batch is photos
    and their labels, chosen by the mining ``places`` or ``class-groups``.

    ``validation_format`` and ``validation_folder`` (relative to the data's) are where the validation split is, if it
    belongs to another dataset; it is opened without options.
    """

    format: str = "towns"
    train_split: str = "train"
    validation_split: str = "val"
    towns: tuple[int, ...] = ()
    validation: tuple[int, ...] = ()
    validation_format: str = ""
    validation_folder: str = ""
    pairs: int = 1600
    validation_pairs: int = 500
    area_km2: float = 1.0
    classes: Options = field(default_factory=dict)
    options: Options = field(default_factory=dict)


@dataclass(frozen=True)
class AboutSection:
    """What goes into the encoder's card."""

    architecture: str = ""
    data: str = ""
    licence: str = ""
    note: str = ""
