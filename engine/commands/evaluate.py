"""``nadir evaluate``: measure an encoder on a dataset, or make probabilities of its scores."""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine.commands import evaluate_dataset
from engine.commands.common import (
    Progress,
    add_encoder_and_index,
    angle,
    check_output,
    encoder_of,
    positive,
)
from engine.errors import EncoderError
from engine.progress import Report

if TYPE_CHECKING:
    from engine.encoder import Encoder
    from engine.evaluation import World
    from engine.index import Index


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--dataset", type=Path, required=True, metavar="DIR")
    parser.add_argument(
        "--format", choices=("world", *evaluate_dataset.FORMATS), default="world",
        help="layout of the dataset (default: world)",
    )  # fmt: skip
    add_encoder_and_index(
        parser, "an index of the dataset's imagery; built there if it does not exist"
    )
    parser.add_argument(
        "--heading", choices=("known", "unknown"),
        help="whether the photos' headings may be used (default: unknown; known where a dataset gives them all)",
    )  # fmt: skip
    parser.add_argument(
        "--fov", type=angle(1, 360), default=360.0, metavar="DEG",
        help="360: the panoramas (default); below: the photos, brought to this",
    )  # fmt: skip
    parser.add_argument(
        "--split",
        help="only the queries of this split (default: all of a world; what its papers report of a dataset)",
    )
    parser.add_argument("--limit", type=positive, metavar="N", help="only the first N queries")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the numbers here")
    parser.add_argument(
        "--curve",
        type=Path,
        metavar="FILE.csv|.svg|.png",
        help="write recall as a curve: a table or a plot",
    )
    parser.add_argument(
        "--calibrate", action="store_true",
        help="instead, make probabilities of scores: fit them on this dataset and keep them in the encoder's card",
    )  # fmt: skip
    parser.add_argument(
        "--outside", type=Path, metavar="DIR", help="with --calibrate: a dataset from elsewhere"
    )
    evaluate_dataset.add_arguments(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Measure recall and errors, print a table, write JSON and a curve where asked; or calibrate."""
    check_output(args.json)
    check_output(args.curve)
    if args.curve is not None:
        from engine.evaluation.curves import check_ending

        check_ending(args.curve)
    if args.format != "world":
        print(evaluate_dataset.run(args))
        return 0
    return _run_world(args)


def _run_world(args: argparse.Namespace) -> int:
    from engine.evaluation import read_world

    evaluate_dataset.refuse_in_a_world(args)
    world = read_world(args.dataset)
    encoder = encoder_of(args)
    with tempfile.TemporaryDirectory(prefix="nadir-") as scratch, Progress() as report:
        folder = args.index if args.index is not None else Path(scratch) / f"{world.name}.index"
        start = time.perf_counter()
        with _index_at(folder, world, encoder, report) as index:
            seconds = time.perf_counter() - start
            if args.calibrate:
                text = _calibrate(args, world, encoder, index, report)
            else:
                text = _measure(args, world, encoder, index, report, seconds)
    print(text)
    return 0


def _index_at(folder: Path, world: World, encoder: Encoder, report: Report) -> Index:
    """The index in a folder; built, or gone on with, where there is none yet."""
    from engine.imagery import open_imagery
    from engine.index import Index, build_index

    if (folder / "manifest.json").exists():
        return Index.open(folder, encoder)
    return build_index(folder, open_imagery(world.imagery), encoder, report=report)


def _measure(
    args: argparse.Namespace,
    world: World,
    encoder: Encoder,
    index: Index,
    report: Report,
    seconds: float,
) -> str:
    from engine.evaluation import evaluate
    from engine.files import write_json

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
    values = measured.to_dict() | {"index_seconds": round(seconds, 2)}
    if args.json is not None:
        write_json(args.json, values)
    if args.curve is not None:
        from engine.evaluation.curves import write_curves

        write_curves(args.curve, measured.curves(), f"{world.name}, {encoder.name}")
    return _evaluation_text(values)


def _calibrate(
    args: argparse.Namespace, world: World, encoder: Encoder, index: Index, report: Report
) -> str:
    from engine.encoder import rewrite_card
    from engine.evaluation import calibrate, read_world

    path = encoder.path
    if path is None or not path.is_dir():
        raise EncoderError(
            "a calibration is kept in an encoder's folder", path, "Unpack the zip first"
        )
    outside = read_world(args.outside) if args.outside is not None else None
    calibration, checked = calibrate(encoder, index, world, outside, report=report)
    rewrite_card(path, encoder.card.with_calibration(calibration.to_dict()))
    if args.json is not None:
        from engine.files import write_json

        write_json(args.json, {"calibration": calibration.to_dict(), "held_out": checked})
    shown = {key: "-" if value is None else f"{value:.3g}" for key, value in checked.items()}
    return (
        f"{path}: calibrated on {calibration.queries} queries of {calibration.data}\n"
        f"  on those held out: radius of {shown['level']} held {shown['coverage']}, first place right "
        f"{shown['first_observed']} where {shown['first_expected']} was said (error {shown['calibration_error']})\n"
        f"  from elsewhere, and said so: {shown['outside_found']}; from here, and said elsewhere: "
        f"{shown['outside_false']}"
    )


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
