"""What the Library workspace has done off the UI thread: plain functions, each the work of a job. No Qt here."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from app.library.builds import Build, find_builds
from engine.errors import NadirError
from engine.progress import Report

if TYPE_CHECKING:
    from app.map.messages import Area
    from engine.library import Check, Item

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Stock:
    """What there is."""

    items: tuple[Item, ...] = ()
    shipped: tuple[Path, ...] = ()
    checks: dict[str, Check] = field(default_factory=dict)
    builds: list[Build] = field(default_factory=list)


def take_stock(root: Path, shipped_folder: Path, known: tuple[Path, ...], report: Report) -> Stock:
    """Look at the library's folder, at what came with the program, and at what is known to lie elsewhere.

    Paths that were opened once and are gone are left out; those that the user listed are shown as missing.
    """
    from engine.library import Item, look, read_register, scan

    shipped = tuple(scan(shipped_folder))
    register = read_register(root)
    builds = find_builds(root)
    paths = dict.fromkeys(scan(root))
    paths |= dict.fromkeys(build.out for build in builds)
    paths |= dict.fromkeys(shipped)
    paths |= dict.fromkeys(Path(path) for path in register.elsewhere)
    paths |= dict.fromkeys(path for path in known if path.exists())
    growing = {build.out for build in builds}
    items = []
    for at, path in enumerate(paths):
        report(at, len(paths), "")
        if path in growing and not (path / "manifest.json").is_file():
            items.append(Item("index", path, path.stem, unfinished=True))
        else:
            items.append(look(path))
    return Stock(tuple(items), shipped, register.checks, builds)


@dataclass(frozen=True)
class Brought:
    """Where something is now that was brought in: copied, there already, or listed where it lies."""

    path: Path
    how: Literal["copied", "there", "listed"]


def bring_in(source: Path, root: Path, report: Report) -> Brought:
    """Copy an encoder or an index into the library.

    An index that does not hold its imagery looks for it beside itself: it stays where it is, and is listed.

    Raises:
        NadirError: see :func:`engine.library.install`.
    """
    from engine.library import Check, change_register, install, look, scan

    if source.name in ("manifest.json", "card.json"):
        source = source.parent
    if source.parent.resolve() == root.resolve() and not source.name.endswith(".zip"):
        return Brought(root / source.name, "there")
    item = look(source) if source.is_dir() else None
    if item is not None and item.error is None and item.manifest is not None:
        manifest = item.manifest
        beside = manifest.kind == "aerial" and any(one.file is None for one in manifest.imagery)
        if beside:
            change_register(root, lambda known: known.with_item(source))
            return Brought(source, "listed")
    before = set(scan(root))
    path = install(source, root, report)
    check = Check.now(look(path).hash, ())
    change_register(root, lambda known: known.with_check(path, check))
    return Brought(path, "there" if path in before else "copied")


def verify(path: Path, root: Path, report: Report) -> Check:
    """Check an item, and remember what was found."""
    from engine.library import Check, change_register, check_item, look

    problems = check_item(path, report)
    check = Check.now(look(path).hash, problems)
    change_register(root, lambda known: known.with_check(path, check))
    return check


def remove(path: Path, root: Path, owned: bool) -> None:
    """Delete what lies in the library, forget what lies elsewhere."""
    from engine.library import change_register
    from engine.library import remove as remove_item

    if owned:
        remove_item(path, root)
        shutil.rmtree(root / ".builds" / path.stem, ignore_errors=True)
    change_register(root, lambda known: known.without(path))


# For the map ------------------------------------------------------------------------------------------------------

Rings = list[list[tuple[float, float]]]


@dataclass
class Ground:
    """What the map shows of an item, and how it is let go of."""

    area: Area
    rings: Rings
    close: Callable[[], None]
    chosen: Rings = field(default_factory=list)  # the area that an index is being built of


def ground_of(path: Path, report: Report) -> Ground:
    """The imagery of an index and the outline of what it covers.

    Raises:
        NadirError: the index cannot be opened.
    """
    from app.map.messages import Area, area_of
    from engine.index import Index
    from engine.library import index_outline

    index = Index.open(path)
    try:
        rings = index_outline(index)
        area = area_of(index)
        try:
            _ = index.imagery
        except NadirError as error:  # the map says nothing of it; the card does
            log.info("no imagery for the map: %s", error)
            area = Area(
                area.name, area.bounds, area.resolution_m, area.attribution, area.licence, None
            )
    except BaseException:
        index.close()
        raise
    return Ground(area, plain(rings), index.close)


def plain(rings: object) -> Rings:
    """Rings of numbers, as messages and files take them."""
    return [[(float(lon), float(lat)) for lon, lat in ring] for ring in rings]  # type: ignore[union-attr]
