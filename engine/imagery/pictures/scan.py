"""Looking through a folder of pictures: which there are, and where each lies.

A place is taken from a table where one names the picture, else from the picture's name, else from its EXIF. Files are
never opened for the first two, and never decoded here. What is left out is counted, and the first of it named.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray

from engine.errors import ImageryError, PhotoError, printable
from engine.imagery.pictures.kinds import Kind, PicturesUnclearError, kind_by_words
from engine.imagery.pictures.listing import ENDINGS, Listing, list_folder
from engine.imagery.pictures.match import AERIAL, CODES, STREET, Facts, Names, apply_table, shown
from engine.imagery.pictures.names import (
    EXPECTED,
    VIGOR_PIXEL_M,
    VIGOR_PIXELS,
    at_name,
    named_place,
    on_earth,
    panorama_place,
    tile_place,
)
from engine.imagery.pictures.tables import Table, TableError, open_table
from engine.imagery.pictures.utm import utm_to_wgs84
from engine.photo.glance import glance
from engine.progress import Report

_SAMPLE = 64
_OWN_TABLE = (
    "Write a table beside them with the columns file,lat,lon (and heading, or extent_m for tiles)"
)


@dataclass(frozen=True, eq=False)
class Scan:
    """The pictures of a folder that can be used, in the order of their paths.

    Args:
        root: the folder, all links resolved.
        files: [N] paths relative to it, with ``/``.
        lat, lon: [N] WGS84 degrees.
        heading_deg: [N] clockwise from north; NaN where it is not known. Of tiles 0, for north is up.
        extent_m: [N] metres along a tile's side; NaN of photos.
        said_extent_m: [N] the same, as far as the dataset says it, whatever was given.
        sizes: [N] bytes.
        notes: what was decided and what was left out, plain sentences.
    """

    root: Path
    kind: Kind
    files: tuple[str, ...]
    lat: NDArray[np.float64]
    lon: NDArray[np.float64]
    heading_deg: NDArray[np.float64]
    extent_m: NDArray[np.float64]
    said_extent_m: NDArray[np.float64]
    sizes: NDArray[np.int64]
    notes: tuple[str, ...]


def scan(path: Path, kind: Kind | None, extent_m: float | None, report: Report) -> Scan:
    """Look through a folder, or at what one table names.

    Args:
        path: a folder, or a table, whose pictures lie beside it or below.
        kind: which pictures are meant where there are tiles and photos, and what they are where nothing says.
        extent_m: metres along a tile's side, whatever the dataset says.

    Raises:
        ImageryError: no picture has a place, or it cannot be told what they are or how much ground a tile shows; the
            message says what was looked at and what was expected.
    """
    root = (path.parent if path.is_file() else path).resolve()
    listing = list_folder(root, report)
    if path.is_file():
        listing.tables = [root / path.name]
    if not listing.files:
        raise ImageryError(
            f"holds no pictures ({', '.join(ENDINGS)})" + _links_said(listing),
            path,
            _other_imagery(root) or "Check the path",
        )
    names = Names(listing.files)
    facts = Facts.unknown(len(listing.files))
    said = _read_tables(listing.tables, names, root, facts)
    vigor = np.zeros(len(listing.files), np.bool_)
    magnetic = 0
    if not path.is_file():
        _read_names(listing.files, facts, vigor)
        magnetic = _read_exif(listing.files, root, facts, report)
    conflicts = [listing.files[n] for n in facts.conflicts]
    placed = np.isfinite(facts.lat) & np.isfinite(facts.lon)
    placed[list(facts.conflicts)] = False
    if not placed.any():
        raise _nothing_placed(path, listing, said, conflicts)
    root_kind = kind_by_words(root.name)
    kind, chosen, kind_note = _choose(path, kind, placed, facts, root_kind, listing.files)
    unplaced = np.flatnonzero(~placed).tolist()
    copies, chosen = _copies(root, listing, facts, chosen)
    notes = [
        *said.good,
        kind_note,
        _left_out(
            "without a place", [listing.files[n] for n in unplaced if n not in facts.conflicts]
        ),
        f"Headings from magnetic north, which were not corrected: {magnetic:,}."
        if magnetic and kind == "street"
        else "",
        _left_out("with two places in the tables", conflicts),
        _left_out("larger than 128 MB", listing.huge),
        _left_out("linking out of the folder", listing.links),
        _left_out("copied from others at the same place", copies),
    ]
    extents = np.full(len(chosen), math.nan)
    headings = facts.heading_deg[chosen]
    if kind == "aerial":
        extents, note = _extents(path, root, listing.files, facts, chosen, vigor, extent_m)
        notes.append(note)
        headings = np.zeros(len(chosen))
    return Scan(
        root=root,
        kind=kind,
        files=tuple(listing.files[n] for n in chosen),
        lat=facts.lat[chosen],
        lon=facts.lon[chosen],
        heading_deg=headings,
        extent_m=extents,
        said_extent_m=facts.extent_m[chosen],
        sizes=np.asarray(listing.sizes, np.int64)[chosen],
        notes=tuple(printable(note) for note in notes if note),
    )


# Where it lies -------------------------------------------------------------------------------------------------


@dataclass(eq=False)
class _Tables:
    good: list[str] = field(default_factory=list)
    bad: list[str] = field(default_factory=list)


def _read_tables(paths: Sequence[Path], names: Names, root: Path, facts: Facts) -> _Tables:
    said = _Tables()
    for path in sorted(paths, key=lambda p: (len(p.parts), str(p))):
        name = path.relative_to(root).as_posix()
        try:
            table: Table = open_table(path)
            matched = apply_table(table, names, root, facts)
        except TableError as error:
            said.bad.append(f"{name} ({error})")
            continue
        text = f"{matched.pictures:,} places from {name}, whose column {matched.column} names the pictures"
        if table.extent_from:
            text += f" and whose {table.extent_from} says that a tile is {table.extent_m:g} m wide"
        left = [
            (matched.missing, "name no picture that is here"),
            (matched.off, f"give no position on the Earth ({matched.first_off})"),
            (matched.ambiguous, "name several pictures"),
        ]
        text += "".join(f"; {count:,} of its rows {what}" for count, what in left if count)
        said.good.append(text + ".")
    return said


def _read_names(files: Sequence[str], facts: Facts, vigor: NDArray[np.bool_]) -> None:
    """Places by name for pictures that no table speaks of."""
    utm: list[tuple[int, float, float, int, str]] = []
    for number, file in enumerate(files):
        if facts.tabled[number]:
            continue
        name = PurePosixPath(file).name
        at = at_name(name) if "@" in name else None
        if at is not None:
            facts.kind[number], facts.heading_deg[number] = STREET, at.heading_deg
            facts.lat[number], facts.lon[number] = at.lat, at.lon
            if math.isnan(at.lat):
                utm.append((number, at.east, at.north, at.zone, at.letter))
            continue
        place, kind = tile_place(name), AERIAL
        vigor[number] = place is not None
        if place is None:
            place, kind = panorama_place(name), STREET
        if place is None:
            place, kind = named_place(name), 0
            told = kind_by_words(name, *reversed(PurePosixPath(file).parts[:-1])) if place else None
            kind = CODES[told]
        if place is not None:
            facts.lat[number], facts.lon[number] = place
            facts.kind[number] = kind
    if utm:
        rows, east, north, zones, letters = (list(column) for column in zip(*utm, strict=True))
        facts.lat[rows], facts.lon[rows] = utm_to_wgs84(
            east, north, zones, [str(one) for one in letters]
        )


def _read_exif(files: Sequence[str], root: Path, facts: Facts, report: Report) -> int:
    """Places of photos by their own GPS, where nothing else says one; and where they looked.

    Returns:
        how many headings are from magnetic north.
    """
    magnetic = 0
    unknown = np.flatnonzero(np.isnan(facts.lat) & (facts.kind != AERIAL))
    for done, number in enumerate(unknown.tolist()):
        if done % 100 == 0:
            report(done, len(unknown), f"Reading EXIF: {done:,} of {len(unknown):,} photos")
        try:
            seen = glance(root / files[number])
        except PhotoError:
            continue
        told = seen.facts
        if told.latitude is None or told.longitude is None:
            continue
        if on_earth(told.latitude, told.longitude) is None:
            continue
        facts.lat[number], facts.lon[number] = told.latitude, told.longitude
        facts.kind[number] = STREET
        if told.heading_deg is not None:
            facts.heading_deg[number] = told.heading_deg
            magnetic += seen.magnetic
    return magnetic


# What it is ----------------------------------------------------------------------------------------------------


def _choose(
    path: Path,
    wanted: Kind | None,
    placed: NDArray[np.bool_],
    facts: Facts,
    folder_says: Kind | None,
    files: Sequence[str],
) -> tuple[Kind, NDArray[np.intp], str]:
    """The pictures of one kind among those that have a place."""
    if wanted is None and folder_says is not None and not (facts.kind[placed] > 0).all():
        facts.kind[placed & (facts.kind == 0)] = AERIAL if folder_says == "aerial" else STREET
    counts = {code: int((facts.kind[placed] == code).sum()) for code in (0, AERIAL, STREET)}
    if wanted is None:
        each = (counts[AERIAL], counts[STREET], counts[0])
        if counts[AERIAL] and counts[STREET]:
            raise PicturesUnclearError(
                "kind",
                each,
                f"holds {counts[AERIAL]:,} tiles seen from above and {counts[STREET]:,} street photos",
                path,
                "Say which are meant with --kind aerial or --kind street",
            )
        if counts[0]:
            first = files[int(np.flatnonzero(placed & (facts.kind == 0))[0])]
            raise PicturesUnclearError(
                "kind",
                each,
                f"nothing says whether its {counts[0]:,} pictures ({first}, …) are tiles seen from above or photos "
                "of the street",
                path,
                "Say which they are with --kind aerial or --kind street",
            )
        wanted = "aerial" if counts[AERIAL] else "street"
    other = STREET if wanted == "aerial" else AERIAL
    chosen = np.flatnonzero(placed & (facts.kind != other))
    what = "tiles seen from above, north up" if wanted == "aerial" else "photos of the street"
    if not len(chosen):
        raise ImageryError(
            f"holds no {what}: its {counts[other]:,} pictures are of the other kind", path
        )
    note = f"{len(chosen):,} picture{'s' * (len(chosen) > 1)} taken for {what}"
    if counts[other]:
        note += f"; {counts[other]:,} of the other kind left out"
    return wanted, chosen, note + "."


def _extents(
    path: Path,
    root: Path,
    files: Sequence[str],
    facts: Facts,
    chosen: NDArray[np.intp],
    vigor: NDArray[np.bool_],
    given: float | None,
) -> tuple[NDArray[np.float64], str]:
    """Metres along the side of each tile: what was given, else what the dataset says; never a guess."""
    extents = facts.extent_m[chosen]
    if given is not None:
        said = extents[np.isfinite(extents)]
        note = f"Tiles are {given:g} m wide, as was given."
        if len(said) and not np.allclose(said, given, rtol=0.01):
            note += (
                f" The dataset says {said.min():g} to {said.max():g} m of {len(said):,} of them."
            )
        return np.full(len(chosen), float(given)), note
    note = ""
    of_vigor = vigor[chosen] & np.isnan(extents)
    if of_vigor.any() and _are_vigor_size(root, [files[int(n)] for n in chosen[of_vigor]]):
        side = VIGOR_PIXELS * VIGOR_PIXEL_M * np.cos(np.radians(facts.lat[chosen]))
        extents = np.where(of_vigor, side, extents)
        note = (
            f"Tiles are {side[of_vigor].min():.1f} to {side[of_vigor].max():.1f} m wide: VIGOR's, of 640 pixels at "
            "zoom 20."
        )
    unknown = np.flatnonzero(np.isnan(extents))
    if len(unknown):
        first = shown([files[int(chosen[n])] for n in unknown])
        raise PicturesUnclearError(
            "extent",
            (len(chosen), 0, 0),
            f"nothing says how much ground {len(unknown):,} of its {len(chosen):,} tiles show ({first})",
            path,
            "Give the metres along a tile's side with --extent-m, or a column extent_m in the table",
        )
    return extents, note


def _are_vigor_size(root: Path, files: Sequence[str]) -> bool:
    """Whether pictures, a sample of them where there are many, are of VIGOR's size; resized ones show what they may."""
    for number in np.unique(np.linspace(0, len(files) - 1, _SAMPLE).round().astype(int)):
        try:
            facts = glance(root / files[int(number)]).facts
        except PhotoError:
            continue  # told when it is read
        if (facts.width, facts.height) != (VIGOR_PIXELS, VIGOR_PIXELS):
            return False
    return True


def _copies(
    root: Path, listing: Listing, facts: Facts, chosen: NDArray[np.intp]
) -> tuple[list[str], NDArray[np.intp]]:
    """The pictures that are, byte for byte, another one at the same place; and the numbers of the others."""
    keys = np.stack(
        [facts.lat[chosen], facts.lon[chosen], np.asarray(listing.sizes, np.float64)[chosen]]
    )
    _, group, counts = np.unique(keys, axis=1, return_inverse=True, return_counts=True)
    group = group.ravel()  # its shape depends on the version of NumPy
    copies: list[int] = []
    known: set[tuple[int, bytes]] = set()
    for position in np.flatnonzero(counts[group] > 1):
        number = int(chosen[position])
        try:
            with open(root / listing.files[number], "rb") as file:
                digest = hashlib.file_digest(file, "sha256").digest()
        except OSError:
            continue  # told when it is read
        key = (int(group[position]), digest)
        if key in known:
            copies.append(int(position))
        known.add(key)
    return [listing.files[int(chosen[n])] for n in copies], np.delete(chosen, copies)


# What is said --------------------------------------------------------------------------------------------------


def _left_out(which: str, names: Sequence[str]) -> str:
    if not names:
        return ""
    return f"Left out: {len(names):,} picture{'s' * (len(names) > 1)} {which} ({shown(names)})."


def _other_imagery(root: Path) -> str:
    """What to choose instead where a folder without pictures holds a file that is imagery by itself."""
    found = sorted(path.name for path in root.glob("*.mbtiles"))
    return f"Choose the file {printable(found[0])} in it" if found else ""


def _links_said(listing: Listing) -> str:
    return f"; {len(listing.links):,} links lead out of it" if listing.links else ""


def _nothing_placed(
    path: Path, listing: Listing, said: _Tables, conflicts: Sequence[str]
) -> ImageryError:
    """Why no picture has a place: everything that was looked at, and what was expected."""
    count = len(listing.files)
    looked = [
        f"their names, such as {PurePosixPath(listing.files[0]).name} (expected {' or '.join(EXPECTED)})",
        "their EXIF (no GPS position)",
    ]
    if path.is_file():
        looked = []
    if said.bad or said.good:
        looked.append("the tables " + "; ".join([*said.bad, *said.good][:4]))
    elif not path.is_file():
        looked.append("tables beside them (there is no CSV or JSON file)")
    if conflicts:
        looked.append(f"{len(conflicts):,} have two places in the tables ({shown(conflicts)})")
    what = f"none of its {count:,} pictures says where it lies"
    if count == 1:
        what = "its picture does not say where it lies"
    return ImageryError(f"{what}: looked at {', '.join(looked)}", path, _OWN_TABLE)
