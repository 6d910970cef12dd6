"""``nadir import``: another project's released weights as an encoder."""

from __future__ import annotations

import argparse
import importlib.util
import sys
import time
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine.commands.common import metres
from engine.errors import EncoderError, printable
from engine.shipped import install_for_training

if TYPE_CHECKING:
    from engine.networks.importing import Imported
    from engine.networks.recognise import UnknownWeightsError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Recognise whose weights a checkpoint holds by the names of its parameters, and make an encoder of it that "
        "any other verb reads, with its authors' own preprocessing."
    )
    parser.add_argument(
        "checkpoint", type=Path, metavar="CHECKPOINT", help=".pth, .pt, .safetensors or .npz"
    )
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="NAME.encoder")
    for side, what in (("query", "photos"), ("reference", "tiles")):
        parser.add_argument(
            f"--{side}-size",
            type=size,
            metavar="HxW",
            help=f"pixels of the {what}' side (default: its authors')",
        )
    parser.add_argument(
        "--extent-m", type=metres, metavar="E", help="ground extent of a tile (default: its data's)"
    )
    parser.add_argument(
        "--stride-m", type=metres, metavar="S", help="between tile centres (default: advised)"
    )
    parser.add_argument(
        "--precision",
        choices=("fp32", "fp16"),
        default="fp32",
        help="fp16: weights are stored in half the bytes (default: fp32)",
    )
    parser.add_argument(
        "--option",
        type=option,
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="an option of the network that its weights do not tell, such as aggregation=spoc",
    )
    parser.add_argument(
        "--first-stage",
        type=Path,
        metavar="FILE",
        help="for TransGeo's stage 2: its stage 1, whose attention chooses what stage 2 looks at",
    )
    parser.set_defaults(run=run)


def option(text: str) -> tuple[str, Any]:
    """``KEY=VALUE``, the value as in a recipe (a number, true, false) or else a text."""
    key, equals, value = text.partition("=")
    if not (equals and key.isidentifier() and value):
        raise argparse.ArgumentTypeError(f"{text!r} is not KEY=VALUE")
    try:
        return key, tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        return key, value


def size(text: str) -> tuple[int, int]:
    """``HxW`` as two whole numbers."""
    height, by, width = text.lower().partition("x")
    if not (by and height.isdecimal() and width.isdecimal()):
        raise argparse.ArgumentTypeError(f"{text!r} is not HxW, such as 128x512")
    pair = int(height), int(width)
    if not all(8 <= number <= 8192 for number in pair):
        raise argparse.ArgumentTypeError(f"{text!r}: from 8x8 to 8192x8192 pixels")
    return pair


def run(args: argparse.Namespace) -> int:
    """Import a checkpoint."""
    missing = [name for name in ("torch", "onnx") if importlib.util.find_spec(name) is None]
    if missing:
        names = " and ".join({"torch": "PyTorch", "onnx": "onnx"}[name] for name in missing)
        raise EncoderError(
            f"nadir import needs {names}, which {'is' if len(missing) == 1 else 'are'} not installed",
            None,
            f"Install it with: {install_for_training()}",
        )
    from engine.networks.importing import Wanted, import_checkpoint
    from engine.networks.recognise import UnknownWeightsError

    start = time.perf_counter()
    wanted = Wanted(
        args.query_size,
        args.reference_size,
        args.extent_m,
        args.stride_m,
        dict(args.option),
        args.first_stage,
    )
    try:
        imported = import_checkpoint(
            args.checkpoint,
            args.out,
            wanted,
            precision=args.precision,
            tell=lambda text: print(printable(text), flush=True),
        )
    except UnknownWeightsError as error:
        print(explain(error), file=sys.stderr)
        raise
    print(f"{summary(imported)}\n{args.out}: done in {time.perf_counter() - start:.0f} s")
    return 0


def explain(error: UnknownWeightsError) -> str:
    """What was found in the file, and what is known, as lines."""
    lines: list[str] = []
    if error.found:
        lines += ["Found:", *(f"  {printable(line)}" for line in error.found)]
    if error.expected:
        lines.append("Expected one of:")
        lines += [f"  {project}: {expects}" for project, expects in error.expected]
    return "\n".join(lines)


def summary(imported: Imported) -> str:
    """What the encoder is, in a few lines."""
    card = imported.card
    query, reference = card.branches.query, card.branches.reference
    extents = ", ".join(f"{extent:g}" for extent in card.tile_extents_m)
    lines = [
        f"weights:    {imported.recognised.release.project} ({card.architecture})",
        f"photos:     {query.input_size[0]} x {query.input_size[1]}, {query.projection}",
        f"tiles:      {reference.input_size[0]} x {reference.input_size[1]}, {reference.projection}, {extents} m",
        f"descriptor: {card.descriptor_dim} numbers",
        f"evidence:   {card.outputs.features or 'none'}",
    ]
    if card.training.data:
        lines.append(f"trained on: {card.training.data}")
    if card.training.licence:
        lines.append(f"licence:    {card.training.licence}")
    if card.training.note:
        lines.append(f"note:       {card.training.note}")
    if query.graph == reference.graph:
        lines.append("one graph serves photos and tiles")
    return "\n".join(lines)
