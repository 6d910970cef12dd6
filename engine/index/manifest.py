"""``manifest.json``: what an index is, and the size and checksum of every file in it.

A manifest may come from anybody. Reading it checks every value before anything is opened or allocated by it: kinds,
ranges, lengths, and that no file name leads out of the folder.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from engine.errors import IndexFolderError
from engine.geo import Bounds

FORMAT = "nadir-index"
VERSION = 1
MANIFEST_FILE = "manifest.json"
VECTORS_FILE = "vectors.faiss"
TILES_FILE = "tiles.gpkg"
IMAGERY_FILE = "imagery.tif"
TILES_CRS = "EPSG:4326"
FACTORIES = ("SQ8",)

_MAX_BYTES = 1 << 20
_MAX_TEXT = 4000
_MAX_NOTES = 100
_MAX_FILES = 16
_MAX_COUNT = 1 << 31
_MAX_DIMENSION = 1 << 16
_MAX_FILE_BYTES = 1 << 46
_FILE_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_-]{0,63}(\.[A-Za-z0-9]{1,10}){0,2}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_AGAIN = "Get the index again from its source, or build it again"


@dataclass(frozen=True)
class FileFacts:
    """Checksum and length of a file of the index."""

    sha256: str
    bytes: int


@dataclass(frozen=True)
class ImageryFacts:
    """The imagery that the tiles were cut from.

    Args:
        file: its name in the index's folder; None where the index does not hold it.
        name: the name of the original file, which is looked for beside the index where ``file`` is None.
        fingerprint: of the original (:meth:`engine.imagery.AerialSource.fingerprint`).
        resolution_m: metres on the ground a pixel.
    """

    file: str | None
    name: str
    fingerprint: str
    crs: str
    resolution_m: float
    bounds: Bounds


@dataclass(frozen=True)
class Manifest:
    """All facts about an index.

    Args:
        encoder_name, encoder_hash: the encoder whose descriptors these are; no other fits.
        extent_m: metres along a tile's side; ``tile_pixels``: pixels along it, as the encoder reads it.
        stride_m: metres between neighbouring tile centres.
        crs: of the tile table.
        count: tiles; their ids are 0 .. count - 1.
        dimension: numbers in a descriptor.
        faiss_factory: how the vectors are kept: ``SQ8``, 8 bits a number with a range for each dimension.
        coverage: the box that all tiles lie in.
        files: by name.
        plan_hash: of all that was asked of the build; asking the same again needs no building.
        made_by: program and version.
        notes: what a person should know: places left out, how the imagery was read.
    """

    name: str
    encoder_name: str
    encoder_hash: str
    extent_m: float
    stride_m: float
    tile_pixels: int
    count: int
    dimension: int
    faiss_factory: str
    attribution: str
    licence: str
    coverage: Bounds
    imagery: ImageryFacts
    files: dict[str, FileFacts]
    plan_hash: str
    made_by: str
    notes: tuple[str, ...] = ()
    crs: str = TILES_CRS
    format: str = FORMAT
    version: int = VERSION

    @property
    def hash(self) -> str:
        """SHA-256 of the manifest, and through its checksums of the whole index."""
        text = json.dumps(self.to_dict(), sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        return hashlib.sha256(text.encode()).hexdigest()

    def to_dict(self) -> dict[str, Any]:
        """The manifest as JSON values, in the order people read them."""
        raw = asdict(self)
        raw["notes"] = list(self.notes)
        first = ("format", "version", "name")
        return {key: raw[key] for key in (*first, *(k for k in raw if k not in first))}


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
    if raw.get("version") != VERSION:
        raise IndexFolderError(
            f"the index has version {str(raw.get('version'))[:20]}; this program reads version {VERSION}",
            None,
            "Update Nadir, or build the index again",
        )
    top = _Values(raw, "")
    box = top.group("imagery")
    imagery = ImageryFacts(
        file=None if box.peek("file") is None else box.file_name("file"),
        name=box.text("name"),
        fingerprint=box.sha256("fingerprint"),
        crs=box.text("crs"),
        resolution_m=box.number("resolution_m", 1e-4, 1e6),
        bounds=_bounds(box.group("bounds")),
    )
    box.done("file")
    manifest = Manifest(
        name=top.text("name"),
        encoder_name=top.text("encoder_name"),
        encoder_hash=top.sha256("encoder_hash"),
        extent_m=top.number("extent_m", 0.01, 1e6),
        stride_m=top.number("stride_m", 0.001, 1e6),
        tile_pixels=top.integer("tile_pixels", 1, 8192),
        count=top.integer("count", 1, _MAX_COUNT),
        dimension=top.integer("dimension", 1, _MAX_DIMENSION),
        faiss_factory=top.text("faiss_factory"),
        attribution=top.text("attribution"),
        licence=top.text("licence"),
        coverage=_bounds(top.group("coverage")),
        imagery=imagery,
        files=_files(top.take("files")),
        plan_hash=top.sha256("plan_hash"),
        made_by=top.text("made_by"),
        notes=_notes(top.take("notes")),
        crs=top.text("crs"),
    )
    top.done("format", "version")
    _check(manifest)
    return manifest


def _check(manifest: Manifest) -> None:
    if manifest.faiss_factory not in FACTORIES:
        raise IndexFolderError(
            f"its vectors are kept as {manifest.faiss_factory[:40]!r}, which this program does not read",
            None,
            "Update Nadir, or build the index again",
        )
    if manifest.crs != TILES_CRS:
        raise IndexFolderError(f"its tiles are not in {TILES_CRS}", None, _AGAIN)
    needed = {VECTORS_FILE, TILES_FILE}
    if manifest.imagery.file is not None:
        needed.add(manifest.imagery.file)
    if missing := sorted(needed - set(manifest.files)):
        raise IndexFolderError(f"the manifest does not list {missing[0]}", None, _AGAIN)


def _bounds(box: _Values) -> Bounds:
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
        if not _FILE_NAME.fullmatch(name) or name == MANIFEST_FILE:
            raise IndexFolderError(
                f"the manifest lists {name[:80]!r}, which is not a plain file name", None, _AGAIN
            )
        values = _Values(facts, f"files.{name}")
        files[name] = FileFacts(
            values.sha256("sha256"), values.integer("bytes", 0, _MAX_FILE_BYTES)
        )
        values.done()
    return files


def _notes(raw: Any) -> tuple[str, ...]:
    good = isinstance(raw, list) and len(raw) <= _MAX_NOTES
    if not good or not all(isinstance(note, str) and len(note) <= _MAX_TEXT for note in raw):
        raise IndexFolderError('the manifest\'s "notes" is no list of texts', None, _AGAIN)
    return tuple(raw)


def _refuse(constant: str) -> float:
    raise ValueError(f"{constant} is not JSON")


class _Values:
    """Typed access to a JSON object; every problem names the key."""

    def __init__(self, raw: Any, at: str) -> None:
        self.at = at
        if not isinstance(raw, dict):
            raise self._wrong("", "no group of values")
        self._raw: dict[str, Any] = raw
        self._seen: set[str] = set()

    def peek(self, key: str) -> Any:
        return self._raw.get(key)

    def take(self, key: str) -> Any:
        if key not in self._raw:
            raise self._wrong(key, "missing")
        self._seen.add(key)
        return self._raw[key]

    def group(self, key: str) -> _Values:
        return _Values(self.take(key), f"{self.at}.{key}" if self.at else key)

    def text(self, key: str) -> str:
        value = self.take(key)
        if not isinstance(value, str) or len(value) > _MAX_TEXT:
            raise self._wrong(key, "no text, or too long")
        return value

    def sha256(self, key: str) -> str:
        value = self.take(key)
        if not isinstance(value, str) or not _SHA256.fullmatch(value):
            raise self._wrong(key, "no SHA-256")
        return value

    def file_name(self, key: str) -> str:
        value = self.take(key)
        if not isinstance(value, str) or not _FILE_NAME.fullmatch(value):
            raise self._wrong(key, "not a plain file name")
        return value

    def integer(self, key: str, low: int, high: int) -> int:
        value = self.take(key)
        if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
            raise self._wrong(key, f"no whole number from {low} to {high}")
        return value

    def number(self, key: str, low: float, high: float) -> float:
        value = self.take(key)
        good = isinstance(value, int | float) and not isinstance(value, bool)
        if not good or not math.isfinite(value) or not low <= value <= high:
            raise self._wrong(key, f"no number from {low:g} to {high:g}")
        return float(value)

    def done(self, *also: str) -> None:
        if unknown := sorted(set(self._raw) - self._seen - set(also)):
            raise self._wrong(unknown[0], "not a key of this version")

    def _wrong(self, key: str, what: str) -> IndexFolderError:
        name = ".".join(part for part in (self.at, key[:80]) if part)
        return IndexFolderError(f'the manifest\'s "{name}" is {what}', None, _AGAIN)
