"""Recipes: everything that decides a training, as one TOML file.

Sections and keys are the fields of :class:`Recipe`; a key that nobody knows is an error, so that a slip of the pen
never becomes a silent default. Shipped recipes lie in ``resources/recipes`` and are asked for by name.
"""

from __future__ import annotations

import json
import math
import re
import tomllib
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, fields, is_dataclass
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

from engine.encoder.card import Branch
from engine.errors import TrainingError, printable
from engine.shipped import resources
from engine.training.limits import check_limits
from engine.training.schedules import SCHEDULES
from engine.training.sections import (
    AboutSection,
    AugmentSection,
    BatchSection,
    CanvasSection,
    DataSection,
    LossSection,
    MiningSection,
    NetworkSection,
    OptimiserSection,
    Options,
    PhotometricSection,
    QuerySection,
    TileSection,
    ValidationSection,
)

RECIPES = resources() / "recipes"


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
    augment: AugmentSection = field(default_factory=AugmentSection)
    mining: MiningSection = field(default_factory=MiningSection)
    loss: LossSection = field(default_factory=LossSection)
    optimiser: OptimiserSection = field(default_factory=OptimiserSection)
    validation: ValidationSection = field(default_factory=ValidationSection)

    def to_dict(self) -> dict[str, Any]:
        """As plain values, the way the file has them."""
        plain = {}
        for key, value in asdict(self).items():
            if isinstance(value, dict):
                options = value.pop("options", {})
                value = {**value, **options}
            plain[key] = _plain(value)
        return plain

    @property
    def network_options(self) -> dict[str, Any]:
        """What the network's builder is given."""
        net = self.network
        options = {
            **net.options,
            "query_size": (self.canvas.height, self.canvas.width),
            "reference_size": (self.tile.height, self.tile.width),
        }
        return (
            options if net.azimuth_blocks == 1 else options | {"azimuth_blocks": net.azimuth_blocks}
        )

    @property
    def query_branch(self) -> Branch:
        """The preprocessing of photos, as the encoder's card will say it."""
        canvas, query = self.canvas, self.query
        plain = canvas.projection == "plain"
        return Branch(
            graph="query.onnx",
            input_size=(canvas.height, canvas.width),
            mean=canvas.mean,
            std=canvas.std,
            projection=canvas.projection,
            fit=canvas.fit,
            resize=canvas.resize,
            channels=canvas.channels,
            top_deg=None if plain else canvas.top_deg,
            bottom_deg=None if plain else canvas.bottom_deg,
            fov_trained_deg=None
            if plain
            else (query.fov_min if query.full_share < 1 else 360.0, 360.0),
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
            projection=tile.projection,
            fit=tile.fit,
            resize=tile.resize,
            channels=tile.channels,
            polar=tile.polar,
            tile_pixels=tile.pixels,
            radii=tile.radii if tile.projection == "polar" and tile.polar == "centred" else None,
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
    check_limits(recipe.to_dict())
    _check(recipe)
    return recipe


def _section(kind: type, raw: Any, where: str) -> Any:
    if not isinstance(raw, dict):
        raise TrainingError(f'"{where}" is not a section')
    hints = get_type_hints(kind)
    known = {f.name for f in fields(kind)}
    prefix = f"{where}." if where else ""
    if "options" in known:
        known.remove("options")
        raw = dict(raw)
        raw["options"] = {key: raw.pop(key) for key in sorted(set(raw) - known)}
        known.add("options")
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
    if kind == Options:
        if not isinstance(value, dict):
            raise TrainingError(f'"{where}" is not a section')
        return value
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
    if kind is float and not math.isfinite(value):
        raise TrainingError(f'"{where}" is not a finite number')
    return value


def _check(recipe: Recipe) -> None:
    def need(good: bool, text: str) -> None:
        if not good:
            raise TrainingError(text)

    tile, canvas, query, batch = recipe.tile, recipe.canvas, recipe.query, recipe.batch
    blocks = recipe.network.azimuth_blocks
    need(
        blocks == 1 or (tile.projection == "polar" and tile.width == canvas.width),
        "a network of blocks by bearing needs polar tiles as wide as the canvas",
    )
    need(
        canvas.width % (blocks * canvas.query_subshifts) == 0,
        '"canvas.width" must be a multiple of "network.azimuth_blocks" times "canvas.query_subshifts"',
    )
    need(
        blocks == 1 or canvas.projection == "equirectangular",
        "a network of blocks by bearing needs an equirectangular canvas",
    )
    need(
        not tile.extents_m or tile.projection == "plain",
        '"tile.extents_m" is for plain tiles alone',
    )
    need(
        not (batch.turn and query.heading == "any" and canvas.projection == "equirectangular"),
        '"batch.turn" is for photos that look north ("query.heading")',
    )
    need(
        not (batch.turn and tile.projection == "plain")
        or canvas.projection == "plain"
        or canvas.width % 4 == 0,
        '"canvas.width" must be a multiple of 4 where tiles are turned by quarters',
    )
    need(0 <= tile.near_m < tile.far_m, '"tile.near_m" must be below "tile.far_m"')
    need(tile.radius_power > 0, '"tile.radius_power" must be above 0')
    need(canvas.top_deg > canvas.bottom_deg, '"canvas.top_deg" must be above "canvas.bottom_deg"')
    need(
        0 < query.fov_min <= query.fov_mode <= query.fov_max <= 140,
        '"query.fov_min", "fov_mode" and "fov_max" must rise, up to 140',
    )
    need(len(query.aspects) > 0, '"query.aspects" must not be empty')
    need(1 <= batch.group_size <= batch.size, '"batch.group_size" must be from 1 to the size')
    need(
        not set(recipe.data.towns) & set(recipe.data.validation),
        '"data.towns" and "data.validation" must have no seed in common',
    )
    need(
        recipe.data.format != "towns" or not recipe.data.options,
        f'the key "data.{next(iter(recipe.data.options), "")}" is unknown where the data is towns',
    )
    need(
        recipe.mining.name != "drawn" or not recipe.mining.options,
        f'the key "mining.{next(iter(recipe.mining.options), "")}" is unknown where pairs are drawn',
    )
    need(
        recipe.optimiser.sam == "none" or recipe.optimiser.precision != "fp16",
        '"optimiser.sam" looks twice, which fp16\'s scaling cannot: choose bf16 or fp32',
    )
    need(
        recipe.optimiser.schedule in SCHEDULES,
        f'"optimiser.schedule" is not one of {", ".join(SCHEDULES)}',
    )
    need(0 < recipe.optimiser.drop <= 1, '"optimiser.drop" must be above 0 and at most 1')
    factors = recipe.optimiser.rates.values()
    need(
        all(isinstance(f, int | float) and f >= 0 for f in factors),
        '"optimiser.rates" must be numbers, 0 or more',
    )
    _check_augment(recipe, need)


def _check_augment(recipe: Recipe, need: Callable[[bool, str], None]) -> None:
    how, labelled = recipe.augment, bool(recipe.data.classes)
    least, most = how.occlude_area
    need(how.occlude_holes[0] <= how.occlude_holes[1], '"augment.occlude_holes" must rise')
    need(0 < least <= most <= 1, '"augment.occlude_area" must rise between 0 and 1')
    need(0 < how.crop <= 1, '"augment.crop" must be above 0 and at most 1')
    need(
        recipe.canvas.projection == "plain" or (how.crop == 1 and how.random_operations == 0),
        '"augment.crop" and "augment.random_operations" are for plain photos ("canvas.projection")',
    )
    chosen = ("places", "class-groups")
    need(
        not labelled or recipe.mining.name in chosen,
        f'with "data.classes", "mining.name" must be one of {", ".join(chosen)}',
    )
    need(
        not (labelled or recipe.mining.name.startswith("tuples-")) or not recipe.batch.flip,
        '"batch.flip" must be false where photos are compared with photos: a mirrored place is another one',
    )


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value


def recipe_toml(recipe: Recipe) -> str:
    """A recipe as the text of a file, every key written out."""
    plain = recipe.to_dict()
    name = plain.pop("name")
    lines = [f"# {printable(name)}", *_toml_table(plain, "")]
    return "\n".join(lines) + "\n"


def _toml_table(table: dict[str, Any], prefix: str) -> list[str]:
    lines = [f"{_key(key)} = {_toml(v)}" for key, v in table.items() if not isinstance(v, dict)]
    for key, value in table.items():
        if isinstance(value, dict):
            name = f"{prefix}{_key(key)}"
            lines += ["", f"[{name}]", *_toml_table(value, f"{name}.")]
    return lines


def _key(name: str) -> str:
    return name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else _toml(name)


def _toml(value: Any) -> str:
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    # JSON's strings, numbers, true, false and lists are TOML's, but for one letter.
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
