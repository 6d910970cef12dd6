"""What ``nadir train`` and ``nadir export`` do."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

# The threads of a layer should give the core back while they wait: this machine has other things to do. Read once,
# when torch is first imported.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import torch

from engine.errors import Cancelled, NadirError, TrainingError
from engine.training.board import with_board
from engine.training.control import Control
from engine.training.events import to_stdout_and_file
from engine.training.memory import keep_memory
from engine.training.ranks import join_ranks
from engine.training.recipes import load_recipe, recipe_toml
from engine.training.render import render_towns
from engine.training.trainer import CHECKPOINT, Trainer

RECIPE = "recipe.toml"
"""A training's recipe, complete, in its folder."""


def add_train_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of ``nadir train``."""
    parser.add_argument("--recipe", required=True, help="a recipe's name or file")
    parser.add_argument(
        "--data",
        type=Path,
        help="folder of training towns; those of the recipe that it lacks are rendered (default: OUT/towns)",
    )
    parser.add_argument(
        "--out", type=Path, required=True, help="folder for checkpoints and the log"
    )
    parser.add_argument("--resume", action="store_true", help="go on from the checkpoint in --out")
    parser.add_argument(
        "--device", default="auto", help="auto, cpu or cuda:0 (default: %(default)s)"
    )
    parser.add_argument(
        "--tensorboard", action="store_true", help="also write curves for TensorBoard"
    )
    parser.add_argument(
        "--minutes", type=float, help="train for so long instead of the recipe's steps"
    )


def add_export_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of ``nadir export``."""
    parser.add_argument("--checkpoint", type=Path, required=True, help="a training's checkpoint")
    parser.add_argument("--out", type=Path, required=True, help="NAME.encoder")
    parser.add_argument(
        "--precision",
        choices=("fp32", "fp16", "int8"),
        default="fp32",
        help="fp16: weights in half the bytes; int8: computes on 8 bits, calibrated on --data (default: fp32)",
    )
    parser.add_argument(
        "--data",
        type=Path,
        help="what the recipe validates on, to measure recall before and after "
        "(default: the towns beside the checkpoint)",
    )


def train(args: argparse.Namespace) -> int:
    """Train; the events go to standard output and to ``events.jsonl`` in the output folder."""
    keep_memory()
    recipe = load_recipe(args.recipe)
    args.out.mkdir(parents=True, exist_ok=True)
    if os.environ.get("RANK", "0") == "0":
        Control(args.out).clear()
    checkpoint = args.out / CHECKPOINT
    if checkpoint.exists() and not args.resume:
        raise TrainingError(
            "a training stands there already",
            args.out,
            "Go on with it by --resume, or choose another folder",
        )
    ranks, device = join_ranks(_device(args.device))
    emit = to_stdout_and_file(args.out / "events.jsonl")
    if args.tensorboard and ranks.first:
        emit = with_board(emit, args.out)
    data = args.data or args.out / "towns"
    try:
        if ranks.first:
            (args.out / RECIPE).write_text(recipe_toml(recipe), "utf-8")
            if not render_towns(recipe.data, data, emit, Control(args.out)):
                emit("stopped", step=0, elapsed_s=0.0, file="")
                return 130
        ranks.wait()
        trainer = Trainer(
            recipe, data, args.out, device=device, minutes=args.minutes, emit=emit, ranks=ranks
        )
        if args.resume and checkpoint.exists():
            trainer.resume(checkpoint)
        with trainer.control.signals():
            end = trainer.run()
    except (NadirError, KeyboardInterrupt, Cancelled) as error:
        if ranks.first:
            remedy = error.remedy if isinstance(error, NadirError) else ""
            problem = error.problem if isinstance(error, NadirError) else "cancelled"
            emit("error", problem=problem, remedy=remedy)
        raise
    except Exception as error:
        # Whoever watches must hear of a fault in the program too; its traceback goes where tracebacks go.
        if ranks.first:
            emit("error", problem=f"{type(error).__name__}: {error}", remedy="")
        raise
    finally:
        ranks.close()
    return 130 if end == "stopped" else 0


def export(args: argparse.Namespace) -> int:
    """Write a checkpoint's averaged weights as an encoder."""
    from engine.training.export import export_encoder

    card = export_encoder(
        args.checkpoint,
        args.out,
        precision=args.precision,
        data=args.data,
        tell=lambda text: print(text, flush=True),
    )
    print(f"{args.out}: {card.name}, {card.descriptor_dim} numbers, {card.azimuth_blocks} bearings")
    return 0


def _device(name: str) -> str:
    if name == "auto":
        return "cuda:0" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise TrainingError(f'there is no device "{name}"') from error
    if device.type == "cuda" and not torch.cuda.is_available():
        raise TrainingError("there is no usable GPU", None, "Train with --device cpu")
    return name


def main(argv: list[str] | None = None) -> int:
    """Train or export without the rest of the command line: ``python -m engine.training.command train ...``."""
    parser = argparse.ArgumentParser(prog="python -m engine.training.command")
    verbs = parser.add_subparsers(required=True)
    for name, add, run in (
        ("train", add_train_arguments, train),
        ("export", add_export_arguments, export),
    ):
        verb = verbs.add_parser(name)
        add(verb)
        verb.set_defaults(run=run)
    args = parser.parse_args(argv)
    return args.run(args)


if __name__ == "__main__":
    raise SystemExit(main())
