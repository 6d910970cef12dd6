"""``nadir index build`` and ``nadir index add``: encode the tiles of an area."""

from __future__ import annotations

import argparse
import json
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine.commands.common import Progress, add_encoder, encoder_of, metres, positive
from engine.commands.index_resume import area_of, asked_by, extents_of, finished, go_on
from engine.errors import Cancelled, ImageryError, NadirError, printable
from engine.progress import Report

if TYPE_CHECKING:
    from engine.index.encoding import BuildProgress
    from engine.index.job import Settings, Source
    from engine.index.shards import Shard

_PAUSE_S = 0.2  # between two events of progress


def add_build(verbs: Any) -> None:
    build = verbs.add_parser("build", help="encode the tiles of an area")
    build.add_argument("out", type=Path, metavar="OUT", help="NAME.index")
    _add_source(build, required=False)
    build.add_argument(
        "--extent-m",
        type=_extents,
        action="append",
        metavar="E[,E...]",
        help="ground extent of a tile; several: a row for each at every place (default: the card's; of pictures, "
        "what the dataset says)",
    )
    build.add_argument(
        "--stride-m", type=metres, metavar="S", help="between tile centres (default: the card's)"
    )
    build.add_argument(
        "--layout",
        metavar="NAME",
        help="how descriptors are kept: exact, sq8, ivf-sq8, ivf-pq, pq, hnsw, imi or a faiss factory "
        "(default: auto, by count and memory)",
    )
    build.add_argument(
        "--shard",
        type=_shard,
        metavar="I/N",
        help="encode one of N shares, to be put together with: nadir index merge",
    )
    build.set_defaults(run=run_build, refuse=build.error)


def add_add(verbs: Any) -> None:
    add = verbs.add_parser("add", help="add the tiles of more imagery or area to an index")
    add.add_argument("index", type=Path, metavar="INDEX")
    _add_source(add, required=True)
    add.set_defaults(run=run_add)


def _add_source(parser: argparse.ArgumentParser, *, required: bool) -> None:
    parser.add_argument(
        "--imagery",
        required=required,
        metavar="SOURCE",
        help="imagery to cut tiles from (a file, a folder, or a server: its address or NAME.server.json), a folder "
        "of pictures that say where they lie, or a table of such",
    )
    parser.add_argument(
        "--kind",
        choices=("aerial", "street"),
        help="SOURCE is a folder or table of pictures: tiles seen from above, or photos of the street "
        "(default: as the dataset says)",
    )
    add_encoder(parser)
    parser.add_argument("--area", type=Path, metavar="GEOJSON", help="only tiles in these polygons")
    parser.add_argument(
        "--no-copy",
        action="store_true",
        help="do not keep a copy of the imagery in the index; it is then looked for beside it",
    )
    parser.add_argument("--attribution", metavar="TEXT", help="whose the imagery is")
    parser.add_argument("--licence", metavar="TEXT", help="of the imagery")
    parser.add_argument(
        "--allow",
        action="append",
        metavar="HOST",
        help="a server that may be asked for imagery; no other is",
    )
    parser.add_argument("--zoom", type=int, metavar="Z", help="of a server's imagery")
    parser.add_argument(
        "--cache",
        type=Path,
        metavar="DIR",
        help="where a server's imagery is kept (default: beside the index)",
    )
    parser.add_argument(
        "--workers",
        type=positive,
        default=0,
        metavar="N",
        help="threads that cut (default: all cores)",
    )
    parser.add_argument(
        "--resume",
        action="store_true",
        help="go on with what was stopped"
        + ("" if required else "; what is not said is as it was said then"),
    )
    parser.add_argument(
        "--events",
        action="store_true",
        help="tell a program how it goes: JSON lines on standard output",
    )


def run_build(args: argparse.Namespace) -> int:
    """Build an index, or a share of one."""
    if args.imagery is None and not args.resume:
        args.refuse("the following arguments are required: --imagery")
    with _told(args) as teller:
        return _build(args, teller)


def _build(args: argparse.Namespace, teller: _Teller) -> int:
    from engine.imagery.pictures import PictureSource
    from engine.index import build_index, build_shard, read_manifest
    from engine.index.estimate import estimate_build
    from engine.index.job import Settings
    from engine.index.layouts import AUTO

    start = time.perf_counter()
    if finished(args):
        index = read_manifest(args.out)
        teller.say("done", index=str(args.out), tiles=index.count, seconds=0.0, notes=[])
        teller.tell(f"{args.out}: finished already, {index.count:,} rows")
        return 0
    if args.resume:
        go_on(args)
    encoder = encoder_of(args)
    extents = extents_of(args)
    widest = max(extents or encoder.card.tile_extents_m)
    with teller.reporting() as report:
        source = _open(args, widest, args.out, report, extents)
        settings = Settings(
            extents_m=None if isinstance(source, PictureSource) else extents,
            stride_m=args.stride_m,
            area=area_of(args),
            embed_imagery=not args.no_copy,
            attribution=args.attribution,
            licence=args.licence,
            layout=args.layout or AUTO,
        )
        with source:
            foreseen = estimate_build(source, encoder, settings, measure=False)
            teller.say("plan", tiles=foreseen.places, bytes=foreseen.bytes)
            more: dict[str, Any] = {
                "resume": args.resume,
                "workers": args.workers,
                "report": report,
                "watch": teller.watch,
                "asked": asked_by(args, settings),
            }
            if args.shard is not None:
                shard: Shard = args.shard
                count = build_shard(args.out, source, encoder, shard, settings, **more)
                what, notes = f"rows, share {shard.number} of {shard.of}", ()
            else:
                index = build_index(
                    args.out,
                    source,
                    encoder,
                    **_as_options(settings),
                    **more,
                )
                with index:
                    count, notes = index.manifest.count, index.manifest.notes
                    what = "photos" if index.manifest.kind == "street" else "tiles"
    seconds = time.perf_counter() - start
    teller.say(
        "done", index=str(args.out), tiles=count, seconds=round(seconds, 1), notes=list(notes)
    )
    teller.tell(*(f"note: {printable(note)}" for note in notes))
    teller.tell(
        f"{args.out}: {count:,} {what} in {seconds:.0f} s, for {encoder.name} on {encoder.device}",
        teller.waited(),
    )
    return 0


def _as_options(settings: Settings) -> dict[str, Any]:
    names = ("stride_m", "area", "embed_imagery", "attribution", "licence", "layout")
    return {"extent_m": settings.extents_m} | {name: getattr(settings, name) for name in names}


def run_add(args: argparse.Namespace) -> int:
    """Add area to an index."""
    with _told(args) as teller:
        return _add(args, teller)


def _add(args: argparse.Namespace, teller: _Teller) -> int:
    from engine.index import add_to_index, read_manifest
    from engine.index.store import index_folder

    start = time.perf_counter()
    manifest = read_manifest(index_folder(args.index))
    encoder = encoder_of(args)
    with teller.reporting() as report:
        extents = manifest.extents_m or None
        source = _open(args, max(extents or (0.0,)), args.index, report, extents)
        with source:
            count = add_to_index(
                args.index,
                source,
                encoder,
                area=area_of(args),
                embed_imagery=not args.no_copy,
                attribution=args.attribution,
                licence=args.licence,
                resume=args.resume,
                workers=args.workers,
                report=report,
                watch=teller.watch,
            )
    seconds = time.perf_counter() - start
    teller.say("done", index=str(args.index), tiles=count, seconds=round(seconds, 1), notes=[])
    if count:
        teller.tell(f"{args.index}: {count:,} tiles added in {seconds:.0f} s", teller.waited())
    else:
        teller.tell(f"{args.index}: has all of these places already")
    return 0


def _open(
    args: argparse.Namespace,
    widest_m: float,
    out: Path,
    report: Report,
    extents: tuple[float, ...] | None,
) -> Source:
    """The source of a build; a server's imagery is fetched first."""
    from engine.commands.imagery import announce
    from engine.imagery import open_source
    from engine.imagery.server import is_server, server_imagery

    if not is_server(args.imagery):
        extent = extents[0] if extents and len(extents) == 1 else None
        return open_source(Path(args.imagery), kind=args.kind, extent_m=extent, report=report)
    area = area_of(args)
    if area is None:
        raise ImageryError(
            "a server has imagery of half the world", None, "Choose an area with --area"
        )
    imagery, fetched = server_imagery(
        args.imagery,
        area,
        args.zoom,
        args.cache or out.with_name(f"{out.stem}.fetched"),
        allowed_hosts=tuple(args.allow or ()),
        margin_m=0.75 * widest_m,
        announce=announce,
        report=report,
    )
    if not fetched.complete:
        print(
            f"nadir: {fetched.failed_count:,} of {fetched.asked:,} of the server's tiles could not be fetched "
            f"(the first: {fetched.failed[0][2]}); run the same again to try them again",
            file=sys.stderr,
        )
    return imagery


@dataclass
class _Teller:
    """Says how a build goes: a line on the terminal, or events."""

    events: bool
    stop: threading.Event
    last: BuildProgress | None = None
    _shown: float = field(default=0.0)

    @contextmanager
    def reporting(self) -> Iterator[Report]:
        """The report of the work inside; it ends the work when the process is asked to stop."""
        with Progress() as shown:

            def report(done: int, total: int, text: str) -> None:
                if self.stop.is_set():
                    raise Cancelled
                if self.events:
                    self._progress(done, total, text)
                else:
                    shown(done, total, text)

            yield report

    def watch(self, progress: BuildProgress) -> None:
        self.last = progress

    def say(self, event: str, **values: Any) -> None:
        """An event, where they are wanted."""
        if self.events:
            sys.stdout.write(json.dumps({"event": event, **values}, ensure_ascii=True) + "\n")
            sys.stdout.flush()

    def tell(self, *lines: str) -> None:
        """Lines for a person, where there are no events."""
        if not self.events:
            print("\n".join(line for line in lines if line), end="\n" if any(lines) else "")

    def waited(self) -> str:
        """How long the encoder waited, where it encoded."""
        if self.last is None:
            return ""
        return f"the encoder waited {self.last.waiting:.1%} of its time"

    def _progress(self, done: int, total: int, text: str) -> None:
        now = time.monotonic()
        if now - self._shown < _PAUSE_S:
            return
        self._shown = now
        progress = self.last
        encoding = progress is not None and text.startswith("Encoding")
        self.say(
            "progress",
            done=done,
            total=total,
            text=text,
            rows=[progress.done, progress.total] if progress and encoding else None,
            seconds_left=progress.seconds_left if progress and encoding else None,
            waiting=round(progress.waiting, 4) if progress else None,
        )


@contextmanager
def _told(args: argparse.Namespace) -> Iterator[_Teller]:
    """Tells what comes of the work inside; a signal to end stops it at the next report, to be gone on with."""
    with _stoppable() as stop:
        teller = _Teller(args.events, stop)
        try:
            yield teller
        except NadirError as error:
            path = str(error.path) if error.path is not None else None
            teller.say("error", problem=error.problem, path=path, remedy=error.remedy)
            raise
        except (KeyboardInterrupt, Cancelled):
            teller.say("cancelled")
            raise
        except (OSError, MemoryError) as error:
            teller.say("error", problem=str(error) or "out of memory", path=None, remedy="")
            raise


@contextmanager
def _stoppable() -> Iterator[threading.Event]:
    """An event that SIGINT and SIGTERM set instead of ending the process; the second one ends it."""
    stop = threading.Event()
    before: dict[int, Any] = {}

    def ask(number: int, frame: object) -> None:
        if stop.is_set():
            raise KeyboardInterrupt
        stop.set()

    handler: Callable[[int, Any], None] = ask
    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGINT, signal.SIGTERM):
            before[number] = signal.signal(number, handler)
    try:
        yield stop
    finally:
        for number, old in before.items():
            signal.signal(number, old)


def _extents(text: str) -> tuple[float, ...]:
    return tuple(metres(part) for part in text.split(","))


def _shard(text: str) -> Shard:
    from engine.index.shards import Shard

    number, slash, of = text.partition("/")
    try:
        return Shard(int(number), int(of if slash else ""))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no share such as 1/4") from None
