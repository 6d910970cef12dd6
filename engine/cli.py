"""The command line: ``nadir VERB ...``. Exit codes: 0 done, 1 failed, 2 usage, 130 cancelled."""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import json
import math
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine import __version__
from engine.errors import Cancelled, EncoderError, IndexFolderError, NadirError, TrainingError
from engine.progress import Report
from engine.shipped import shipped_encoder, shipped_index

if TYPE_CHECKING:
    from engine.encoder import Encoder
    from engine.index import Index
    from engine.index.manifest import Manifest
    from engine.localize import Result
    from engine.photo import Photo, View

# The verbs import what they need when they run: `nadir --help` answers at once.


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    try:
        parser = make_parser(arguments[0] if arguments else "")
        args = parser.parse_args(arguments)
        return int(args.run(args))
    except NadirError as error:
        print(f"nadir: {error}", file=sys.stderr)
        return 1
    except (KeyboardInterrupt, Cancelled):
        print("nadir: cancelled", file=sys.stderr)
        return 130
    except BrokenPipeError:
        # The reader of our output has gone (`nadir ... | head`); nothing is wrong.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except MemoryError:
        print("nadir: out of memory. Close other programs, or use a smaller area.", file=sys.stderr)
        return 1
    except OSError as error:
        name = f"{Path(str(error.filename)).name}: " if error.filename else ""
        print(f"nadir: {name}{error.strerror or error}.", file=sys.stderr)
        return 1


def make_parser(verb: str = "") -> argparse.ArgumentParser:
    """The whole command line. ``verb`` is the one asked for: only its heavy options are looked up."""
    parser = argparse.ArgumentParser(
        prog="nadir",
        description="Where was this photo taken, and how do you know? Without a verb, the application opens.",
    )
    parser.add_argument("--version", action="version", version=f"nadir {__version__}")
    parser.set_defaults(run=open_app)
    verbs = parser.add_subparsers(title="verbs", metavar="VERB")
    _add_localize(verbs.add_parser("localize", help="find where photos were taken"))
    _add_world(
        verbs.add_parser("world", help="make a town with exact truth, to try and to train on")
    )
    _add_index(verbs.add_parser("index", help="build, describe and verify indexes"))
    _add_evaluate(verbs.add_parser("evaluate", help="measure an encoder on a dataset"))
    for name, text in (
        ("train", "train an encoder"),
        ("export", "make an encoder of a training's checkpoint"),
    ):
        child = verbs.add_parser(name, help=text)
        if verb == name:
            _add_training(child, name)
    doctor = verbs.add_parser("doctor", help="versions, devices, paths, and what is missing")
    doctor.set_defaults(run=run_doctor)
    return parser


# --- localize ---------------------------------------------------------------------------------------------------


def _add_localize(parser: argparse.ArgumentParser) -> None:
    parser.description = "Find where photos were taken. Nothing leaves this machine."
    parser.add_argument(
        "photos", nargs="+", type=Path, metavar="PHOTO", help="photos and 360° panoramas"
    )
    _add_encoder_and_index(parser)
    parser.add_argument(
        "--top", type=_positive, default=10, metavar="K", help="candidates wanted (default: 10)"
    )
    parser.add_argument(
        "--heading",
        type=_heading,
        default="unknown",
        metavar="DEG|unknown|photo",
        help="compass direction of the photo's middle, clockwise from north; 'photo': as the file says "
        "(default: unknown, it is found)",
    )
    parser.add_argument(
        "--fov", type=_angle(1, 360), metavar="DEG", help="horizontal field of view"
    )
    parser.add_argument(
        "--pitch", type=_angle(-90, 90), metavar="DEG", help="how far the camera looked up"
    )
    parser.add_argument(
        "--roll", type=_angle(-180, 180), metavar="DEG", help="how far it was turned clockwise"
    )
    parser.add_argument(
        "--area", type=Path, metavar="GEOJSON", help="only tiles in these polygons may answer"
    )
    parser.add_argument("--format", choices=("text", "json", "geojson"), default="text")
    parser.add_argument(
        "--output", type=Path, metavar="FILE", help="write here instead of to the screen"
    )
    parser.set_defaults(run=run_localize)


def run_localize(args: argparse.Namespace) -> int:
    """Locate photos. One that cannot be read does not stop the others; the exit code is 1 then."""
    from engine.files import atomic_write
    from engine.index.area import read_area
    from engine.localize import WRITERS, localize

    encoder = _encoder(args)
    index = _index(args, encoder)
    ids = None
    if args.area is not None:
        ids = index.within(read_area(args.area))
    results: list[Result] = []
    failed: list[NadirError] = []
    for path in args.photos:
        try:
            query = _query(path, args, ids)
            results.append(localize(query, encoder, index))
        except NadirError as error:
            if len(args.photos) == 1:
                raise
            failed.append(error)
    if results:
        text = WRITERS[args.format](results)
        if args.output is None:
            sys.stdout.write(text)
            sys.stdout.flush()
        else:
            with atomic_write(args.output, "w") as file:
                file.write(text)
            print(f"{args.output}: {len(results)} located", file=sys.stderr)
    for error in failed:
        print(f"nadir: {error}", file=sys.stderr)
    return 1 if failed else 0


def _query(path: Path, args: argparse.Namespace, ids: Any):
    from engine.localize import Query
    from engine.photo import read_photo, view_of

    photo = read_photo(path)
    view = _corrected(view_of(photo.facts), args, photo)
    heading = args.heading
    if heading == "photo":
        heading = photo.facts.heading_deg
    elif heading == "unknown":
        heading = None
    return Query(photo, heading, view, args.top, ids)


def _corrected(view: View, args: argparse.Namespace, photo: Photo) -> View | None:
    """The view with what the user said; None where nothing was said."""
    changes: dict[str, float] = {}
    for key, value in (("fov_deg", args.fov), ("pitch_deg", args.pitch), ("roll_deg", args.roll)):
        if value is not None:
            changes[key] = value
    if view.kind == "perspective" and changes.get("fov_deg", 0.0) >= 180.0:
        from engine.errors import PhotoError

        raise PhotoError(
            f"an ordinary photo cannot have a field of view of {changes['fov_deg']:g}°",
            photo.name,
            "Give less than 180",
        )
    return replace(view, **changes) if changes else None


# --- world ------------------------------------------------------------------------------------------------------


def _add_world(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("out", type=Path, metavar="OUT", help="a new folder")
    parser.add_argument("--seed", type=int, default=1, metavar="N", help="the town's (default: 1)")
    parser.add_argument("--area-km2", type=float, default=0.25, metavar="A", help="(default: 0.25)")
    parser.add_argument("--panoramas", type=_count, default=20, metavar="N", help="(default: 20)")
    parser.add_argument("--photos", type=_count, default=20, metavar="N", help="(default: 20)")
    parser.set_defaults(run=run_world)


def run_world(args: argparse.Namespace) -> int:
    """Make a town."""
    from engine.world.command import make_world

    with Progress() as report:
        make_world(args.out, args.seed, args.area_km2, args.panoramas, args.photos, report=report)
    print(
        f"{args.out}: a town of {args.area_km2:g} km², {args.panoramas} panoramas, {args.photos} photos"
    )
    return 0


# --- index ------------------------------------------------------------------------------------------------------


def _add_index(parser: argparse.ArgumentParser) -> None:
    verbs = parser.add_subparsers(title="verbs", metavar="VERB", required=True)
    build = verbs.add_parser("build", help="encode the tiles of an area")
    build.add_argument("out", type=Path, metavar="OUT", help="NAME.index")
    build.add_argument("--imagery", type=Path, required=True, metavar="SOURCE", help="a GeoTIFF")
    _add_encoder(build)
    build.add_argument(
        "--extent-m",
        type=_metres,
        metavar="E",
        help="ground extent of a tile (default: the card's)",
    )
    build.add_argument(
        "--stride-m", type=_metres, metavar="S", help="between tile centres (default: the card's)"
    )
    build.add_argument("--area", type=Path, metavar="GEOJSON", help="only tiles in these polygons")
    build.add_argument("--resume", action="store_true", help="go on with a build that was stopped")
    build.set_defaults(run=run_index_build)
    info = verbs.add_parser("info", help="what an index holds")
    info.add_argument("index", type=Path, metavar="INDEX")
    info.add_argument("--json", action="store_true", help="the manifest itself")
    info.set_defaults(run=run_index_info)
    verify = verbs.add_parser("verify", help="check every file of an index")
    verify.add_argument("index", type=Path, metavar="INDEX")
    verify.set_defaults(run=run_index_verify)


def run_index_build(args: argparse.Namespace) -> int:
    """Build an index."""
    from engine.imagery import open_imagery
    from engine.index import build_index
    from engine.index.area import read_area

    encoder = _encoder(args)
    area = read_area(args.area) if args.area is not None else None
    imagery = open_imagery(args.imagery)
    start = time.perf_counter()
    with Progress() as report:
        index = build_index(
            args.out,
            imagery,
            encoder,
            extent_m=args.extent_m,
            stride_m=args.stride_m,
            area=area,
            resume=args.resume,
            report=report,
        )
    with index:
        count = index.manifest.count
    print(
        f"{args.out}: {count:,} tiles in {time.perf_counter() - start:.0f} s, for {encoder.name} on {encoder.device}"
    )
    return 0


def run_index_info(args: argparse.Namespace) -> int:
    """Print what an index says of itself."""
    from engine.index.manifest import read_manifest
    from engine.index.store import index_folder

    manifest = read_manifest(index_folder(args.index))
    if args.json:
        print(
            json.dumps({"hash": manifest.hash, **manifest.to_dict()}, indent=2, ensure_ascii=False)
        )
    else:
        print(_index_text(manifest))
    return 0


def _index_text(manifest: Manifest) -> str:
    from engine.localize import position

    box, imagery = manifest.coverage, manifest.imagery
    bytes_ = sum(facts.bytes for facts in manifest.files.values())
    held = "inside the index" if imagery.file is not None else f"beside the index ({imagery.name})"
    lines = [
        f"{manifest.name}: {manifest.count:,} tiles of {manifest.extent_m:g} m, {manifest.stride_m:g} m apart",
        f"  encoder      {manifest.encoder_name} {manifest.encoder_hash[:12]}",
        f"  from         {position(box.south, box.west)}",
        f"  to           {position(box.north, box.east)}",
        f"  vectors      {manifest.dimension:,} numbers each, {manifest.faiss_factory}",
        f"  imagery      {imagery.name}, {imagery.resolution_m:.2f} m a pixel, {held}",
        f"  attribution  {manifest.attribution or 'not stated'}",
        f"  licence      {manifest.licence or 'not stated'}",
        f"  size         {bytes_ / 1e6:,.1f} MB in {len(manifest.files)} files",
        f"  made by      {manifest.made_by}",
        f"  hash         {manifest.hash}",
    ]
    return "\n".join([*lines, *(f"  note: {note}" for note in manifest.notes)])


def run_index_verify(args: argparse.Namespace) -> int:
    """Check an index's checksums; exit code 1 when something is wrong."""
    from engine.index import verify_index

    with Progress() as report:
        problems = verify_index(args.index, report)
    for problem in problems:
        print(f"nadir: {problem}", file=sys.stderr)
    if not problems:
        print(f"{args.index}: every file is as it was built")
    return 1 if problems else 0


# --- evaluate ---------------------------------------------------------------------------------------------------


def _add_evaluate(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--dataset", type=Path, required=True, metavar="DIR")
    parser.add_argument(
        "--format", choices=("world",), default="world", help="layout of the dataset"
    )
    _add_encoder_and_index(
        parser, "an index of the dataset's imagery; built there if it does not exist"
    )
    parser.add_argument("--heading", choices=("known", "unknown"), default="unknown")
    parser.add_argument(
        "--fov", type=_angle(1, 360), default=360.0, metavar="DEG",
        help="360: the panoramas (default); below: the photos, brought to this",
    )  # fmt: skip
    parser.add_argument("--split", help="only the queries of this split")
    parser.add_argument("--limit", type=_positive, metavar="N", help="only the first N queries")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the numbers here")
    parser.set_defaults(run=run_evaluate)


def run_evaluate(args: argparse.Namespace) -> int:
    """Measure recall and errors; prints a table, writes JSON where asked."""
    from engine.evaluation import evaluate, read_world
    from engine.files import write_json
    from engine.imagery import open_imagery
    from engine.index import Index, build_index

    world = read_world(args.dataset)
    encoder = _encoder(args)
    scratch: Path | None = None
    start = time.perf_counter()
    try:
        folder = args.index
        if folder is None:
            scratch = Path(tempfile.mkdtemp(prefix="nadir-"))
            folder = scratch / f"{world.name}.index"
        with Progress() as report:
            if folder.exists():
                index = Index.open(folder, encoder)
            else:
                imagery = open_imagery(world.imagery)
                index = build_index(
                    folder, imagery, encoder, embed_imagery=scratch is None, report=report
                )
            built = time.perf_counter() - start
            with index:
                measured = evaluate(
                    world,
                    encoder,
                    index,
                    heading_known=args.heading == "known",
                    fov_deg=args.fov,
                    split=args.split,
                    limit=args.limit,
                    report=report,
                )
                values = measured.to_dict() | {"index_seconds": round(built, 2)}
    finally:
        if scratch is not None:
            shutil.rmtree(scratch, ignore_errors=True)
    if args.json is not None:
        write_json(args.json, values)
    print(_evaluation_text(values))
    return 0


def _evaluation_text(values: dict[str, Any]) -> str:
    kind = "panoramas" if values["fov_deg"] >= 360 else f"photos of {values['fov_deg']:g}°"
    lines = [
        f"{values['dataset']}: {values['queries']} {kind}, heading {values['heading']}, {values['tiles']:,} tiles at "
        f"{values['stride_m']:g} m, encoder {values['encoder']['name']} {values['encoder']['hash'][:12]}"
    ]
    for label, keys in (
        ("place within 25 m", ("R@1<25m", "R@5<25m", "R@10<25m")),
        ("place within 50 m", ("R@1<50m", "R@5<50m")),
        ("nearest tile", ("R@1", "R@5", "R@10", "R@1%")),
    ):
        shown = [
            f"{key.split('<')[0]} {100 * values[key]:5.1f} %"
            for key in keys
            if values[key] is not None
        ]
        if shown:
            lines.append(f"  {label:<20} {'   '.join(shown)}")
    lines.append(f"  {'first tile covers it':<20} {100 * values['hit_rate']:9.1f} %")
    lines.append(f"  {'median error':<20} {_number(values['median_error_m'], 'm')}")
    if values["median_heading_error_deg"] is not None:
        lines.append(
            f"  {'median heading error':<20} {_number(values['median_heading_error_deg'], '°')}"
        )
    if values["radius_held"] is not None:
        lines.append(
            f"  {'radius of 9 in 10':<20} held {100 * values['radius_held']:.0f} % of "
            f"{100 * values['radius_given']:.0f} % given"
        )
    lines.append(
        f"  {'time':<20} {values['index_seconds']:.0f} s to open or build, {values['seconds']:.0f} s to evaluate, "
        f"{1000 * values['seconds_per_query']:.0f} ms a query"
    )
    return "\n".join(lines)


def _number(value: float | None, unit: str) -> str:
    return "       -" if value is None else f"{value:8.1f} {unit}"


# --- train, export, doctor, app -----------------------------------------------------------------------------------


def _add_training(parser: argparse.ArgumentParser, verb: str) -> None:
    if importlib.util.find_spec("torch") is None:
        raise TrainingError(
            f"nadir {verb} needs PyTorch, which is not installed",
            None,
            'Install it with: python3 -m pip install "nadir[train]"',
        )
    command = importlib.import_module("engine.training.command")
    getattr(command, f"add_{verb}_arguments")(parser)
    parser.set_defaults(run=getattr(command, verb))


def run_doctor(args: argparse.Namespace) -> int:
    """Say what is there and what is missing."""
    from engine.doctor import examine, report_text

    findings = examine()
    print(report_text(findings))
    return 0 if all(finding.good or not finding.needed for finding in findings) else 1


def open_app(args: argparse.Namespace) -> int:
    """Open the application."""
    if importlib.util.find_spec("PySide6") is None:
        raise NadirError(
            "the application needs PySide6, which is not installed",
            None,
            "Start it with: python3 run.py",
        )
    # By name: the engine knows the application's door, nothing behind it.
    return int(importlib.import_module("app.__main__").main() or 0)


# --- shared -----------------------------------------------------------------------------------------------------


class Progress:
    """One line on the terminal that counts; nothing when standard error is no terminal."""

    def __init__(self) -> None:
        self._live = sys.stderr.isatty()
        self._shown = 0.0
        self._start = time.perf_counter()

    def __enter__(self) -> Report:
        return self._report

    def __exit__(self, *_: object) -> None:
        if self._live and self._shown:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()

    def _report(self, done: int, total: int, text: str) -> None:
        now = time.perf_counter()
        if not self._live or now - self._shown < 0.1:
            return
        self._shown = now
        share = f"{100 * done // total:3d} %  " if total else ""
        left = ""
        if total and done > total * 0.02 and now - self._start > 2:
            left = f"  about {math.ceil((now - self._start) * (total - done) / done)} s left"
        line = f"{share}{text}{left}"
        sys.stderr.write("\r\x1b[K" + line[: shutil.get_terminal_size().columns - 1])
        sys.stderr.flush()


def _add_encoder(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--encoder",
        type=Path,
        metavar="DIR",
        help="NAME.encoder or a zip of it (default: the demo's)",
    )
    parser.add_argument(
        "--threads",
        type=_positive,
        default=0,
        metavar="N",
        help="for encoding (default: all cores)",
    )
    parser.add_argument("--cpu", action="store_true", help="do not try the GPU")


def _add_encoder_and_index(
    parser: argparse.ArgumentParser, help_text: str = "NAME.index (default: the demo's)"
) -> None:
    _add_encoder(parser)
    parser.add_argument("--index", type=Path, metavar="DIR", help=help_text)


def _encoder(args: argparse.Namespace) -> Encoder:
    from engine.encoder import open_encoder

    path = args.encoder if args.encoder is not None else shipped_encoder()
    if path is None:
        raise EncoderError("this copy of Nadir ships no encoder", None, "Give one with --encoder")
    return open_encoder(path, threads=args.threads, gpu=not args.cpu)


def _index(args: argparse.Namespace, encoder: Encoder) -> Index:
    from engine.index import Index

    path = args.index if args.index is not None else shipped_index()
    if path is None:
        raise IndexFolderError("this copy of Nadir ships no index", None, "Give one with --index")
    return Index.open(path, encoder)


def _heading(text: str) -> float | str:
    if text in ("unknown", "photo"):
        return text
    return _angle(-360, 720)(text) % 360.0


def _angle(low: float, high: float):
    def parse(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not low <= value <= high:
            raise argparse.ArgumentTypeError(f"{text!r} is no number from {low:g} to {high:g}")
        return value

    return parse


def _metres(text: str) -> float:
    return _angle(0.1, 100_000)(text)


def _count(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number")
    return int(text)


def _positive(text: str) -> int:
    value = _count(text)
    if value < 1:
        raise argparse.ArgumentTypeError("must be at least 1")
    return value
