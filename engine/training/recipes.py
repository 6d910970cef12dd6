"""Recipes: everything that decides a training, as one TOML file.

Sections and keys are the fields of :class:`Recipe`; a key that nobody knows is an error, so that a slip of the pen
never becomes a silent default. Shipped recipes lie in ``resources/recipes`` and are asked for by name.
"""

from __future__ import annotations

import tomllib
from dataclasses import asdict, dataclass, field, fields, is_dataclass
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

import numpy as np

from engine.encoder.card import Branch
from engine.errors import TrainingError

RECIPES = Path(__file__).resolve().parents[2] / "resources" / "recipes"

Triple = tuple[float, float, float]


@dataclass(frozen=True)
class NetworkSection:
    """The network, see :class:`engine.networks.SectorEncoder`."""

    name: str = "sector-resnet"
    channels: tuple[int, ...] = (32, 64, 128, 256)
    blocks: tuple[int, ...] = (1, 1, 1, 1)
    azimuth_blocks: int = 32
    block_dim: int = 48


@dataclass(frozen=True)
class TileSection:
    """The tile and its polar image: row radii grow from ``near_m`` to ``far_m`` by ``radius_power``."""

    extent_m: float = 100.0
    pixels: int = 200
    height: int = 64
    width: int = 256
    near_m: float = 2.0
    far_m: float = 50.0
    radius_power: float = 1.5
    index_stride_m: float = 8.0
    mean: Triple = (0.45, 0.45, 0.45)
    std: Triple = (0.25, 0.25, 0.25)

    @property
    def radii(self) -> tuple[float, ...]:
        """Radius of every row, far row first, in half-extents."""
        share = (self.height - np.arange(self.height) - 0.5) / self.height
        metres = self.near_m + (self.far_m - self.near_m) * share**self.radius_power
        return tuple(float(r) for r in np.round(metres / (self.extent_m / 2), 6))


@dataclass(frozen=True)
class CanvasSection:
    """The canvas that photos are drawn on."""

    height: int = 64
    width: int = 256
    top_deg: float = 40.0
    bottom_deg: float = -36.0
    query_subshifts: int = 2
    mean: Triple = (0.45, 0.45, 0.45)
    std: Triple = (0.25, 0.25, 0.25)


@dataclass(frozen=True)
class QuerySection:
    """Which photos are made from a panorama. Angles in degrees.

    ``full_share`` of them are panoramas, of which ``tilted_share`` are tilted by a normal angle of ``tilt_std``.
    The rest are perspective photos: field of view triangular between ``fov_min`` and ``fov_max`` about ``fov_mode``,
    shape from ``aspects`` (width over height), tilt normal with the given deviations and the pitch cut at
    ``pitch_max``, unprojected level and with a field of view that is wrong by a factor of deviation ``fov_error``.
    """

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
    photo, either way in both axes; ``flip`` mirrors both views of half the pairs.
    """

    size: int = 64
    towns: int = 0
    group_size: int = 1
    group_radius_m: float = 120.0
    shift_m: float = 5.0
    flip: bool = True
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
class LossSection:
    """See :func:`engine.training.losses.sector_info_nce`."""

    smoothing: float = 0.1
    scale: float = 14.0
    scale_max: float = 100.0
    exclude_m: float = 25.0


@dataclass(frozen=True)
class OptimiserSection:
    """AdamW, a linear warm-up over ``warmup`` steps, then half a cosine down to ``final`` of the rate over ``steps``.

    A budget of minutes, given when the training is started, takes the place of ``steps``.
    """

    rate: float = 1e-3
    final: float = 0.01
    decay: float = 0.05
    warmup: int = 150
    clip: float = 5.0
    steps: int = 40_000
    average: float = 0.999
    precision: Literal["bf16", "fp32"] = "bf16"


@dataclass(frozen=True)
class ValidationSection:
    """Every ``every`` steps on ``queries`` photos of each kind, against tiles at ``stride_m`` over a whole town."""

    every: int = 2000
    queries: int = 200
    stride_m: float = 10.0
    within_m: float = 25.0


@dataclass(frozen=True)
class DataSection:
    """The towns that are rendered when the data folder lacks them; none: the folder is taken as it is.

    ``towns`` and ``validation`` are seeds; every training town gives ``pairs`` places from ``area_km2``.
    """

    towns: tuple[int, ...] = ()
    validation: tuple[int, ...] = ()
    pairs: int = 1600
    validation_pairs: int = 500
    area_km2: float = 1.0


@dataclass(frozen=True)
class AboutSection:
    """What goes into the encoder's card."""

    architecture: str = "sector descriptors"
    data: str = ""
    licence: str = ""
    note: str = ""


@dataclass(frozen=True)
class Recipe:
    """One training, complete."""

    name: str
    seed: int = 1
    about: AboutSection = field(default_factory=AboutSection)
    data: DataSection = field(default_factory=DataSection)
    network: NetworkSection = field(default_factory=NetworkSection)
    tile: TileSection = field(default_factory=TileSection)
    canvas: CanvasSection = field(default_factory=CanvasSection)
    query: QuerySection = field(default_factory=QuerySection)
    batch: BatchSection = field(default_factory=BatchSection)
    photometric: PhotometricSection = field(default_factory=PhotometricSection)
    loss: LossSection = field(default_factory=LossSection)
    optimiser: OptimiserSection = field(default_factory=OptimiserSection)
    validation: ValidationSection = field(default_factory=ValidationSection)

    def to_dict(self) -> dict[str, Any]:
        """As plain values (tuples become lists)."""
        return _plain(asdict(self))

    @property
    def network_options(self) -> dict[str, Any]:
        """What the network's builder is given."""
        net = self.network
        return {
            "channels": net.channels,
            "blocks": net.blocks,
            "input_size": (self.canvas.height, self.canvas.width),
            "azimuth_blocks": net.azimuth_blocks,
            "block_dim": net.block_dim,
        }

    @property
    def query_branch(self) -> Branch:
        """The preprocessing of photos, as the encoder's card will say it."""
        canvas, query = self.canvas, self.query
        return Branch(
            graph="query.onnx",
            input_size=(canvas.height, canvas.width),
            mean=canvas.mean,
            std=canvas.std,
            projection="equirectangular",
            top_deg=canvas.top_deg,
            bottom_deg=canvas.bottom_deg,
            fov_trained_deg=(query.fov_min if query.full_share < 1 else 360.0, 360.0),
        )

    @property
    def reference_branch(self) -> Branch:
        """The preprocessing of tiles."""
        tile = self.tile
        return Branch(
            graph="reference.onnx",
            input_size=(tile.height, tile.width),
            mean=tile.mean,
            std=tile.std,
            projection="polar",
            tile_pixels=tile.pixels,
            radii=tile.radii,
        )


def load_recipe(name_or_file: str | Path) -> Recipe:
    """Read a recipe: a file, or the name of one that is shipped.

    Raises:
        TrainingError: when there is none, or naming the key that is wrong.
    """
    path = Path(name_or_file)
    if not path.is_file():
        path = RECIPES / f"{name_or_file}.toml"
    if not path.is_file():
        known = ", ".join(sorted(p.stem for p in RECIPES.glob("*.toml"))) or "none"
        raise TrainingError(f'there is no recipe "{name_or_file}"', None, f"Shipped are: {known}")
    try:
        raw = tomllib.loads(path.read_text("utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as error:
        raise TrainingError(f"cannot be read as TOML ({error})", path) from error
    try:
        return recipe_from_dict({"name": path.stem, **raw})
    except TrainingError as error:
        raise TrainingError(error.problem, path, error.remedy) from None


def recipe_from_dict(raw: dict[str, Any]) -> Recipe:
    """Build and check a recipe from plain values."""
    recipe: Recipe = _section(Recipe, raw, "")
    _check(recipe)
    return recipe


def _section(kind: type, raw: Any, where: str) -> Any:
    if not isinstance(raw, dict):
        raise TrainingError(f'"{where}" is not a section')
    hints = get_type_hints(kind)
    known = {f.name for f in fields(kind)}
    prefix = f"{where}." if where else ""
    unknown = sorted(set(raw) - known)
    if unknown:
        choices = ", ".join(sorted(known))
        raise TrainingError(
            f'the key "{prefix}{unknown[0]}" is unknown', None, f"Known are: {choices}"
        )
    if kind is Recipe and "name" not in raw:
        raise TrainingError('the key "name" is missing')
    return kind(**{key: _value(hints[key], value, prefix + key) for key, value in raw.items()})


def _value(kind: Any, value: Any, where: str) -> Any:
    if is_dataclass(kind):
        assert isinstance(kind, type)
        return _section(kind, value, where)
    if get_origin(kind) is Literal:
        if value in get_args(kind):
            return value
        raise TrainingError(f'"{where}" is not one of {", ".join(map(str, get_args(kind)))}')
    if get_origin(kind) is tuple:
        inner = get_args(kind)
        wanted = None if inner[-1] is Ellipsis else len(inner)
        if not isinstance(value, list | tuple) or (wanted and len(value) != wanted):
            raise TrainingError(f'"{where}" is not a list of {wanted or "some"} numbers')
        return tuple(_value(inner[0], item, where) for item in value)
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        names = {float: "a number", int: "a whole number", str: "a text", bool: "true or false"}
        raise TrainingError(f'"{where}" is not {names[kind]}')
    return value


def _check(recipe: Recipe) -> None:
    def need(good: bool, text: str) -> None:
        if not good:
            raise TrainingError(text)

    tile, canvas, query, batch = recipe.tile, recipe.canvas, recipe.query, recipe.batch
    need(
        (tile.height, tile.width) == (canvas.height, canvas.width),
        "tile and canvas must have the same height and width",
    )
    need(0 <= tile.near_m < tile.far_m, '"tile.near_m" must be below "tile.far_m"')
    need(tile.radius_power > 0, '"tile.radius_power" must be above 0')
    need(canvas.top_deg > canvas.bottom_deg, '"canvas.top_deg" must be above "canvas.bottom_deg"')
    need(0 <= query.full_share <= 1, '"query.full_share" must be between 0 and 1')
    need(
        0 < query.fov_min <= query.fov_mode <= query.fov_max <= 140,
        '"query.fov_min", "fov_mode" and "fov_max" must rise, up to 140',
    )
    need(len(query.aspects) > 0, '"query.aspects" must not be empty')
    need(len(recipe.network.channels) > 0, '"network.channels" must not be empty')
    need(batch.size >= 2, '"batch.size" must be at least 2')
    need(1 <= batch.group_size <= batch.size, '"batch.group_size" must be from 1 to the size')
    need(batch.workers >= 0, '"batch.workers" must be 0 or more')
    need(
        not set(recipe.data.towns) & set(recipe.data.validation),
        '"data.towns" and "data.validation" must have no seed in common',
    )
    need(recipe.data.pairs > 0 and recipe.data.validation_pairs > 0, '"data.pairs" must be above 0')
    need(recipe.optimiser.steps > 0, '"optimiser.steps" must be above 0')
    need(0 <= recipe.loss.smoothing < 1, '"loss.smoothing" must be from 0 to below 1')


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value
