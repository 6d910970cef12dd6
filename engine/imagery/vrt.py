"""VRT files: descriptions of rasters made of other rasters, written by others and so not to be trusted.

GDAL's VRT can name any file or address, run code (pixel functions), and refer to itself. So a VRT is read here, what
is known to be harmless is written out anew, and only that is given to GDAL: sources that are GeoTIFFs in the VRT's own
folder or below it, placed, scaled and masked. Anything else is refused with its name.
Documentation followed: gdal.org/drivers/raster/vrt.html.
"""

from __future__ import annotations

import hashlib
import math
import os
from dataclasses import dataclass, field
from pathlib import Path
from xml.etree import ElementTree
from xml.etree.ElementTree import Element, SubElement

from engine.errors import ImageryError
from engine.imagery.facts import open_dataset
from engine.imagery.guard import TIFF_STARTS
from engine.imagery.handles import environment
from engine.imagery.raster import RasterSource, file_fingerprint

_MOST_BYTES = 64 << 20
_MOST_BANDS = 64
_MOST_SOURCES = 200_000
_MOST_PIXELS = 1 << 31  # along one side
_REMEDY = "Write it as a GeoTIFF: gdal_translate IN.vrt OUT.tif"

_TOP = {"SRS", "GeoTransform", "VRTRasterBand", "MaskBand"}
# What is left out without loss: statistics, descriptions, block sizes, ready-made overviews (GDAL finds the sources').
_IGNORED = {
    "Metadata",
    "Description",
    "Histograms",
    "CategoryNames",
    "UnitType",
    "Offset",
    "Scale",
    "Overview",
    "OverviewList",
    "GCPList",
    "BlockXSize",
    "BlockYSize",
}
_BAND = {"NoDataValue", "HideNoDataValue", "ColorInterp", "ColorTable"}
_SOURCES = {"SimpleSource", "ComplexSource"}
_SOURCE = {"SourceFilename", "SourceBand", "SrcRect", "DstRect"}
_COMPLEX = {"NODATA", "UseMaskBand", "ScaleOffset", "ScaleRatio", "LUT", "ColorTableComponent"}
_COMPLEX |= {"SrcMin", "SrcMax", "DstMin", "DstMax", "Exponent", "Clamp"}
_LEFT_OUT_OF_SOURCES = {"SourceProperties"}
_RECTANGLE = ("xOff", "yOff", "xSize", "ySize")
_TYPES = {"Byte", "Int8", "UInt16", "Int16", "UInt32", "Int32", "Float32", "Float64"}


@dataclass
class _Reading:
    """A VRT being checked: its folder and the files it names."""

    path: Path
    folder: Path
    files: dict[str, Path] = field(default_factory=dict)  # as named -> checked
    sources: int = 0


class VrtSource(RasterSource):
    """A VRT whose description was checked; see :class:`engine.imagery.AerialSource`."""

    kind = "VRT"

    def __init__(self, path: Path, description: str, files: list[Path]) -> None:
        super().__init__(path, vrt=description)
        self._files = files
        self.files = len(files) + 1
        self.bytes = sum(file.stat().st_size for file in (self.path, *files))

    def fingerprint(self) -> str:
        """See :meth:`AerialSource.fingerprint`: of the description and of all files it names."""
        if not self._fingerprint:
            parts = max(3, 1024 // max(len(self._files), 1))
            prints = [file_fingerprint(file, parts) for file in (self.path, *self._files)]
            said = "\n".join(["nadir vrt 1", *prints])
            self._fingerprint = hashlib.sha256(said.encode()).hexdigest()
        return self._fingerprint


def open_vrt(path: Path | str) -> VrtSource:
    """Open a VRT of GeoTIFFs that lie in its own folder or below.

    Raises:
        ImageryError: it is no VRT, is damaged, or asks for anything that a stranger's file must not.
    """
    path = Path(path).absolute()
    root = _parse(path)
    reading = _Reading(path, path.parent.resolve())
    clean = _checked_dataset(reading, root)
    description = ElementTree.tostring(clean, encoding="unicode")
    files = list(dict.fromkeys(reading.files.values()))
    with environment():
        for file in files:  # GDAL will open them by itself
            open_dataset(file, str(file), "GTiff").close()
    return VrtSource(path, description, files)


def _refused(path: Path, what: str, remedy: str = _REMEDY) -> ImageryError:
    return ImageryError(f"this VRT {what}", path, remedy)


def _parse(path: Path) -> Element:
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise _refused(path, f"is larger than {_MOST_BYTES >> 20} MB")
        data = path.read_bytes()
    except OSError as error:
        raise ImageryError(f"it cannot be read ({error.strerror})", path) from error
    # Entities can name files and grow without bound; no VRT needs them.
    if b"<!DOCTYPE" in data or b"<!ENTITY" in data or data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        raise _refused(path, "declares entities, which Nadir does not read")
    try:
        root = ElementTree.fromstring(data)
    except (ElementTree.ParseError, ValueError, LookupError) as error:
        raise ImageryError(
            f"this file cannot be read as a VRT ({error})",
            path,
            "It may be damaged or incomplete: copy or download it again",
        ) from error
    if root.tag != "VRTDataset":
        raise ImageryError("this file cannot be read as a VRT (it describes none)", path)
    return root


def _checked_dataset(reading: _Reading, root: Element) -> Element:
    kind = root.get("subClass")
    if kind:
        raise _refused(reading.path, f"is of the kind {kind[:40]}, which Nadir does not read")
    size = [_whole(reading, root, name, _MOST_PIXELS) for name in ("rasterXSize", "rasterYSize")]
    clean = Element("VRTDataset", rasterXSize=str(size[0]), rasterYSize=str(size[1]))
    if root.find("GeoTransform") is None and root.find("GCPList") is not None:
        raise ImageryError(
            "it has ground control points where a georeferenced image has a transform",
            reading.path,
            "Georeference it first, for example with gdalwarp or QGIS",
        )
    bands = 0
    for child in root:
        if child.tag in _IGNORED:
            continue
        if child.tag not in _TOP:
            raise _refused(reading.path, f"uses {child.tag[:40]}, which Nadir does not read")
        if child.tag == "SRS":
            _copy_text(reading, child, clean, ("dataAxisToSRSAxisMapping",))
        elif child.tag == "GeoTransform":
            numbers = _numbers(reading, child.text, 6)
            SubElement(clean, "GeoTransform").text = ", ".join(map(repr, numbers))
        elif child.tag == "MaskBand":
            inner = list(child)
            if len(inner) != 1 or inner[0].tag != "VRTRasterBand":
                raise _refused(reading.path, "has a mask that is no band")
            SubElement(clean, "MaskBand").append(_checked_band(reading, inner[0]))
        else:
            bands += 1
            if bands > _MOST_BANDS:
                raise _refused(reading.path, f"has more than {_MOST_BANDS} bands")
            clean.append(_checked_band(reading, child))
    if not bands:
        raise _refused(reading.path, "has no bands")
    return clean


def _checked_band(reading: _Reading, band: Element) -> Element:
    kind = band.get("subClass")
    if kind:
        raise _refused(
            reading.path, f"has a band of the kind {kind[:40]}, which Nadir does not read"
        )
    datatype = band.get("dataType", "Byte")
    if datatype not in _TYPES:
        raise _refused(reading.path, f"has values of the kind {datatype[:40]}")
    clean = Element("VRTRasterBand", dataType=datatype)
    if band.get("band") is not None:
        clean.set("band", str(_whole(reading, band, "band", _MOST_BANDS)))
    for child in band:
        if child.tag in _IGNORED:
            continue
        if child.tag in _BAND:
            copy = _copy_text(reading, child, clean, ())
            for entry in child:  # of a colour table
                SubElement(
                    copy, "Entry", {k: entry.get(k, "0")[:8] for k in ("c1", "c2", "c3", "c4")}
                )
        elif child.tag in _SOURCES:
            clean.append(_checked_source(reading, child))
        else:
            raise _refused(reading.path, f"uses {child.tag[:40]}, which Nadir does not read")
    return clean


def _checked_source(reading: _Reading, source: Element) -> Element:
    reading.sources += 1
    if reading.sources > _MOST_SOURCES:
        raise _refused(reading.path, f"names more than {_MOST_SOURCES:,} sources")
    attributes = {}
    if source.get("resampling") in ("nearest", "bilinear", "cubic", "average", "lanczos"):
        attributes["resampling"] = str(source.get("resampling"))
    clean = Element(source.tag, attributes)
    allowed = _SOURCE | (_COMPLEX if source.tag == "ComplexSource" else set())
    named = False
    for child in source:
        if child.tag in _LEFT_OUT_OF_SOURCES:
            continue
        if child.tag not in allowed:
            raise _refused(reading.path, f"uses {child.tag[:40]}, which Nadir does not read")
        if child.tag == "SourceFilename":
            named = True
            file = _checked_file(reading, child)
            # Not shared: several threads read, each through a dataset of its own.
            inner = SubElement(clean, "SourceFilename", relativeToVRT="0", shared="0")
            inner.text = str(file)
        elif child.tag in ("SrcRect", "DstRect"):
            numbers = [_number(reading, child.get(name)) for name in _RECTANGLE]
            if min(numbers[2:]) <= 0:
                raise _refused(reading.path, "places a source of no size")
            SubElement(clean, child.tag, dict(zip(_RECTANGLE, map(repr, numbers), strict=True)))
        else:
            _copy_text(reading, child, clean, ())
    if not named:
        raise _refused(reading.path, "has a source without a file")
    return clean


def _checked_file(reading: _Reading, name: Element) -> Path:
    """The file that a source names: a GeoTIFF in the VRT's folder."""
    text = (name.text or "").strip()
    relative = name.get("relativeToVRT", "0") == "1"
    key = f"{relative} {text}"
    if key in reading.files:
        return reading.files[key]
    shown = text[:80]
    if (
        not text
        or "\0" in text
        or text.startswith(("/vsi", "<"))
        or "://" in text
        or len(text) > 4096
    ):
        raise _refused(reading.path, f"names {shown or 'nothing'}, which is no file in its folder")
    given = Path(text)
    # An absolute name is good where it lies in the folder; GDAL itself takes others from the working folder.
    file = given if given.is_absolute() else reading.folder / given
    try:
        real = Path(os.path.realpath(file))
        if not real.is_relative_to(reading.folder):
            raise _refused(
                reading.path,
                f"names {shown}, which lies outside its folder",
                "Put its files beside it, and name them relative to it",
            )
        if not real.is_file():
            raise ImageryError(
                f"the file {shown} that it names is missing", reading.path, "Put it beside the VRT"
            )
        with open(real, "rb") as opened:
            start = opened.read(4)
    except (OSError, ValueError) as error:
        raise ImageryError(
            f"the file {shown} that it names cannot be read", reading.path
        ) from error
    if start not in TIFF_STARTS:
        what = "is no GeoTIFF" if not start.startswith(b"<VRT") else "is a VRT itself"
        raise _refused(reading.path, f"names {shown}, which {what}")
    reading.files[key] = real
    return real


def _copy_text(
    reading: _Reading, child: Element, parent: Element, keep: tuple[str, ...]
) -> Element:
    text = (child.text or "").strip()
    if len(text) > 100_000:
        raise _refused(reading.path, f"has a {child.tag} that is too long")
    copy = SubElement(parent, child.tag, {k: child.get(k, "")[:100] for k in keep if child.get(k)})
    copy.text = text
    return copy


def _whole(reading: _Reading, element: Element, name: str, most: int) -> int:
    text = (element.get(name) or "").strip()
    if not (text.isascii() and text.isdigit() and len(text) < 12 and 1 <= int(text) <= most):
        raise _refused(reading.path, f'says "{text[:20]}" for {name}', "Check where it comes from")
    return int(text)


def _numbers(reading: _Reading, text: str | None, count: int) -> list[float]:
    parts = (text or "").split(",")
    if len(parts) != count:
        raise _refused(reading.path, "has a transform that is not six numbers")
    return [_number(reading, part) for part in parts]


def _number(reading: _Reading, text: str | None) -> float:
    try:
        value = float((text or "").strip())
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise _refused(reading.path, f'says "{(text or "")[:20]}" where a number belongs')
    return value
