"""``nadir evaluate --format cvusa|vigor|...``: measure an encoder on queries and references in a published layout."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine.commands.common import Progress
from engine.errors import DatasetError, EncoderError
from engine.shipped import shipped_encoder

if TYPE_CHECKING:
    from engine.datasets import Dataset
    from engine.evaluation.describe import Model
    from engine.evaluation.store import Store

FORMATS = ("cvact", "cvusa", "gsv-cities", "pairs", "sfxl", "university", "vg", "vigor")
RULES = (
    "strict", "vigor", "saig", "saig-vigor", "safa", "dsm", "cvact", "transgeo", "frgeo", "sample4geo", "university",
    "vg", "gsv",
)  # fmt: skip
VARIANTS = (
    "hard_resize", "single_query", "central_crop", "five_crops", "nearest_crop", "maj_voting",
)  # fmt: skip
"""What :mod:`engine.datasets` and :mod:`engine.evaluation` know, written down so that --help need not import them."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options that datasets have and worlds have not."""
    group = parser.add_argument_group("datasets of queries and references (every format but world)")
    group.add_argument(
        "--option", action="append", default=[], metavar="KEY=VALUE", type=option,
        help="of the format, such as area=cross or cities=Seattle,Chicago (vigor), task=satellite-drone (university), "
        "queries=queries_v2 (sfxl), radius_m=10 (vg)",
    )  # fmt: skip
    group.add_argument(
        "--rule", choices=RULES, help="how recall is counted (default: the dataset's)"
    )
    group.add_argument(
        "--variant",
        choices=VARIANTS,
        default="hard_resize",
        help="how a query is shown to the network",
    )
    group.add_argument(
        "--pca", type=components, metavar="N", help="shorten descriptors to N principal components"
    )
    group.add_argument(
        "--pca-on", type=Path, metavar="DIR",
        help="fit them on the pictures in this folder (default: on the references)",
    )  # fmt: skip
    group.add_argument(
        "--skip-missing",
        action="store_true",
        help="leave out pictures that are not there, and say how many",
    )
    group.add_argument(
        "--cache", type=Path, metavar="DIR",
        help="keep descriptors here, so that the next metric needs no encoding (default: the user's cache folder); "
        "they are found again while the encoder and the pictures are the same",
    )  # fmt: skip
    group.add_argument(
        "--no-cache", action="store_true", help="neither keep descriptors nor look for them"
    )


def refuse_in_a_world(args: argparse.Namespace) -> None:
    """See that none of this module's options was given.

    Raises:
        DatasetError: one was; it would have no effect on a world.
    """
    for name in ("option", "rule", "pca", "pca_on", "skip_missing", "cache", "no_cache"):
        if getattr(args, name):
            break
    else:
        if args.variant == VARIANTS[0]:
            return
        name = "variant"
    raise DatasetError(
        f"--{name.replace('_', '-')} is for datasets of queries and references, not for a world",
        None,
    )


def option(text: str) -> tuple[str, str]:
    """``KEY=VALUE``; the format knows what kind of value it is."""
    key, equals, value = text.partition("=")
    if not equals or not key.isidentifier():
        raise argparse.ArgumentTypeError(f"{text!r} is not KEY=VALUE")
    return key, value


def components(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number above 0")
    return int(text)


def run(args: argparse.Namespace) -> str:
    """Measure, write what was asked for, and return the table to print."""
    from engine.evaluation.curves import write_curves
    from engine.evaluation.retrieval import evaluate_dataset
    from engine.files import write_json

    dataset = _dataset(args)
    store = _store(args)
    known = _heading_known(args, dataset)
    with Progress() as report:
        found = evaluate_dataset(
            dataset,
            _model(args),
            heading_known=known,
            fov_deg=None if args.fov is None or args.fov >= 360 else args.fov,
            rule=args.rule,
            variant=args.variant,
            pca=args.pca,
            pca_on=args.pca_on,
            store=store,
            report=report,
        )
    values = found.to_dict()
    if args.json is not None:
        write_json(args.json, values)
    if args.curve is not None:
        title = f"{values['dataset']}, {values['encoder']['name']}"
        write_curves(args.curve, found.curves(), title)
    return text_of(values, store, fitted_elsewhere=args.pca_on is not None)


def _dataset(args: argparse.Namespace) -> Dataset:
    from engine.datasets import check_pictures, open_dataset, without_missing
    from engine.datasets.layout import first_queries

    for name in ("index", "outside"):
        if getattr(args, name) is not None:
            raise DatasetError(
                f"--{name} is for --format world; a {args.format} dataset brings its references",
                None,
            )
    if args.pca_on is not None and args.pca is None:
        raise DatasetError("--pca-on needs --pca, how many components", None)
    if args.calibrate:
        raise DatasetError("--calibrate needs positions and imagery", None, "Use --format world")
    dataset = open_dataset(args.format, args.dataset, split=args.split, **dict(args.option))
    if args.skip_missing:
        dataset = without_missing(dataset)
    if args.limit is not None:
        dataset = first_queries(dataset, args.limit)
    check_pictures(dataset)
    return dataset


def _heading_known(args: argparse.Namespace, dataset: Dataset) -> bool:
    """As asked; else known where the dataset says all headings, as its papers take them."""
    import numpy as np

    if args.heading is not None:
        return args.heading == "known"
    return bool(np.isfinite(dataset.queries.heading_deg).all())


def _model(args: argparse.Namespace) -> Model:
    """The encoder, its graphs not started before a picture has to be encoded."""
    import os

    from engine.encoder import Encoder, read_package
    from engine.evaluation.describe import Model

    path = args.encoder if args.encoder is not None else shipped_encoder()
    if path is None:
        raise EncoderError("this copy of Nadir ships no encoder", None, "Give one with --encoder")
    card, graphs = read_package(path)
    threads = min(args.threads, os.cpu_count() or 1)
    return Model(card, lambda: Encoder(card, graphs, path=path, threads=threads, gpu=not args.cpu))


def _store(args: argparse.Namespace) -> Store | None:
    from engine.evaluation.store import Store, default_store

    if args.no_cache:
        return None
    return Store(args.cache if args.cache is not None else default_store())


def text_of(values: dict[str, Any], store: Store | None, *, fitted_elsewhere: bool = False) -> str:
    """The table that is printed; ``fitted_elsewhere``: components were, on pictures that have descriptors too."""
    lines = [
        f"{values['dataset']} ({values['format']}{', ' + values['split'] if values['split'] else ''}): "
        f"{values['queries']:,} queries, {values['references']:,} references, heading {values['heading']}, encoder "
        f"{values['encoder']['name']} {values['encoder']['hash'][:12]}"
    ]
    shown = [
        f"{name} {100 * values[name]:.2f} %"
        for name in ("R@1", "R@5", "R@10", "R@20", "R@1%")
        if values[name] is not None
    ]
    how = f"rule {values['rule']}"
    if values["variant"] != "hard_resize":
        how += f", {values['variant']}"
    if values["pca"] is not None:
        how += f", {values['pca']} components"
    lines.append(f"  {'recall':<20} {'   '.join(shown)}   ({how})")
    for label, name in (("hit rate", "hit_rate"), ("average precision", "AP")):
        if values[name] is not None:
            lines.append(f"  {label:<20} {100 * values[name]:.2f} %")
    if values["R@1<25m"] is not None:
        within = [
            f"{name} {100 * values[name]:.1f} %" for name in ("R@1<25m", "R@5<25m", "R@1<50m")
        ]
        lines.append(f"  {'place':<20} {'   '.join(within)}")
        lines.append(f"  {'median error':<20} {values['median_error_m']:.1f} m")
    if values["median_heading_error_deg"] is not None:
        lines.append(f"  {'median heading error':<20} {values['median_heading_error_deg']:.1f} °")
    lines += [f"  {note}" for note in values["notes"]]
    if store is not None:
        lines.append(f"  {_kept_text(values['from_store'], store, fitted_elsewhere)}")
    lines.append(f"  {'time':<20} {values['seconds']:.0f} s")
    return "\n".join(lines)


def _kept_text(sides: list[str], store: Store, fitted_elsewhere: bool) -> str:
    """Which descriptors were there already, so that one knows what was computed now."""
    if len(sides) == (3 if fitted_elsewhere else 2):
        return f"All descriptors were kept from before in {store.folder}; nothing was encoded."
    names = {"reference": "references", "query": "queries", "components": "--pca-on"}
    found = " and ".join(names[side] for side in sides)
    before = f"; those of {found} were there from before" if found else ""
    return f"Descriptors are kept in {store.folder}{before}."
