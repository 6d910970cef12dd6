"""The command line: ``nadir VERB ...``. Exit codes: 0 done, 1 failed, 2 usage, 130 cancelled."""

from __future__ import annotations

import argparse
import errno
import importlib
import importlib.util
import io
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from engine import __version__, training_python
from engine.commands import evaluate, imagery, import_, index, localize
from engine.commands.common import Progress, angle, count
from engine.errors import Cancelled, NadirError, TrainingError
from engine.shipped import frozen_folder, install_for_training

POSITIONS = ("--near",)
"""Options that take a latitude first."""

# The verbs import what they need when they run: `nadir --help` answers at once.


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code."""
    arguments = _southern(sys.argv[1:] if argv is None else argv)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # A terminal that lacks a letter shows another sign for it; that is no reason to fail.
            stream.reconfigure(errors="replace")
    try:
        if _runs_elsewhere(arguments):
            return training_python.hand_over(arguments)
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
        print(f"nadir: {_told(error)}", file=sys.stderr)
        return 1


def _runs_elsewhere(arguments: Sequence[str]) -> bool:
    """Whether the installed program has to leave this to a Python that has PyTorch."""
    if frozen_folder() is None or not arguments or arguments[0] not in training_python.VERBS:
        return False
    return importlib.util.find_spec("torch") is None


def _southern(words: Sequence[str]) -> list[str]:
    """The words with positions that begin with a minus joined to their option, which would take them for options."""
    joined: list[str] = []
    for word in words:
        if joined and joined[-1] in POSITIONS and word[:1] == "-" and word[1:2].isdecimal():
            joined[-1] = f"{joined[-1]}={word}"
        else:
            joined.append(word)
    return joined


def _told(error: OSError) -> NadirError:
    """What the system refused, as a message that says what to do."""
    remedy = "Check the path and the disk"
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        remedy = "Make room there and try again"
    elif error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        remedy = "Check the permissions, or choose another place"
    path = os.fsdecode(error.filename) if isinstance(error.filename, str | bytes) else None
    return NadirError(str(error.strerror or error), path, remedy)


def make_parser(verb: str = "") -> argparse.ArgumentParser:
    """The whole command line. ``verb`` is the one asked for: only its heavy options are looked up."""
    parser = argparse.ArgumentParser(
        prog="nadir",
        description="Where was this photo taken, and how do you know? Without a verb, the application opens.",
    )
    parser.add_argument("--version", action="version", version=f"nadir {__version__}")
    parser.set_defaults(run=open_app)
    verbs = parser.add_subparsers(title="verbs", metavar="VERB")
    localize.add_arguments(verbs.add_parser("localize", help="find where photos were taken"))
    _add_world(
        verbs.add_parser("world", help="make a town with exact truth, to try and to train on")
    )
    imagery.add_arguments(
        verbs.add_parser("imagery", help="what imagery is, and fetching it from a server")
    )
    index.add_arguments(verbs.add_parser("index", help="build, describe and verify indexes"))
    evaluate.add_arguments(verbs.add_parser("evaluate", help="measure an encoder on a dataset"))
    for name, text in (
        ("train", "train an encoder"),
        ("export", "make an encoder of a training's checkpoint"),
    ):
        child = verbs.add_parser(name, help=text)
        if verb == name:
            _add_training(child, name)
    import_.add_arguments(
        verbs.add_parser("import", help="make an encoder of another project's released weights")
    )
    doctor = verbs.add_parser("doctor", help="versions, devices, paths, and what is missing")
    doctor.add_argument(
        "--set-up-training",
        action="store_true",
        help="make the installed program a Python that trains and imports: downloads some gigabytes",
    )
    doctor.set_defaults(run=run_doctor)
    return parser


def _add_world(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("out", type=Path, metavar="OUT", help="a new folder")
    parser.add_argument(
        "--seed", type=count, default=1, metavar="N", help="the town's (default: 1)"
    )
    parser.add_argument("--area-km2", type=float, default=0.25, metavar="A", help="(default: 0.25)")
    parser.add_argument("--panoramas", type=count, default=20, metavar="N", help="(default: 20)")
    parser.add_argument("--photos", type=count, default=20, metavar="N", help="(default: 20)")
    parser.add_argument(
        "--photo-fov",
        type=angle(20, 130),
        nargs=2,
        default=(90.0, 110.0),
        metavar=("MIN", "MAX"),
        help="field of view of the photos, degrees (default: 90 110)",
    )
    parser.add_argument(
        "--gps", action="store_true", help="write position and heading into the pictures"
    )
    parser.set_defaults(run=run_world)


def run_world(args: argparse.Namespace) -> int:
    """Make a town."""
    from engine.world.command import make_world

    with Progress() as report:
        make_world(
            args.out,
            args.seed,
            args.area_km2,
            args.panoramas,
            args.photos,
            fov_range=(args.photo_fov[0], args.photo_fov[1]),
            gps=args.gps,
            report=report,
        )
    print(
        f"{args.out}: a town of {args.area_km2:g} km², {args.panoramas} panoramas, {args.photos} photos"
    )
    return 0


def _add_training(parser: argparse.ArgumentParser, verb: str) -> None:
    if importlib.util.find_spec("torch") is None:
        raise TrainingError(
            f"nadir {verb} needs PyTorch, which is not installed",
            None,
            f"Install it with: {install_for_training()}",
        )
    command = importlib.import_module("engine.training.command")
    getattr(command, f"add_{verb}_arguments")(parser)
    parser.set_defaults(run=getattr(command, verb))


def run_doctor(args: argparse.Namespace) -> int:
    """Say what is there and what is missing."""
    from engine.doctor import examine, report_text

    if args.set_up_training:
        return _set_up_training()
    findings = examine()
    print(report_text(findings))
    return 0 if all(finding.good or not finding.needed for finding in findings) else 1


def _set_up_training() -> int:
    if frozen_folder() is None:
        raise TrainingError(
            "only the installed program needs that",
            None,
            f"This checkout gets what training needs by: {install_for_training()}",
        )
    python = training_python.find()
    if python is None:
        python = training_python.set_up(lambda command: print(command, flush=True))
    print(f"{python} trains and imports.")
    return 0


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
