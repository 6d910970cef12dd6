"""A folder of raster files as one mosaic: read quickly, in bounded memory, with few files open at a time."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rasterio.enums import ColorInterp
from rasterio.errors import CRSError, RasterioError
from rasterio.io import DatasetReader

from engine.errors import ImageryError
from engine.geo import Bounds
from engine.imagery.bands import BandRule, band_rule
from engine.imagery.facts import DAMAGED, RasterFacts, open_dataset, read_facts, reason
from engine.imagery.footprint import around_all, as_ring, boxes, outlines, resolution_of
from engine.imagery.handles import Handles, environment
from engine.imagery.mosaic import Layer, Mosaic, MosaicFacts, joined
from engine.imagery.projection import crs_name
from engine.imagery.raster import RasterSource, file_fingerprint, nowhere
from engine.imagery.sheet import lay_out
from engine.imagery.source import AerialSource
from engine.progress import Report, silent

ENDINGS = (".tif", ".tiff", ".gtiff")
MOST_FILES = 200_000
_DEPTH = 4  # folders below the one that is opened
_THREADS = 4
_SAMPLED_FILES = 16  # for the stretch that all files of one kind share
_FINGERPRINT_PARTS = 2048  # read of all files together, at least 3 of each

FloatArray = NDArray[np.float64]


def holds_rasters(folder: Path) -> bool:
    """Whether a folder is a folder of raster files."""
    return next(_raster_files(folder), None) is not None


def open_folder(folder: Path | str, report: Report = silent) -> AerialSource:
    """All GeoTIFFs in a folder, and in the folders in it, as one source.

    Where files overlap, the finer one is on top; of equally fine ones the one whose name comes last.

    Raises:
        ImageryError: there is none, one of them cannot be used, or there are too many.
    """
    folder = Path(folder).absolute()
    files: list[Path] = []
    for file in _raster_files(folder):
        if len(files) == MOST_FILES:
            raise ImageryError(
                f"the folder holds more than {MOST_FILES:,} raster files",
                folder,
                "Open parts of it as sources of their own",
            )
        files.append(file)
    if not files:
        raise ImageryError("the folder holds no GeoTIFF", folder)
    if len(files) == 1:
        return RasterSource(files[0])
    files.sort(key=lambda file: file.relative_to(folder).as_posix(), reverse=True)
    facts = _all_facts(folder, files, report)
    places = _places(facts)
    rules = _rules(facts)
    handles = Handles()
    layers: list[tuple[float, int, Layer]] = []
    for sheet, held in lay_out(facts, rules, handles):
        box = around_all([places[i] for i in held])
        resolution = resolution_of(sheet, places[held[0]].centre)
        if not np.isfinite(resolution):
            raise ImageryError("its pixels have no size on the ground", files[held[0]])
        layer = Layer(sheet, box, resolution, crs_name(sheet.raster_crs))
        # Finer ones come first; what differs by less than a twentieth is as fine.
        layers.append((round(np.log(resolution) / np.log(1.05)), held[0], layer))
    layers.sort(key=lambda entry: entry[:2])
    sizes = [file.stat().st_size for file in files]
    more = dict.fromkeys(note for rule in rules for note in rule.notes)
    return Mosaic(
        [layer for _, _, layer in layers],
        MosaicFacts(
            name=folder.name or "imagery",
            path=folder,
            kind="folder of GeoTIFFs",
            fingerprint=lambda: _fingerprint(files),
            outline=lambda: _outline(facts),
            close=handles.close,
            attribution=joined(one.attribution for one in facts),
            licence=joined(one.licence for one in facts),
            notes=(f"{len(files):,} files", *list(more)[:8]),
            pixels=sum(one.shape[0] * one.shape[1] for one in facts),
            bytes=sum(sizes),
            files=len(files),
            boxes=tuple(places),
        ),
    )


def _raster_files(folder: Path, depth: int = _DEPTH) -> Iterator[Path]:
    """GeoTIFFs by their names; hidden files and folders, and links to folders, are passed over."""
    below: list[str] = []
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.name.startswith("."):
                    continue
                if entry.name.lower().endswith(ENDINGS) and entry.is_file():
                    yield folder / entry.name
                elif depth and entry.is_dir(follow_symlinks=False):
                    below.append(entry.name)
    except OSError as error:
        raise ImageryError(f"the folder cannot be read ({error.strerror})", folder) from error
    for name in sorted(below):
        yield from _raster_files(folder / name, depth - 1)


def _all_facts(folder: Path, files: Sequence[Path], report: Report) -> list[RasterFacts]:
    def look(file: Path) -> RasterFacts | ImageryError:
        try:
            with environment(), open_dataset(file, str(file), "GTiff") as dataset:
                return read_facts(file, dataset)
        except ImageryError as error:
            return error

    facts: list[RasterFacts] = []
    wrong: list[ImageryError] = []
    with ThreadPoolExecutor(_THREADS, "looking") as pool:
        try:
            for done, found in enumerate(pool.map(look, files)):
                if done % 64 == 0:
                    report(done, len(files), "looking at the files")
                if isinstance(found, ImageryError):
                    wrong.append(found)
                else:
                    facts.append(found)
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    if wrong:
        _refuse(folder, wrong, len(files))
    return facts


def _refuse(folder: Path, wrong: Sequence[ImageryError], count: int) -> None:
    first = wrong[0]
    name = first.path.relative_to(folder).as_posix() if first.path else ""
    if len(wrong) == 1:
        raise ImageryError(
            f"{name} cannot be used: {first.problem}", folder, first.remedy
        ) from first
    raise ImageryError(
        f"{len(wrong):,} of {count:,} files cannot be used; the first is {name}: {first.problem}",
        folder,
        "Repair them, or take them out of the folder",
    ) from first


def _places(facts: Sequence[RasterFacts]) -> list[Bounds]:
    """The box around every file."""
    found: list[Bounds | None] = [None] * len(facts)
    for which in _by_crs(facts):
        try:
            several = boxes(*_geometry([facts[i] for i in which]))
        except CRSError as error:
            raise nowhere(facts[which[0]].path) from error
        for i, box in zip(which, several, strict=True):
            found[i] = box
    for one, box in zip(facts, found, strict=True):
        if box is None:
            raise nowhere(one.path)
    return [box for box in found if box is not None]


def _by_crs(facts: Sequence[RasterFacts]) -> list[list[int]]:
    groups: dict[str, list[int]] = {}
    for i, one in enumerate(facts):
        groups.setdefault(one.crs.to_wkt(), []).append(i)
    return list(groups.values())


def _geometry(facts: Sequence[RasterFacts]):
    transforms = np.array([one.transform[:6] for one in facts], np.float64)
    return facts[0].crs, transforms, np.array([one.shape for one in facts], np.int64)


def _rules(facts: Sequence[RasterFacts]) -> list[BandRule]:
    """How values become colours: the same for all files of one kind, so that no seam shows between them."""
    groups: dict[tuple[tuple[str, ...], tuple[ColorInterp, ...], int | None], list[int]] = {}
    for i, one in enumerate(facts):
        # Colour tables may differ from file to file.
        own = i if ColorInterp.palette in one.colours else None
        groups.setdefault((one.dtypes, one.colours, own), []).append(i)
    rules: dict[int, BandRule] = {}
    for (dtypes, _, _), which in groups.items():
        plain = set(dtypes) == {"uint8"}
        picked = np.unique(
            np.linspace(0, len(which) - 1, 1 if plain else _SAMPLED_FILES).astype(int)
        )
        rule = _rule([facts[which[i]] for i in picked])
        rules |= dict.fromkeys(which, rule)
    return [rules[i] for i in range(len(facts))]


def _rule(facts: Sequence[RasterFacts]) -> BandRule:
    path = facts[0].path
    try:
        with environment(), ExitStack() as stack:
            several: list[DatasetReader] = []
            for one in facts:
                path = one.path
                several.append(stack.enter_context(open_dataset(path, str(path), "GTiff")))
            return band_rule(several[0], several)
    except (RasterioError, OSError, ValueError) as error:
        raise ImageryError(
            f"part of the imagery cannot be read ({reason(error)})", path, DAMAGED
        ) from error


def _outline(facts: Sequence[RasterFacts]) -> list[FloatArray]:
    rings: list[FloatArray] = []
    for which in _by_crs(facts):
        lats, lons = outlines(*_geometry([facts[i] for i in which]), points=2)
        rings += [as_ring(lats[i], lons[i]) for i in range(len(which))]
    return rings


def _fingerprint(files: Sequence[Path]) -> str:
    """Of all files in their order, whatever they are called."""
    parts = max(3, _FINGERPRINT_PARTS // len(files))
    digest = hashlib.sha256(f"nadir folder 1, {len(files)} files\n".encode())
    with ThreadPoolExecutor(_THREADS, "reading") as pool:
        for one in pool.map(lambda file: file_fingerprint(file, parts), files):
            digest.update(one.encode())
    return digest.hexdigest()
