"""``manifest.json``: what an index is, and the size and checksum of every file in it.

A manifest may come from anybody. Reading it checks every value before anything is opened or allocated by it: kinds,
ranges, lengths, and that no file name leads out of the folder.

Version 1 knew one extent and one imagery, whose attribution stood at the top; it is read, and keeps its hash.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from engine.errors import IndexFolderError
from engine.geo import Bounds
from engine.index.json_values import AGAIN as _AGAIN
from engine.index.json_values import FILE_NAME, MAX_TEXT, Values

FORMAT = "nadir-index"
VERSION = 2
MANIFEST_FILE = "manifest.json"
VECTORS_FILE = "vectors.faiss"
TILES_FILE = "tiles.gpkg"
CENTRES_FILE = "centres.f64"
EXTENTS_FILE = "extents.f32"
SOURCES_FILE = "sources.u16"
IMAGERY_FILE = "imagery.tif"
PICTURES_FILE = "pictures.sqlite"
TILES_CRS = "EPSG:4326"
FACTORIES = ("SQ8",)  # of version 1
KINDS = ("aerial", "street")
MAX_EXTENTS = 16
MAX_IMAGERY = 256

_MAX_BYTES = 1 << 20
MAX_NOTES = 200
_MAX_FILES = 300
_MAX_COUNT = 1 << 31
_MAX_DIMENSION = 1 << 16
_MAX_FILE_BYTES = 1 << 46
GENERATION = re.compile(r"generation-[1-9][0-9]{0,8}")


@dataclass(frozen=True)
class FileFacts:
    """Checksum and length of a file of the index."""

    sha256: str
    bytes: int


@dataclass(frozen=True)
class ImageryFacts:
    """Imagery that the tiles were cut from, or the pictures that they are.

    Args:
        file: its name among the index's files; None where the index does not hold it.
        name: the name of the original file, which is looked for beside the index where ``file`` is None.
        fingerprint: of the original (:meth:`engine.imagery.AerialSource.fingerprint`).
        resolution_m: metres on the ground a pixel; 0 where that means nothing (street photos).
        attribution, licence, terms: whose it is, under which licence, and what else its owner asks for.
        kind: what it is, in words, such as ``GeoTIFF``; may be empty.
    """

    file: str | None
    name: str
    fingerprint: str
    crs: str
    resolution_m: float
    bounds: Bounds
    attribution: str = ""
    licence: str = ""
    terms: str = ""
    kind: str = ""


@dataclass(frozen=True)
class Manifest:
    """All facts about an index.

    Args:
        kind: ``aerial``: its rows are tiles of imagery seen from above; ``street``: photos from the ground.
        encoder_name, encoder_hash: the encoder whose descriptors these are; no other fits.
        extents_m: metres along a tile's side: all that occur, rising; the least and the largest where there are more
            than :data:`MAX_EXTENTS`; empty for photos. ``tile_pixels``: pixels along it, as the encoder reads it.
        stride_m: metres between neighbouring tile centres; 0 where they stand on no grid.
        count: rows (tiles or photos); their ids are 0 .. count - 1.
        dimension: numbers in a descriptor.
        layout, faiss_factory: how the vectors are kept: the layout's name, and faiss's words for it.
        coverage: the box that all tiles lie in.
        imagery: what the rows were cut from; ``sources.u16`` says which, where there are several.
        files: by name.
        plan_hash: of all that was asked of the build; asking the same again needs no building.
        made_by: program and version.
        notes: what a person should know: places left out, how the imagery was read.
        folder: where the files lie, a folder inside the index's; empty: beside the manifest. An index that is added
            to is written into another one, so that a single rename makes it the index.
        crs: of the tile table.
    """

    name: str
    kind: str
    encoder_name: str
    encoder_hash: str
    extents_m: tuple[float, ...]
    stride_m: float
    tile_pixels: int
    count: int
    dimension: int
    layout: str
    faiss_factory: str
    coverage: Bounds
    imagery: tuple[ImageryFacts, ...]
    files: dict[str, FileFacts]
    plan_hash: str
    made_by: str
    notes: tuple[str, ...] = ()
    folder: str = ""
    crs: str = TILES_CRS
    format: str = FORMAT
    version: int = VERSION

    @property
    def extent_m(self) -> float:
        """The extent of the tiles; the least of several; 0 for photos."""
        return self.extents_m[0] if self.extents_m else 0.0

    @property
    def pictures(self) -> bool:
        """Whether its rows are pictures with places of their own, on no grid, and not tiles cut from imagery."""
        return self.stride_m == 0

    @property
    def attribution(self) -> str:
        """Whose all the imagery is."""
        return _joined(facts.attribution for facts in self.imagery)

    @property
    def licence(self) -> str:
        """The licences of all the imagery."""
        return _joined(facts.licence for facts in self.imagery)

    @property
    def terms(self) -> str:
        """What the owners of all the imagery ask for beyond its licences."""
        return _joined(facts.terms for facts in self.imagery)

    @property
    def hash(self) -> str:
        """SHA-256 of the manifest, and through its checksums of the whole index."""
        text = json.dumps(self.to_dict(), sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        return hashlib.sha256(text.encode()).hexdigest()

    def to_dict(self) -> dict[str, Any]:
        """The manifest as JSON values, in the order people read them."""
        raw = asdict(self)
        for key in ("notes", "extents_m", "imagery"):
            raw[key] = list(raw[key])
        if self.version == 1:
            (facts,) = raw["imagery"]
            raw["attribution"], raw["licence"] = facts["attribution"], facts["licence"]
            for key in ("attribution", "licence", "terms", "kind"):
                del facts[key]
            raw["imagery"], raw["extent_m"] = facts, self.extent_m
            for key in ("kind", "extents_m", "layout", "folder"):
                del raw[key]
        first = ("format", "version", "name")
        return {key: raw[key] for key in (*first, *(k for k in raw if k not in first))}


def _joined(texts: Any) -> str:
    """Different texts, each once."""
    return "; ".join(dict.fromkeys(text for text in texts if text))


def read_manifest(folder: Path) -> Manifest:
    """Read and check the manifest of an index.

    Raises:
        IndexFolderError: it is missing, damaged, of another version, or unsafe.
    """
    file = folder / MANIFEST_FILE
    try:
        if file.is_symlink() or not file.is_file():
            raise IndexFolderError(
                f"holds no {MANIFEST_FILE}, so it is no index", folder, "Choose a folder NAME.index"
            )
        if file.stat().st_size > _MAX_BYTES:
            raise IndexFolderError(f"{MANIFEST_FILE} is larger than 1 MB", folder, _AGAIN)
        text = file.read_bytes()
    except OSError as error:
        raise IndexFolderError(
            f"{MANIFEST_FILE} cannot be read ({error.strerror})", folder
        ) from error
    try:
        raw = json.loads(text, parse_constant=_refuse)
    except (ValueError, RecursionError) as error:
        raise IndexFolderError(f"{MANIFEST_FILE} is not valid JSON", folder, _AGAIN) from error
    try:
        return manifest_from_dict(raw)
    except IndexFolderError as error:
        raise IndexFolderError(error.problem, folder, error.remedy) from None


def manifest_from_dict(raw: Any) -> Manifest:
    """Build a manifest from JSON values, checking every one of them (see :func:`read_manifest`)."""
    if not isinstance(raw, dict) or raw.get("format") != FORMAT:
        raise IndexFolderError(f'the manifest does not say "format": "{FORMAT}"', None, _AGAIN)
    version = raw.get("version")
    if isinstance(version, bool) or version not in (1, VERSION):
        raise IndexFolderError(
            f"the index has version {str(version)[:20]}; this program reads version {VERSION}",
            None,
            "Update Nadir, or build the index again",
        )
    top = Values(raw, "")
    manifest = Manifest(
        name=top.text("name"),
        encoder_name=top.text("encoder_name"),
        encoder_hash=top.sha256("encoder_hash"),
        stride_m=top.number("stride_m", 0.001 if version == 1 else 0.0, 1e6),
        tile_pixels=top.integer("tile_pixels", 1, 8192),
        count=top.integer("count", 1, _MAX_COUNT),
        dimension=top.integer("dimension", 1, _MAX_DIMENSION),
        faiss_factory=top.text("faiss_factory"),
        coverage=_bounds(top.group("coverage")),
        files=_files(top.take("files")),
        plan_hash=top.sha256("plan_hash"),
        made_by=top.text("made_by"),
        notes=notes_from(top.take("notes")),
        crs=top.text("crs"),
        version=int(version),
        **(_version_1(top) if version == 1 else _version_2(top)),
    )
    top.done("format", "version")
    _check(manifest)
    return manifest


def _version_1(top: Values) -> dict[str, Any]:
    whose = {key: top.text(key) for key in ("attribution", "licence")}
    return {
        "kind": "aerial",
        "extents_m": (top.number("extent_m", 0.01, 1e6),),
        "layout": "sq8",
        "imagery": (_imagery(top.group("imagery"), **whose),),
    }


def _version_2(top: Values) -> dict[str, Any]:
    return {
        "kind": top.text("kind"),
        "extents_m": top.numbers("extents_m", 0.01, 1e6, MAX_EXTENTS),
        "layout": top.text("layout"),
        "imagery": imagery_from(top),
        "folder": top.text("folder"),
    }


def imagery_from(top: Values) -> tuple[ImageryFacts, ...]:
    """The list of imagery in JSON values, as version 2 writes it."""
    found: list[ImageryFacts] = []
    for box in top.groups("imagery", MAX_IMAGERY):
        words = {key: box.text(key) for key in ("attribution", "licence", "terms", "kind")}
        found.append(_imagery(box, **words))
    return tuple(found)


def _imagery(box: Values, **words: str) -> ImageryFacts:
    facts = ImageryFacts(
        file=None if box.peek("file") is None else box.file_name("file"),
        name=box.text("name"),
        fingerprint=box.sha256("fingerprint"),
        crs=box.text("crs"),
        resolution_m=box.number("resolution_m", 0.0, 1e6),
        bounds=_bounds(box.group("bounds")),
        **words,
    )
    box.done("file")
    return facts


def _check(manifest: Manifest) -> None:
    if manifest.version == 1 and manifest.faiss_factory not in FACTORIES:
        raise IndexFolderError(
            f"its vectors are kept as {manifest.faiss_factory[:40]!r}, which this program does not read",
            None,
            "Update Nadir, or build the index again",
        )
    if manifest.crs != TILES_CRS:
        raise IndexFolderError(f"its tiles are not in {TILES_CRS}", None, _AGAIN)
    if manifest.kind not in KINDS:
        raise IndexFolderError(
            f"it is an index of {manifest.kind[:40]!r}, which this program does not know",
            None,
            "Update Nadir",
        )
    if manifest.folder and not GENERATION.fullmatch(manifest.folder):
        raise IndexFolderError('the manifest\'s "folder" is no folder of an index', None, _AGAIN)
    if not manifest.extents_m and manifest.kind == "aerial":
        raise IndexFolderError('the manifest\'s "extents_m" is empty', None, _AGAIN)
    if list(manifest.extents_m) != sorted(set(manifest.extents_m)):
        raise IndexFolderError('the manifest\'s "extents_m" do not rise', None, _AGAIN)
    if missing := sorted(set(needed_files(manifest)) - set(manifest.files)):
        raise IndexFolderError(f"the manifest does not list {missing[0]}", None, _AGAIN)
    if not any(name.startswith("vectors.") for name in manifest.files):
        raise IndexFolderError("the manifest lists no vectors", None, _AGAIN)
    for name, size in needed_files(manifest).items():
        if size is not None and manifest.files[name].bytes != size:
            raise IndexFolderError(
                f"the manifest says that {name} has {manifest.files[name].bytes:,} bytes where "
                f"{manifest.count:,} rows need {size:,}",
                None,
                _AGAIN,
            )


def needed_files(manifest: Manifest) -> dict[str, int | None]:
    """The files that an index of these facts has whatever its layout, and their lengths where they follow."""
    needed: dict[str, int | None] = {TILES_FILE: None}
    if manifest.version == 1:
        needed[VECTORS_FILE] = None
    else:
        needed[CENTRES_FILE] = 16 * manifest.count
        if len(manifest.extents_m) > 1:
            needed[EXTENTS_FILE] = 4 * manifest.count
        if len(manifest.imagery) > 1:
            needed[SOURCES_FILE] = 2 * manifest.count
    return needed | {facts.file: None for facts in manifest.imagery if facts.file is not None}


def _bounds(box: Values) -> Bounds:
    bounds = Bounds(
        south=box.number("south", -90, 90),
        west=box.number("west", -180, 180),
        north=box.number("north", -90, 90),
        east=box.number("east", -180, 180),
    )
    box.done()
    if bounds.south > bounds.north:
        raise IndexFolderError(f'the manifest\'s "{box.at}" is upside down', None, _AGAIN)
    return bounds


def _files(raw: Any) -> dict[str, FileFacts]:
    if not isinstance(raw, dict) or len(raw) > _MAX_FILES:
        raise IndexFolderError('the manifest\'s "files" is no list of files', None, _AGAIN)
    files: dict[str, FileFacts] = {}
    for name, facts in raw.items():
        if not FILE_NAME.fullmatch(name) or name == MANIFEST_FILE:
            raise IndexFolderError(
                f"the manifest lists {name[:80]!r}, which is not a plain file name", None, _AGAIN
            )
        values = Values(facts, f"files.{name}")
        files[name] = FileFacts(
            values.sha256("sha256"), values.integer("bytes", 0, _MAX_FILE_BYTES)
        )
        values.done()
    return files


def notes_from(raw: Any) -> tuple[str, ...]:
    """A list of notes in JSON values."""
    good = isinstance(raw, list) and len(raw) <= MAX_NOTES
    if not good or not all(isinstance(note, str) and len(note) <= MAX_TEXT for note in raw):
        raise IndexFolderError('the manifest\'s "notes" is no list of texts', None, _AGAIN)
    return tuple(raw)


def _refuse(constant: str) -> float:
    raise ValueError(f"{constant} is not JSON")
