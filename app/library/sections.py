"""What a card says, as plain values: sections of names and texts, and tables of what was measured."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PySide6.QtCore import QCoreApplication

from app.library.builds import Build, State
from app.library.model import Entry, Library
from app.library.words import (
    area,
    check_words,
    corners,
    in_short,
    metres,
    position,
    resolution,
    sentence,
    size,
    when,
)
from engine.encoder import Card
from engine.index import ImageryFacts, Manifest

translate = QCoreApplication.translate
ENCODER = "encoder:"  # what a link leads to: an encoder by its hash, or an index by its path
INDEX = "index:"


@dataclass(frozen=True)
class Row:
    """A name and a text; ``link`` leads to another entry, ``bad`` is shown as an error."""

    name: str
    text: str
    link: str = ""
    bad: bool = False


@dataclass(frozen=True)
class Table:
    """Figures under their headings, with a line over them."""

    caption: str
    headings: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class Section:
    """A heading with rows, sentences and tables under it."""

    title: str
    rows: tuple[Row, ...] = ()
    texts: tuple[str, ...] = ()
    tables: tuple[Table, ...] = ()

    @property
    def empty(self) -> bool:
        return not (self.rows or self.texts or self.tables)


def lead(entry: Entry) -> str:
    """An item in a sentence or two, under its name."""
    item = entry.item
    if item.manifest is not None:
        return _index_lead(item.manifest)
    if item.card is not None:
        return _encoder_lead(item.card)
    if item.unfinished:
        return translate("Library", "An index that is not finished yet.")
    return ""


def _index_lead(manifest: Manifest) -> str:
    count = f"{manifest.count:,}"
    if manifest.kind == "street":
        return translate("Library", "{0} photos taken from the ground, each at its place.").format(
            count
        )
    finest = min((one.resolution_m for one in manifest.imagery if one.resolution_m), default=0.0)
    sides = " + ".join(map(metres, manifest.extents_m))
    if manifest.pictures:
        words = translate("Library", "{0} aerial pictures, each at its place and {1} wide.")
        text = words.format(count, sides)
    else:
        words = translate("Library", "{0} tiles of aerial imagery, each {1} wide, {2} apart.")
        text = words.format(count, sides, metres(manifest.stride_m))
    if finest:
        text += " " + translate("Library", "The imagery shows {0}.").format(resolution(finest))
    return text


def _encoder_lead(card: Card) -> str:
    if card.compares_photos:
        words = translate(
            "Library", "Turns photos of the street into {0} numbers that can be compared."
        )
        return words.format(f"{card.descriptor_dim:,}")
    tiles = " + ".join(map(metres, card.tile_extents_m))
    return translate(
        "Library", "Turns photos and aerial tiles of {0} into {1} numbers that can be compared."
    ).format(tiles, f"{card.descriptor_dim:,}")


def sections(entry: Entry, library: Library) -> list[Section]:
    """All that is known of an item, in the order people ask."""
    item = entry.item
    found: list[Section] = []
    if item.manifest is not None:
        found += _index_sections(entry, item.manifest, library)
    elif item.card is not None:
        found += _encoder_sections(item.card, library, item.hash)
    build = library.build_of(item.path)
    if build is not None and build.state != State.DONE:
        found.append(_asked(build, library))
    found.append(_files(entry, library))
    return [section for section in found if not section.empty]


def _asked(build: Build, library: Library) -> Section:
    """What was asked of a build."""
    plan = build.plan
    encoder = library.of(Path(plan.encoder))
    rows = [
        Row(translate("Library", "Imagery"), plan.imagery),
        Row(
            translate("Library", "Encoder"),
            library.title(encoder) if encoder is not None else plan.encoder,
        ),
    ]
    if plan.allow:
        rows.append(Row(translate("Library", "Fetched from"), ", ".join(plan.allow)))
    if build.launch.tiles:
        rows.append(Row(translate("Library", "Tiles"), f"{build.launch.tiles:,}"))
    if plan.extents_m:
        rows.append(
            Row(translate("Library", "A tile's side"), ", ".join(map(metres, plan.extents_m)))
        )
    if plan.stride_m is not None:
        rows.append(Row(translate("Library", "Between tiles"), metres(plan.stride_m)))
    rows.append(Row(translate("Library", "Begun"), when(build.launch.created)))
    return Section(translate("Library", "What is being built"), tuple(r for r in rows if r.text))


def _index_sections(entry: Entry, manifest: Manifest, library: Library) -> list[Section]:
    lat, lon = manifest.coverage.centre
    ground = [
        Row(translate("Library", "Centre"), position(lat, lon)),
        Row(translate("Library", "Corners"), corners(manifest.coverage)),
    ]
    if manifest.stride_m and manifest.kind == "aerial":
        covered = manifest.count * manifest.stride_m**2 / max(1, len(manifest.extents_m))
        ground.append(Row(translate("Library", "Searched area"), area(covered)))
    tiles = []
    if manifest.kind == "aerial":
        counted = f"{manifest.count:,}"
        if manifest.stride_m:
            words = translate("Library", "{0}, {1} apart")
            counted = words.format(counted, metres(manifest.stride_m))
        tiles.append(Row(translate("Library", "Tiles"), counted))
        tiles.append(
            Row(
                translate("Library", "A tile's side"),
                translate("Library", "{0}, read as {1} pixels").format(
                    ", ".join(map(metres, manifest.extents_m)), manifest.tile_pixels
                ),
            )
        )
    else:
        tiles.append(Row(translate("Library", "Photos"), f"{manifest.count:,}"))
    tiles.append(
        Row(
            translate("Library", "Kept as"),
            translate("Library", "{0} numbers each, {1}").format(
                f"{manifest.dimension:,}", manifest.layout or manifest.faiss_factory
            ),
        )
    )
    needed = library.encoder_for(manifest.encoder_hash)
    if needed is not None:
        encoder = Row(
            translate("Library", "Needs"),
            translate("Library", "{0} (it is here)").format(library.title(needed)),
            link=f"{ENCODER}{manifest.encoder_hash}",
        )
    else:
        encoder = Row(
            translate("Library", "Needs"),
            translate("Library", "{0}, which is not here. Add it to use this index.").format(
                f"{manifest.encoder_name} ({manifest.encoder_hash[:8]})"
            ),
            bad=True,
        )
    return [
        *(_imagery(one) for one in manifest.imagery[:8]),
        Section(translate("Library", "Coverage"), tuple(ground)),
        Section(
            translate("Library", "Photos and vectors")
            if manifest.kind == "street"
            else translate("Library", "Tiles and vectors"),
            tuple(tiles),
        ),
        Section(translate("Library", "Encoder"), (encoder,)),
        Section(translate("Library", "Notes"), texts=tuple(map(sentence, manifest.notes))),
    ]


def _imagery(one: ImageryFacts) -> Section:
    rows = [
        Row(translate("Library", "From"), one.attribution or translate("Library", "Not stated"))
    ]
    rows.append(
        Row(translate("Library", "Licence"), one.licence or translate("Library", "Not stated"))
    )
    rows.append(Row(translate("Library", "Terms"), one.terms))
    pictures = {
        "street": translate("Library", "photos of the street"),
        "aerial": translate("Library", "aerial pictures"),
    }
    kind = pictures.get(one.kind, one.kind) or translate("Library", "imagery")
    rows.append(Row(translate("Library", "Source"), f"{one.name} ({kind})"))
    if one.resolution_m:
        rows.append(Row(translate("Library", "Resolution"), resolution(one.resolution_m)))
    rows.append(Row(translate("Library", "Coordinates"), one.crs))
    rows.append(
        Row(
            translate("Library", "Held"),
            translate("Library", "in the index itself")
            if one.file is not None
            else translate("Library", "beside the index: keep {0} there").format(one.name),
        )
    )
    return Section(translate("Library", "Imagery"), tuple(row for row in rows if row.text))


def _encoder_sections(card: Card, library: Library, hash_: str) -> list[Section]:
    training = card.training
    learned = (
        Row(
            translate("Library", "Trained on"), training.data or translate("Library", "Not stated")
        ),
        Row(
            translate("Library", "Licence"), training.licence or translate("Library", "Not stated")
        ),
    )
    fov = card.branches.query.fov_trained_deg
    calibrated = translate("Library", "calibrated: answers say how likely they are")
    if not card.calibration:
        calibrated = translate("Library", "not calibrated: scores only rank")
    tiles = [
        Row(translate("Library", "Tiles of"), ", ".join(map(metres, card.tile_extents_m))),
        Row(translate("Library", "Advised stride"), metres(card.stride_m)),
    ]
    if card.compares_photos:
        tiles = [Row(translate("Library", "Compares"), translate("Library", "photos with photos"))]
    reads = [
        Row(translate("Library", "Architecture"), card.architecture),
        *tiles,
        Row(translate("Library", "Descriptor"), _descriptor(card)),
        Row(
            translate("Library", "Field of view")
            if fov and round(fov[0]) == round(fov[1])
            else translate("Library", "Fields of view"),
            _degrees(fov) if fov else "",
        ),
        Row(translate("Library", "Confidence"), calibrated),
    ]
    indexes = tuple(
        Row(
            library.title(entry),
            in_short(entry.item),
            link=f"{INDEX}{entry.path}",
        )
        for entry in library.indexes_of(hash_)
        if entry.item.manifest is not None
    )
    none = (translate("Library", "None yet. New index makes one from your own imagery."),)
    return [
        Section(
            translate("Library", "What it has learned from"),
            learned,
            (training.note,) if training.note else (),
        ),
        Section(translate("Library", "How well it finds places"), tables=_measured(card.measured)),
        Section(
            translate("Library", "What it reads"), tuple(row for row in reads if row.text.strip())
        ),
        Section(translate("Library", "Indexes made with it"), indexes, () if indexes else none),
    ]


def _degrees(fov: tuple[float, float]) -> str:
    low, high = (f"{angle:.0f}" for angle in fov)
    if low == high:
        return translate("Library", "{0}°").format(low)
    return translate("Library", "{0}° to {1}°").format(low, high)


def _descriptor(card: Card) -> str:
    numbers = translate("Library", "{0} numbers").format(f"{card.descriptor_dim:,}")
    if card.azimuth_blocks < 2:
        return numbers
    turned = translate("Library", "{0}, in {1} directions: it finds headings too")
    return turned.format(numbers, card.azimuth_blocks)


def _measured(measured: tuple[dict[str, Any], ...]) -> tuple[Table, ...]:
    groups: dict[str, list[dict[str, Any]]] = {}
    for one in measured:
        groups.setdefault(str(one.get("dataset", "")), []).append(one)
    tables = []
    for dataset, rows in groups.items():
        keys = [
            key for key in dict.fromkeys(k for row in rows for k in row) if key.startswith("R@")
        ]
        keys = keys[:4]
        error = any(row.get("median_error_m") is not None for row in rows)
        headings = (
            translate("Library", "Photos"),
            *(_recall_heading(key) for key in keys),
            *((translate("Library", "Median error"),) if error else ()),
        )
        lines = []
        for row in rows:
            cells = [_photos(row), *(_share(row.get(key)) for key in keys)]
            if error:
                off = row.get("median_error_m")
                cells.append(_error(off))
            lines.append(tuple(cells))
        facts = [dataset]
        for key, words in (
            ("queries", translate("Library", "{0} photos")),
            ("tiles", translate("Library", "{0} tiles")),
        ):
            value = rows[0].get(key)
            if isinstance(value, int):
                facts.append(words.format(f"{value:,}"))
        tables.append(Table(" · ".join(f for f in facts if f), headings, tuple(lines)))
    return tuple(tables)


def _error(off: Any) -> str:
    if not isinstance(off, int | float):
        return "–"
    return translate("Library", "{0} m").format(f"{off:.1f}" if off < 100 else f"{off:,.0f}")


def _recall_heading(key: str) -> str:
    """``R@1<25m`` as people read it."""
    rank, _, limit = key.removeprefix("R@").partition("<")
    if not limit:
        return translate("Library", "In the first {0}").format(rank) if rank != "1" else key
    return f"R@{rank} < {limit.removesuffix('m')}\N{NO-BREAK SPACE}m"


def _photos(row: dict[str, Any]) -> str:
    parts = []
    fov = row.get("fov_deg")
    if isinstance(fov, int | float):
        parts.append(f"{fov:g}°")
    heading = row.get("heading")
    if heading in ("known", "unknown"):
        parts.append(
            translate("Library", "heading known")
            if heading == "known"
            else translate("Library", "heading unknown")
        )
    if not parts:
        parts = [str(v) for k, v in row.items() if isinstance(v, str) and k != "dataset"][:2]
    return ", ".join(parts) or translate("Library", "All")


def _share(value: Any) -> str:
    if not isinstance(value, int | float):
        return "–"
    return f"{100 * value:.1f}\N{NO-BREAK SPACE}%"


def _files(entry: Entry, library: Library) -> Section:
    item = entry.item
    home = {
        "library": translate("Library", "in your library"),
        "shipped": translate("Library", "came with Nadir"),
        "elsewhere": translate("Library", "elsewhere on this machine"),
    }[entry.home]
    rows = [
        Row(translate("Library", "Lies"), home),
        Row(translate("Library", "Path"), str(item.path)),
    ]
    if item.bytes:
        rows.append(Row(translate("Library", "Size"), size(item.bytes)))
    if item.manifest is not None:
        rows.append(Row(translate("Library", "Made by"), item.manifest.made_by))
    if item.hash:
        rows.append(Row(translate("Library", "Hash"), item.hash))
    rows.append(Row(translate("Library", "Import"), library.imported.get(item.path, "")))
    check = entry.check
    if item.error is None and not item.unfinished:
        rows.append(Row(translate("Library", "Checked"), check_words(check, item.hash)))
        if check is not None and check.hash == item.hash:
            rows += [Row("", problem, bad=True) for problem in check.problems]
    return Section(translate("Library", "Files"), tuple(row for row in rows if row.text))
