"""What ``nadir train`` and ``nadir export`` do."""

from __future__ import annotations

import argparse
import contextlib
import json
import math
import os
from pathlib import Path

# The threads of a layer should give the core back while they wait: this machine has other things to do. Read once,
# when torch is first imported.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import torch

from engine.errors import Cancelled, NadirError, TrainingError
from engine.files import only_one
from engine.training.board import with_board
from engine.training.checkpoints import load_checkpoint
from engine.training.control import Control
from engine.training.events import Emit, to_stdout_and_file
from engine.training.memory import keep_memory
from engine.training.ranks import LostRankError, Ranks, join_ranks
from engine.training.recipes import Recipe, load_recipe, recipe_toml
from engine.training.render import render_towns
from engine.training.trainer import CHECKPOINT, Trainer
from engine.training.wanted import kept_towns

RECIPE, LOCK = "recipe.toml", "lock"
"""A training's recipe, complete, and the lock of whoever trains, in its folder."""


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
        "--minutes", type=minutes, help="train for so long instead of the recipe's steps"
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
    with contextlib.ExitStack() as held:
        if os.environ.get("RANK", "0") == "0":
            try:
                held.enter_context(only_one(args.out / LOCK))
            except BlockingIOError as error:
                raise TrainingError(
                    "another training is at work there", args.out, "Wait for it, or stop it"
                ) from error
            Control(args.out).clear()
        going_on = (args.out / CHECKPOINT).exists()
        if going_on and not args.resume:
            raise TrainingError(
                "a training stands there already",
                args.out,
                "Go on with it by --resume, or choose another folder",
            )
        ranks, device = join_ranks(_device(args.device))
        log = args.out / "events.jsonl"
        before = log.stat().st_size if log.exists() else 0
        emit = to_stdout_and_file(log)
        if args.tensorboard and ranks.first:
            emit = with_board(emit, args.out)
        try:
            return _train(args, recipe, ranks, device, emit, going_on)
        except (NadirError, KeyboardInterrupt, Cancelled) as error:
            remedy = error.remedy if isinstance(error, NadirError) else ""
            problem = error.problem if isinstance(error, NadirError) else "cancelled"
            # What one process alone ran into it must say itself; that the others lose it then is no news.
            lost, own = isinstance(error, LostRankError), isinstance(error, NadirError)
            if ranks.first:
                told = lost and _error_since(log, before)
            else:
                told = lost or not own or _error_since(log, before)
            if not told:
                emit("error", problem=problem, remedy=remedy)
            raise
        except Exception as error:
            # Whoever watches must hear of a fault in the program too; its traceback goes where tracebacks go.
            if ranks.first:
                emit("error", problem=f"{type(error).__name__}: {error}", remedy="")
            raise
        finally:
            ranks.close()


def _train(
    args: argparse.Namespace,
    recipe: Recipe,
    ranks: Ranks,
    device: str,
    emit: Emit,
    going_on: bool,
) -> int:
    data = args.data or args.out / "towns"

    def keep_recipe() -> None:
        if ranks.first:
            (args.out / RECIPE).write_text(recipe_toml(recipe), "utf-8")

    if not going_on:
        keep_recipe()
    if ranks.first:
        kept = {}
        if going_on and (recipe.data.towns or recipe.data.validation):
            progress = load_checkpoint(args.out / CHECKPOINT)["progress"]
            kept = kept_towns(progress, recipe.data, data)
        if not render_towns(recipe.data, data, emit, Control(args.out), kept):
            emit("stopped", step=0, elapsed_s=0.0, file="")
            return 130
    ranks.wait()
    trainer = Trainer(
        recipe, data, args.out, device=device, minutes=args.minutes, emit=emit, ranks=ranks
    )
    if going_on:
        trainer.resume(args.out / CHECKPOINT)
        # Now it is known to be the recipe of what stands there.
        keep_recipe()
    with trainer.control.signals():
        end = trainer.run()
    return 130 if end == "stopped" else 0


def _error_since(log: Path, before: int) -> bool:
    """Whether an error was told in this sitting, before whose first event the log had so many bytes."""
    try:
        lines = log.read_bytes()[before:].splitlines()
        return any(json.loads(line)["event"] == "error" for line in lines)
    except (OSError, ValueError, LookupError, TypeError):
        return False


def minutes(text: str) -> float:
    """A budget of time, from the command line."""
    value = float(text)
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"{text} is not above 0")
    return value


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
