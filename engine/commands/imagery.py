"""``nadir imagery``: what imagery is, and fetching it from a server."""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine.commands.common import (
    Progress,
    angle,
    check_output,
    count,
    metres,
    positive,
    print_json,
)
from engine.errors import ImageryError, printable

if TYPE_CHECKING:
    from engine.imagery.describe import ImageryCard
    from engine.imagery.server import Estimate, Fetched, Server, Service

_SERVER_HELP = "NAME.server.json, an address with {z}, {x} and {y} (or {-y}, {q}, {s}), or the address of a WMTS or WMS"
_EXAMPLE = """\
A server is described in NAME.server.json, of which only kind and url must be there:
  {
    "kind": "xyz", "url": "https://{s}.tiles.example.org/{z}/{x}/{y}.jpg", "subdomains": ["a", "b"],
    "name": "Example", "attribution": "(c) Example", "licence": "CC-BY-4.0", "terms": "https://example.org/terms",
    "zooms": [0, 19], "tile_pixels": 256, "bounds": [west, south, east, north], "rate": 5, "parallel": 2
  }
For kind "wmts" and "wms", url is where its capabilities are; layer, style, matrix_set, crs, version, format and
dimensions choose among what it has. Only hosts given with --allow are asked. What came is kept until all is there:
after an error or an interruption, run the same again.
"""
_ASKED_FIRST = 20_000  # tiles that are fetched without being asked for by number


def add_arguments(parser: argparse.ArgumentParser) -> None:
    verbs = parser.add_subparsers(title="verbs", metavar="VERB", required=True)
    info = verbs.add_parser(
        "info", help="what imagery is: resolution, coverage, whose; reads no network"
    )
    info.add_argument("source", metavar="SOURCE", help="a file or folder of imagery, or a server")
    info.add_argument(
        "--zoom", type=count, metavar="Z", help="of map tiles: this zoom, not the deepest"
    )
    info.add_argument(
        "--rows", choices=("xyz", "tms"), help="of a z/x/y folder: rows from north or from south"
    )
    info.add_argument(
        "--extent-m",
        type=metres,
        metavar="E",
        help="of pictures that are tiles: metres along a side",
    )
    info.add_argument(
        "--kind",
        choices=("aerial", "street"),
        help="of pictures: tiles seen from above, or photos of the street",
    )
    info.add_argument("--json", action="store_true", help="all facts, with the outline as GeoJSON")
    _add_asking(info)
    info.set_defaults(run=run_info)
    fetch = verbs.add_parser(
        "fetch",
        help="fetch the tiles of an area from a server into a file",
        epilog=_EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    fetch.add_argument("server", metavar="SERVER", help=_SERVER_HELP)
    fetch.add_argument("--area", type=Path, required=True, metavar="GEOJSON", help="these polygons")
    fetch.add_argument(
        "--zoom", type=count, required=True, metavar="Z", help="the zoom of the tiles"
    )
    fetch.add_argument(
        "--out", type=Path, metavar="FILE", help="NAME.mbtiles (NAME.tiles for other grids)"
    )
    fetch.add_argument(
        "--dry-run", action="store_true", help="say what it would take, and fetch nothing"
    )
    fetch.add_argument(
        "--margin-m", type=angle(0, 100_000), default=0.0, metavar="M", help="beyond the area"
    )
    fetch.add_argument(
        "--rate", type=angle(0.01, 100), metavar="N", help="requests a second (default: 5)"
    )
    fetch.add_argument(
        "--parallel", type=positive, metavar="N", help="connections, 8 at most (default: 2)"
    )
    fetch.add_argument(
        "--max-tiles",
        type=positive,
        default=_ASKED_FIRST,
        metavar="N",
        help="no more than these (default: 20000)",
    )
    fetch.add_argument("--cache", type=Path, metavar="FILE", help="keep tiles here for other areas")
    fetch.add_argument(
        "--json", action="store_true", help="what came, with every tile that is missing"
    )
    _add_asking(fetch)
    fetch.set_defaults(run=run_fetch)


def _add_asking(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--allow",
        action="append",
        default=[],
        metavar="HOST",
        help="this host may be asked; may come several times",
    )
    parser.add_argument("--layer", metavar="NAME", help="of a WMTS or WMS")
    parser.add_argument("--matrix-set", metavar="NAME", help="of a WMTS")


def run_info(args: argparse.Namespace) -> int:
    """Print what a source is."""
    from engine.imagery.describe import describe
    from engine.imagery.server import is_server

    if is_server(args.source):
        return _server_info(args)
    with Progress() as report:
        source = _open(args, report)
    with source:
        card = describe(source)
    if args.json:
        print_json(card.to_json() + "\n")
    else:
        print(_card_text(card))
    return 0


def _open(args: argparse.Namespace, report: Any) -> Any:
    from engine.imagery import open_source
    from engine.imagery.mbtiles import open_mbtiles
    from engine.imagery.tile_folder import is_tile_folder, open_tile_folder

    path = Path(args.source)
    if args.zoom is None and args.rows is None:
        return open_source(path, kind=args.kind, extent_m=args.extent_m, report=report)
    if path.is_file() and args.rows is None:
        return open_mbtiles(path, zoom=args.zoom)
    if is_tile_folder(path):
        return open_tile_folder(path, zoom=args.zoom, rows=args.rows)
    raise ImageryError("--zoom and --rows are for map tiles", path)


def _card_text(card: ImageryCard) -> str:
    from engine.imagery.describe import metres_text
    from engine.localize import position

    box = card.bounds
    wide, high = card.size_m
    lines = [f"{card.name}: {card.kind}"]
    if card.zooms is not None:
        first, last = card.zooms
        lines.append(
            f"  zooms        {first}" if first == last else f"  zooms        {first} to {last}"
        )
    if card.resolution_m:
        lines.append(f"  resolution   {metres_text(card.resolution_m)} a pixel")
    lines += [
        f"  crs          {card.crs}",
        f"  from         {position(box.south, box.west)}",
        f"  to           {position(box.north, box.east)}",
        f"  extent       {_length(wide)} by {_length(high)}, {len(card.outline)} piece"
        + ("" if len(card.outline) == 1 else "s"),
    ]
    if card.pixels is not None:
        lines.append(f"  pixels       {card.pixels[0]:,} by {card.pixels[1]:,}")
    if card.bytes:
        files = f" in {card.files:,} files" if card.files > 1 else ""
        lines.append(f"  size         {card.bytes / 1e6:,.1f} MB{files}")
    lines += _whose(card.attribution, card.licence, card.terms)
    return "\n".join(map(printable, [*lines, *(f"  note: {note}" for note in card.notes)]))


def _whose(attribution: str, licence: str, terms: str) -> list[str]:
    lines = [
        f"  attribution  {attribution or 'not stated'}",
        f"  licence      {licence or 'not stated'}",
    ]
    return [*lines, f"  terms        {terms}"] if terms else lines


def _length(value_m: float) -> str:
    return f"{value_m / 1000:,.1f} km" if value_m >= 1000 else f"{value_m:.0f} m"


def _server_info(args: argparse.Namespace) -> int:
    """A server is asked only where its host was allowed, and then for its capabilities alone."""
    from engine.imagery.server import AllowedHosts, connect

    server = _server(args)
    allowed = AllowedHosts(tuple(args.allow))
    may_ask = all(host in allowed for host in server.hosts)
    if not may_ask and server.kind != "xyz":
        facts = {"name": server.name, "kind": server.kind, "hosts": server.hosts, "asked": False}
        text = [
            f"{server.name}: {server.kind.upper()} server",
            f"  hosts        {', '.join(server.hosts)}",
            *_whose(server.attribution, server.licence, server.terms),
            f"  note: it was not asked; to see what it has, add {_allow_words(server.hosts)}",
        ]
    else:
        service = connect(server, args.allow)
        facts = _service_facts(service) | {"asked": server.kind != "xyz"}
        text = _service_text(service)
    if args.json:
        print_json(json.dumps(facts, indent=2, ensure_ascii=False) + "\n")
    else:
        print("\n".join(map(printable, text)))
    return 0


def _allow_words(hosts: tuple[str, ...]) -> str:
    return " ".join(f"--allow {host}" for host in hosts)


def _server(args: argparse.Namespace) -> Server:
    from engine.imagery.server import open_server

    server = open_server(args.source if hasattr(args, "source") else args.server)
    given = {"layer": args.layer, "matrix_set": args.matrix_set}
    return replace(server, **{key: value for key, value in given.items() if value is not None})


def _service_facts(service: Service) -> dict[str, Any]:
    box, zooms = service.bounds, service.grid.zooms
    return {
        "name": service.server.name,
        "kind": service.server.kind,
        "hosts": service.hosts,
        "crs": service.grid.crs.to_string(),
        "zooms": [zooms[0], zooms[-1]],
        "bounds": None if box is None else [box.west, box.south, box.east, box.north],
        "attribution": service.attribution,
        "licence": service.licence,
        "terms": service.terms,
        "notes": service.notes,
    }


def _service_text(service: Service) -> list[str]:
    from engine.localize import position

    box, zooms = service.bounds, service.grid.zooms
    lines = [
        f"{service.server.name}: {service.server.kind.upper()} server",
        f"  hosts        {', '.join(service.hosts)}",
        f"  zooms        {zooms[0]} to {zooms[-1]}",
        f"  crs          {service.grid.crs.to_string()}",
    ]
    if box is not None:
        lines.append(f"  from         {position(box.south, box.west)}")
        lines.append(f"  to           {position(box.north, box.east)}")
    lines += _whose(service.attribution, service.licence, service.terms)
    return [*lines, *(f"  note: {note}" for note in service.notes)]


def run_fetch(args: argparse.Namespace) -> int:
    """Fetch tiles; exit code 1 when some could not be had."""
    from engine.imagery.server import connect, estimate, fetch
    from engine.index.area import read_area

    out: Path = args.out or Path()
    if args.out is None and not args.dry_run:
        raise ImageryError(
            "nothing says where to write what is fetched", None, "Add --out NAME.mbtiles"
        )
    check_output(args.out, [args.area])
    server, area = _server(args), read_area(args.area)
    service = connect(server, args.allow)
    planned = estimate(service, area, args.zoom, margin_m=args.margin_m, rate=args.rate)
    if args.dry_run:
        if args.json:
            print_json(
                json.dumps(asdict(planned) | _service_facts(service), indent=2, ensure_ascii=False)
                + "\n"
            )
        else:
            print("\n".join(map(printable, [*_service_text(service), *_plan_text(planned)])))
        return 0
    # What it will take stands there before anything is asked for.
    print(
        "\n".join(map(printable, [*_service_text(service), *_plan_text(planned)])), file=sys.stderr
    )
    with Progress() as report:
        got = fetch(
            service,
            area,
            args.zoom,
            out,
            allowed_hosts=args.allow,
            report=report,
            margin_m=args.margin_m,
            rate=args.rate,
            parallel=args.parallel,
            most_tiles=args.max_tiles,
            cache=args.cache,
        )
    if args.json:
        facts = asdict(got) | {"path": str(got.path), "complete": got.complete}
        print_json(json.dumps(facts, indent=2, ensure_ascii=False) + "\n")
    else:
        print("\n".join(map(printable, _fetched_text(got))))
    return 0 if got.complete else 1


def announce(service: Service, planned: Estimate) -> None:
    """Say on standard error whose tiles these are and what they will take, before any is asked for."""
    lines = [*_service_text(service), *_plan_text(planned)]
    print("\n".join(map(printable, lines)), file=sys.stderr)


def _plan_text(planned: Estimate) -> list[str]:
    from engine.imagery.describe import metres_text

    return [
        f"  area         {planned.area_km2:,.2f} km² of tiles, {metres_text(planned.resolution_m)} a pixel",
        f"  tiles        {planned.tiles:,}, about {planned.bytes / 1e6:,.1f} MB",
        f"  time         {_duration(planned.seconds)} or more, at the rate it is asked",
    ]


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def _fetched_text(got: Fetched) -> list[str]:
    lines = [f"{got.path}: {got.stored:,} of {got.asked:,} tiles"]
    if got.absent:
        lines.append(f"  {got.absent:,} the server has not got")
    if got.blank:
        lines.append(f"  {got.blank:,} of one colour or transparent, left out")
    if got.failed_count:
        lines.append(
            f"  {got.failed_count:,} are MISSING: they were refused or failed. Run this again for them alone"
        )
        lines += [f"    {column}/{row}: {why}" for column, row, why in got.failed[:10]]
        if got.failed_count > 10:
            lines.append(f"    and {got.failed_count - 10:,} more (--json names them)")
    return [*lines, *(f"  note: {note}" for note in got.notes)]
