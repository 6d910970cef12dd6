"""The card of an encoder: everything that is needed to use it, written beside its graphs as ``card.json``.

Version 1. Reading is strict: a key that is missing, unknown or of the wrong kind is an :class:`EncoderError`
that names it, because a card that is half understood gives descriptors that are quietly wrong.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, cast

from engine.encoder.keys import Keys
from engine.errors import EncoderError

FORMAT = "nadir-encoder"
VERSION = 1
CARD_FILE = "card.json"
CARD_MAX_BYTES = 1 << 20
HEADING_CONVENTION = "centre-column"

Projection = Literal["equirectangular", "polar", "plain"]
Resize = Literal["area", "bilinear", "bicubic", "linear", "gaussian"]
Channels = Literal["RGB", "BGR"]
Fit = Literal["stretch", "pad", "crop"]
Polar = Literal["centred", "safa"]
Missing = Literal["black", "white"]
TileUp = Literal["north", "south"]
FeatureKind = Literal["contributions", "attention"]
Side = Literal["query", "reference"]

RESIZES: tuple[Resize, ...] = ("area", "bilinear", "bicubic", "linear", "gaussian")
_ADDED: dict[str, Any] = {
    "channels": "RGB",
    "fit": "stretch",
    "polar": "centred",
    "missing": "black",
}
"""Keys of a branch that came later, with what their absence means: a card that does not use them is written, and
hashed, as if they were not there, so that encoders and indexes made before them stay valid."""

_GRAPH_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,99}")
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class Branch:
    """One side of an encoder: its graph and how pixels become the graph's input.

    Args:
        graph: file name of the ONNX graph inside the encoder's folder; both branches may name the same file.
        input_size: height and width of the graph's input, pixels.
        mean, std: normalisation of the three channels in the order that ``channels`` gives, for values in 0..1.
        projection: ``equirectangular``: the photo drawn on 360° by ``bottom_deg..top_deg``, its centre column in
            the middle, unseen pixels 0 after normalisation. ``polar``: a north-up tile unrolled about its centre,
            the far row on top, the centre column looking north. ``plain``: resized, nothing else.
        sha256: of the graph's file; filled in by :func:`engine.encoder.save_encoder`.
        top_deg, bottom_deg: elevation of the canvas's upper and lower edge (equirectangular only).
        tile_pixels: side of the square tile that is cut from the imagery, before the projection (reference only).
        radii: radius of every row of the polar image from the top row down, as a fraction of the tile's half
            extent (polar only); ``None``: linear from the edge to the centre.
        resize: how pixels are brought to another size, for ``plain`` and for a photo that is a panorama of the
            canvas already: ``area`` (Pillow's box), ``bilinear`` and ``bicubic`` (with antialiasing: Pillow's),
            ``linear`` (without: OpenCV's), ``gaussian`` (scikit-image's with ``anti_aliasing``); see
            :mod:`engine.photo.resize`.
        fov_trained_deg: smallest and largest horizontal field of view seen in training (query only).
        channels: the order in which the graph reads colours.
        fit: ``plain`` only: ``stretch`` to the input's shape; ``pad``: as large as fits inside, black around it, the
            odd pixel behind; ``crop``: as small as covers it, the middle kept.
        polar: ``polar`` only: which grid is sampled. ``centred``: see :func:`engine.photo.polar.polar_warp`.
            ``safa``: that of the authors of SAFA, see :func:`engine.photo.polar.safa_warp`.
        missing: what stands in a tile where the imagery has nothing (reference only).
    """

    graph: str
    input_size: tuple[int, int]
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    projection: Projection
    sha256: str = ""
    top_deg: float | None = None
    bottom_deg: float | None = None
    tile_pixels: int | None = None
    radii: tuple[float, ...] | None = None
    resize: Resize = "area"
    fov_trained_deg: tuple[float, float] | None = None
    channels: Channels = "RGB"
    fit: Fit = "stretch"
    polar: Polar = "centred"
    missing: Missing = "black"

    @property
    def missing_value(self) -> int:
        """``missing`` as a pixel's value, 0..255."""
        return 255 if self.missing == "white" else 0


@dataclass(frozen=True)
class Branches:
    """The photo's side and the tile's side."""

    query: Branch
    reference: Branch


@dataclass(frozen=True)
class Outputs:
    """Names and kinds of the graphs' outputs.

    ``descriptor`` names the output [N, D], L2-normalised. ``features`` says what the output called ``features``
    holds, if there is one: ``contributions`` [N, d, h, w], whose sums over the rows and over each block's columns
    are the descriptor's blocks, exactly; ``attention`` [N, h, w] or [N, maps, h, w], weights of places, at least 0.
    """

    descriptor: str = "descriptor"
    features: FeatureKind | None = None


@dataclass(frozen=True)
class Training:
    """Where the encoder's knowledge comes from, and what that means for whoever uses it.

    ``note`` is shown with every result; it says plainly when the pixels were rendered.
    """

    data: str = ""
    licence: str = ""
    note: str = ""


@dataclass(frozen=True)
class Card:
    """What an encoder is and how to use it; see the fields of :class:`Branch` for the preprocessing.

    Args:
        descriptor_dim: D.
        azimuth_blocks: K; the descriptor is K blocks of D/K numbers by bearing, each of norm 1/sqrt(K), so that a
            turn of the photo is a shift of blocks. 1: the descriptor is one whole.
        tile_extents_m: ground extent of a tile, metres; several are read together, in this order, by a reference
            graph whose input is [N, S, 3, H, W].
        stride_m: recommended distance between tile centres, metres.
        query_subshifts: how many times a photo is encoded, rolled by equal parts of a block, for finer headings
            (where the descriptor is one whole: of the turn, when a heading is to be found; 1 says nothing about it).
        tile_up: the compass direction at the top of the tiles that the reference graph reads.
        calibration: see :mod:`engine.localize.posterior`; ``None``: scores are all there is.
    """

    name: str
    architecture: str
    descriptor_dim: int
    tile_extents_m: tuple[float, ...]
    stride_m: float
    branches: Branches
    azimuth_blocks: int = 1
    query_subshifts: int = 1
    outputs: Outputs = field(default_factory=Outputs)
    training: Training = field(default_factory=Training)
    recipe: dict[str, Any] = field(default_factory=dict)
    measured: tuple[dict[str, Any], ...] = ()
    calibration: dict[str, Any] | None = None
    heading_convention: str = HEADING_CONVENTION
    tile_up: TileUp = "north"
    format: str = FORMAT
    version: int = VERSION

    @property
    def extent_m(self) -> float:
        """Ground extent of a tile, metres: what is shown of a place, the nearest where several are read together."""
        return min(self.tile_extents_m)

    @property
    def block_dim(self) -> int:
        """d = D/K, the length of one bearing's block."""
        return self.descriptor_dim // self.azimuth_blocks

    @property
    def block_deg(self) -> float:
        """Degrees of bearing that one block covers."""
        return 360.0 / self.azimuth_blocks

    @property
    def compares_photos(self) -> bool:
        """Whether it is one network that takes photos as they are on both sides, as those of place recognition do: its
        references can be photos of the street."""
        query, reference = self.branches.query, self.branches.reference
        plain = query.projection == "plain" and reference.projection == "plain"
        one = query.graph == reference.graph or (query.sha256 == reference.sha256 != "")
        return plain and one

    @property
    def hash(self) -> str:
        """SHA-256 over all that decides a descriptor: the card with its graph hashes, less what was measured later.

        ``measured`` and ``calibration`` stay out, so that measuring an encoder does not cut it off from the
        indexes that were built with it.
        """
        return hashlib.sha256(
            canonical(self.to_dict(), leave_out=("measured", "calibration"))
        ).hexdigest()

    def to_dict(self) -> dict[str, Any]:
        """The card as JSON values, in the order people read them."""
        raw = asdict(self)
        for branch in raw["branches"].values():
            for key, absent in _ADDED.items():
                if branch[key] == absent:
                    del branch[key]
        first = (
            "format",
            "version",
            "name",
            "architecture",
            "descriptor_dim",
            "azimuth_blocks",
            "query_subshifts",
        )
        return {key: _plain(raw[key]) for key in (*first, *(k for k in raw if k not in first))}

    def with_calibration(self, calibration: dict[str, Any] | None) -> Card:
        """This card with another calibration; the hash stays."""
        return replace(self, calibration=calibration)


def canonical(value: dict[str, Any], leave_out: tuple[str, ...] = ()) -> bytes:
    """One byte string for equal JSON values: sorted keys, no spaces."""
    kept = {key: item for key, item in value.items() if key not in leave_out}
    return json.dumps(
        kept, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    ).encode()


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value


def read_card(text: str | bytes, path: Path | None = None) -> Card:
    """Parse and check a card.

    Raises:
        EncoderError: naming the key that is wrong.
    """
    if len(text) > CARD_MAX_BYTES:
        raise EncoderError("the card is larger than 1 MB, so it is no card", path)
    try:
        raw = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise EncoderError(
            "the card is not valid JSON", path, "Get the encoder again from its source"
        ) from error
    try:
        return card_from_dict(raw)
    except EncoderError as error:
        remedy = error.remedy or "Get the encoder again from its source"
        raise EncoderError(error.problem, path, remedy) from None


def card_from_dict(raw: Any) -> Card:
    """Build a card from JSON values, checking every one of them (see :func:`read_card`)."""
    top = Keys(raw, "")
    if top.take("format", None) != FORMAT:
        raise EncoderError(
            f'the card does not say "format": "{FORMAT}", so this is no encoder of this program'
        )
    version = top.take("version", None)
    if version != VERSION:
        raise EncoderError(
            f"the card has version {version!r}; this program reads version {VERSION}",
            None,
            "Update Nadir, or get the encoder for this version",
        )
    pair = Keys(top.take("branches"), "branches")
    card = Card(
        name=top.text("name", filled=True),
        architecture=top.text("architecture"),
        descriptor_dim=top.integer("descriptor_dim", 1, 1 << 20),
        azimuth_blocks=top.integer("azimuth_blocks", 1, 4096, default=1),
        query_subshifts=top.integer("query_subshifts", 1, 64, default=1),
        tile_extents_m=top.numbers("tile_extents_m", low=0.1, high=1e5),
        stride_m=top.number("stride_m", 0.01, 1e5),
        branches=Branches(_branch(pair, "query"), _branch(pair, "reference")),
        outputs=_outputs(top.take("outputs")),
        training=_training(top.take("training", {})),
        recipe=top.mapping("recipe", {}),
        measured=top.mappings("measured"),
        calibration=None if top.peek("calibration") is None else top.mapping("calibration"),
        heading_convention=top.choice("heading_convention", (HEADING_CONVENTION,)),
        tile_up=cast(TileUp, top.choice("tile_up", ("north", "south"))),
    )
    top.take("calibration", None)
    pair.done()
    top.done()
    check_card(card)
    return card


def check_card(card: Card) -> None:
    """Check what the fields must satisfy together; raises :class:`EncoderError`."""
    query, reference = card.branches.query, card.branches.reference
    if not card.tile_extents_m:
        raise EncoderError('the card\'s "tile_extents_m" is empty')
    blocks = card.azimuth_blocks
    if card.descriptor_dim % blocks:
        raise EncoderError(
            f'the card\'s "descriptor_dim" {card.descriptor_dim} is no multiple of "azimuth_blocks" {blocks}'
        )
    if query.projection == "polar":
        raise EncoderError("the card's query branch cannot be polar: a photo is no tile")
    if reference.projection == "equirectangular":
        raise EncoderError(
            "the card's reference branch cannot be equirectangular: a tile is no photo"
        )
    if reference.tile_pixels is None:
        raise EncoderError('the card\'s "branches.reference.tile_pixels" is missing')
    if query.projection == "equirectangular" and (
        query.top_deg is None or query.bottom_deg is None or query.top_deg <= query.bottom_deg
    ):
        raise EncoderError('the card\'s "branches.query" needs "top_deg" above "bottom_deg"')
    if reference.radii is not None and len(reference.radii) != reference.input_size[0]:
        raise EncoderError(
            'the card\'s "branches.reference.radii" must have one radius for every input row'
        )
    for side, branch in (("query", query), ("reference", reference)):
        if branch.fit != "stretch" and branch.projection != "plain":
            raise EncoderError(f'the card\'s "branches.{side}.fit" is for plain branches alone')
        if branch.polar != "centred" and (branch.projection != "polar" or branch.radii is not None):
            raise EncoderError(
                f'the card\'s "branches.{side}.polar" is for polar branches without "radii" alone'
            )
    if query.missing != "black":
        raise EncoderError('the card\'s "branches.query.missing" is for tiles: a photo has no gaps')
    if len(card.tile_extents_m) > 1 and query.graph == reference.graph:
        raise EncoderError(
            'the card\'s branches share a graph, which cannot read photos and several "tile_extents_m"'
        )
    if blocks > 1:
        if query.projection != "equirectangular":
            raise EncoderError("a card with azimuth blocks needs an equirectangular query branch")
        if query.input_size[1] % (blocks * card.query_subshifts):
            raise EncoderError(
                f'the card\'s query width {query.input_size[1]} does not divide into "azimuth_blocks" {blocks} '
                f'times "query_subshifts" {card.query_subshifts}'
            )


def _branch(pair: Keys, side: Side) -> Branch:
    keys = Keys(pair.take(side), f"branches.{side}")
    optional: dict[str, Any] = {}
    for key in ("top_deg", "bottom_deg"):
        if keys.peek(key) is not None:
            optional[key] = keys.number(key, -90.0, 90.0)
    if keys.peek("tile_pixels") is not None:
        optional["tile_pixels"] = keys.integer("tile_pixels", 2, 8192)
    if keys.peek("radii") is not None:
        optional["radii"] = keys.numbers("radii", low=0.0, high=2.0)
    if keys.peek("fov_trained_deg") is not None:
        low, high = keys.numbers("fov_trained_deg", 2, low=1.0, high=360.0)
        optional["fov_trained_deg"] = (low, high)
    height, width = keys.integers("input_size", 2, 1, 8192)
    std = keys.numbers("std", 3, low=1e-6, high=1e3)
    branch = Branch(
        graph=keys.text("graph", filled=True),
        input_size=(height, width),
        mean=cast(Any, keys.numbers("mean", 3, low=-1e3, high=1e3)),
        std=cast(Any, std),
        projection=cast(
            Projection, keys.choice("projection", ("equirectangular", "polar", "plain"))
        ),
        sha256=keys.text("sha256"),
        resize=cast(Resize, keys.choice("resize", RESIZES, default="area")),
        channels=cast(Channels, keys.choice("channels", ("RGB", "BGR"), default="RGB")),
        fit=cast(Fit, keys.choice("fit", ("stretch", "pad", "crop"), default="stretch")),
        polar=cast(Polar, keys.choice("polar", ("centred", "safa"), default="centred")),
        missing=cast(Missing, keys.choice("missing", ("black", "white"), default="black")),
        **optional,
    )
    keys.forget(*(k for k in ("top_deg", "bottom_deg", "tile_pixels", "radii", "fov_trained_deg")))
    keys.done()
    if not _GRAPH_NAME.fullmatch(branch.graph):
        raise EncoderError(
            f'the card\'s "branches.{side}.graph" {branch.graph[:80]!r} is not a plain file name'
        )
    if not _SHA256.fullmatch(branch.sha256):
        raise EncoderError(f'the card\'s "branches.{side}.sha256" is not a SHA-256')
    return branch


def _outputs(raw: Any) -> Outputs:
    keys = Keys(raw, "outputs")
    kind = keys.take("features", None)
    if kind not in (None, "contributions", "attention"):
        raise EncoderError(
            'the card\'s "outputs.features" is neither "contributions", "attention" nor null'
        )
    result = Outputs(keys.text("descriptor", filled=True), kind)
    keys.done()
    return result


def _training(raw: Any) -> Training:
    keys = Keys(raw, "training")
    result = Training(
        keys.text("data", default=""),
        keys.text("licence", default=""),
        keys.text("note", default=""),
    )
    keys.done()
    return result
