"""What the window asks of training before it starts one: ``python -m engine.training.probe devices|check|measure``.

The window imports no torch, so these are short programs of their own. They print JSON lines like the trainer's:

* ``devices``: torch (version), devices: list of {name, title, free_bytes, total_bytes}.
* ``check``: ``recipe`` with the recipe as plain values; ``data`` with what the folder holds, what is still to be
  rendered, about how many seconds that takes, and how many towns there were rendered for something else; one
  ``pair`` {photo, tile, name} for each preview written.
* ``measure``: ``measured`` with steps_per_second, pairs_per_second, memory_bytes, total_steps, seconds of the whole
  training, free_bytes of the device, render_s where data must be rendered first, and crowded: whether other programs
  were keeping the processor from it.

What is wrong is one ``error`` event (problem, remedy), and the exit code is 1.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import torch

from engine.datasets.formats import FORMATS, format_of
from engine.errors import DatasetError, NadirError, TrainingError
from engine.training.cache import CachedTown, find_towns, open_town
from engine.training.dataset_pairs import DatasetPairs
from engine.training.events import to_stdout
from engine.training.preview import preview_dataset, preview_towns
from engine.training.recipes import Recipe, load_recipe
from engine.training.sources import TOWNS
from engine.training.trainer import Trainer
from engine.training.wanted import WantedTown, seconds_to_render, wanted_towns
from engine.world.cache import TownAsked, make_training_town, rough_seconds, town_folder

WARM_STEPS = 2
STEPS = 6
LONGEST_S = 45.0
SMALL_KM2 = 0.05
"""The town that is rendered to measure with and to show, where no data is there yet."""


def devices() -> None:
    """Say what this interpreter can compute on."""
    free, total = host_memory()
    name = torch.backends.cpu.get_cpu_capability() if hasattr(torch.backends, "cpu") else ""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    found: list[dict[str, Any]] = [
        {"name": "cpu", "title": f"CPU, {cores} cores", "free_bytes": free, "total_bytes": total}
    ]
    for index in range(torch.cuda.device_count() if torch.cuda.is_available() else 0):
        free, total = torch.cuda.mem_get_info(index)
        found.append(
            {
                "name": f"cuda:{index}",
                "title": torch.cuda.get_device_name(index),
                "free_bytes": free,
                "total_bytes": total,
            }
        )
    to_stdout("devices", torch=torch.__version__, capability=name, devices=found)


def host_memory() -> tuple[int, int]:
    """Bytes of memory that are free for a new program, and in all; 0 where that is not known."""
    try:
        with open("/proc/meminfo", encoding="ascii") as file:
            told = {
                name: int(rest.split()[0]) << 10
                for name, _, rest in (line.partition(":") for line in file)
            }
        return told["MemAvailable"], told["MemTotal"]
    except (OSError, ValueError, KeyError, IndexError):
        pass
    try:
        page = os.sysconf("SC_PAGE_SIZE")
        total = page * os.sysconf("SC_PHYS_PAGES")
        return page * os.sysconf("SC_AVPHYS_PAGES"), total
    except (ValueError, OSError, AttributeError):
        return 0, 0


def check(recipe: Recipe, data: Path, previews: Path | None, pairs: int) -> None:
    """Say whether recipe and data are good for a start, and show some pairs."""
    to_stdout("recipe", recipe=recipe.to_dict())
    # Network, loss and optimiser know their own options: making them is the check.
    Trainer(recipe, data, data, device="cpu", emit=lambda event, **values: None)
    if recipe.data.format != TOWNS:
        _check_dataset(recipe, data, previews, pairs)
        return
    wanted = wanted_towns(recipe.data, data)
    missing = [town for town in wanted if not town.there]
    towns = [open_town(folder) for folder in find_towns(data)] if data.is_dir() else []
    train = _to_train_on(recipe, wanted, towns)
    if not towns and not missing:
        if not data.is_dir():
            raise DatasetError("there is no such folder", data, "Choose the folder of the data")
        raise DatasetError(
            f"{_what_is_there(data)}: there is no town-*/meta.json in it",
            data,
            "Choose another folder, or a recipe that renders its own",
        )
    if not train and not any(town.asked.split == "train" for town in missing):
        raise DatasetError("holds no town to train on, only to validate", data)
    if not towns and _holds_something_else(data):
        # Never beside somebody's own files, unless towns are there already.
        raise DatasetError(_what_is_there(data), data, _what_to_do(data))
    validation = [t for t in wanted if t.there and t.asked.split == "validation"]
    named = {town.folder for town in validation}
    to_validate = [
        town
        for town in towns
        if (town.folder in named if recipe.data.validation else town.split != "train")
    ]
    to_stdout(
        "data",
        folder=str(data),
        towns=len(train),
        pairs=sum(map(len, train)),
        validation=sum(map(len, to_validate)),
        to_render=len(missing),
        pairs_to_render=sum(town.asked.pairs for town in missing),
        render_s=round(seconds_to_render(missing, data), 1),
        other=sum(town.folder != town_folder(data, town.asked.seed) for town in missing),
    )
    if previews is None:
        return
    with some_data(recipe, data, pairs) as (folder, _):
        looked_at = train or [t for t in map(open_town, find_towns(folder)) if t.split == "train"]
        for pair in preview_towns(looked_at, recipe, previews, pairs):
            to_stdout("pair", **pair)


def _to_train_on(
    recipe: Recipe, wanted: list[WantedTown], towns: list[CachedTown]
) -> list[CachedTown]:
    """Those that the recipe names and that were rendered as it asks; all, where it names none."""
    named = {town.folder for town in wanted if town.asked.split == "train"}
    return [
        town
        for town in towns
        if (town.folder in named if recipe.data.towns else town.split == "train") and len(town)
    ]


def _holds_something_else(data: Path) -> bool:
    """Whether somebody keeps other things there: not towns, begun or finished, and not what systems hide."""
    if not data.is_dir():
        return False
    return any(not path.name.startswith((".", "town-")) for path in data.iterdir())


def _what_is_there(data: Path) -> str:
    """What a folder without towns holds, as the problem that it is."""
    layout = format_of(data)
    if not layout:
        return "holds no training towns"
    if layout == "world":
        return "holds a world that nadir world made, to be searched and measured, and no training towns"
    return f'holds a data set of the layout "{layout}" ({FORMATS[layout].layout}), and no training towns'


def _check_dataset(recipe: Recipe, data: Path, previews: Path | None, pairs: int) -> None:
    if not data.is_dir():
        raise DatasetError("there is no such folder", data, "Choose the folder of the data")
    train = DatasetPairs(recipe, data, recipe.data.train_split)
    validation, why = 0, ""
    try:
        validation = len(DatasetPairs(recipe, data, recipe.data.validation_split))
    except NadirError as error:  # one can train without; it is said
        why = str(error)
    to_stdout(
        "data",
        folder=str(data),
        pairs=len(train),
        queries=len(train.dataset.queries),
        references=len(train.dataset.references),
        validation=validation,
        no_validation=why,
        to_render=0,
        pairs_to_render=0,
    )
    if previews is not None:
        for pair in preview_dataset(train.dataset, train.pairs, previews, pairs):
            to_stdout("pair", **pair)


def _what_to_do(data: Path) -> str:
    """How to train where a folder holds no towns, but something else."""
    remedy = "The recipe reads towns that it renders: let it render them into the runs' folder or an empty one"
    if format_of(data) == "world":
        return remedy
    layouts = ", ".join(name for name in FORMATS if name != "world")
    return f"{remedy}. A data set takes a recipe with its layout as format under [data]: {layouts}"


@contextmanager
def some_data(recipe: Recipe, data: Path, pairs: int) -> Iterator[tuple[Path, Recipe]]:
    """A folder of data and the recipe to read it by.

    They are the given ones, or, where the folder holds nothing of the recipe's yet, another folder with one small town
    of the same making.
    """
    there = recipe.data.format != TOWNS
    if not there and data.is_dir():
        towns = [open_town(folder) for folder in find_towns(data)]
        there = bool(_to_train_on(recipe, wanted_towns(recipe.data, data), towns))
    if there:
        yield data, recipe
        return
    with tempfile.TemporaryDirectory(prefix="nadir-probe-") as folder:
        seed = recipe.data.towns[0] if recipe.data.towns else 1
        make_training_town(Path(folder), seed, SMALL_KM2, pairs)
        yield Path(folder), replace(recipe, data=replace(recipe.data, towns=(), validation=()))


class _EnoughError(Exception):
    """The measurement has what it wants."""


def measure(recipe: Recipe, data: Path, device: str, minutes: float | None) -> None:
    """Train a few steps of the real thing, in a folder that is thrown away, and reckon from them."""
    steps: list[tuple[float, dict[str, Any]]] = []
    began = time.perf_counter()

    def listen(event: str, **values: Any) -> None:
        if event != "step":
            return
        steps.append((time.perf_counter(), values))
        if len(steps) >= WARM_STEPS + STEPS or time.perf_counter() - began > LONGEST_S:
            raise _EnoughError

    crowded = others_at_work()
    start = time.perf_counter()
    small = 2 * recipe.batch.size
    with some_data(recipe, data, small) as (folder, readable):
        render_s = time.perf_counter() - start if folder != data else 0.0
        watched = replace(
            readable,
            validation=replace(recipe.validation, every=1 << 30),
            optimiser=replace(
                recipe.optimiser, steps=max(recipe.optimiser.steps, WARM_STEPS + STEPS)
            ),
        )
        with tempfile.TemporaryDirectory(prefix="nadir-probe-") as out:
            trainer = Trainer(
                watched, folder, Path(out), device=device, emit=listen, report_every=1
            )
            start = time.perf_counter()
            with suppress(_EnoughError):
                trainer.run()
    if not steps:
        raise TrainingError("no step of it was finished", None, "Choose smaller batches")
    seconds = seconds_a_step(start, [at for at, _ in steps])
    timed = steps[min(WARM_STEPS, len(steps) - 1) :]
    memory = max(int(values["memory_bytes"]) for _, values in steps)
    if device.startswith("cuda"):
        memory = int(torch.cuda.max_memory_reserved(device))
    total = recipe.optimiser.steps
    whole = minutes * 60 if minutes is not None else total * seconds
    free = torch.cuda.mem_get_info(device)[0] if device.startswith("cuda") else host_memory()[0]
    to_stdout(
        "measured",
        device=device,
        steps_per_second=round(1 / seconds, 4),
        pairs_per_second=round(recipe.batch.size / seconds, 2),
        total_steps=total if minutes is None else round(whole / seconds),
        seconds=round(whole, 1),
        memory_bytes=memory,
        free_bytes=free,
        waiting=round(sum(s["waiting"] for _, s in timed) / len(timed), 3),
        crowded=crowded and device == "cpu",
        render_s=round(render_estimate(recipe, data, render_s, small), 1),
    )


def seconds_a_step(start: float, ends: list[float]) -> float:
    """How long a step takes, from when steps ended; the first ones, which warm up, count only for want of others."""
    warm = min(WARM_STEPS, max(0, len(ends) - 2))
    timed = ends[warm:] if len(ends) > 1 else [start, *ends]
    return (timed[-1] - timed[0]) / (len(timed) - 1)


def others_at_work() -> bool:
    """Whether more wants to be computed than there are cores, apart from this; false where the system does not say."""
    try:
        return os.getloadavg()[0] - 1.0 > 0.75 * (os.cpu_count() or 1)
    except (AttributeError, OSError):
        return False


def render_estimate(recipe: Recipe, data: Path, small_s: float, small_pairs: int) -> float:
    """Seconds until the missing towns are rendered, by how long a small one took; 0 where none is missing.

    ``small_s`` is 0 where none had to be rendered: then finished ones tell.
    """
    if recipe.data.format != TOWNS:
        return 0.0
    speed = None
    if small_s:
        speed = small_s / rough_seconds(TownAsked(0, "train", small_pairs, SMALL_KM2))
    return seconds_to_render(wanted_towns(recipe.data, data), data, speed)


def main(argv: list[str] | None = None) -> int:
    """The command line of the module."""
    parser = argparse.ArgumentParser(prog="python -m engine.training.probe")
    verbs = parser.add_subparsers(dest="verb", required=True)
    verbs.add_parser("devices")
    checked, measured = verbs.add_parser("check"), verbs.add_parser("measure")
    for verb in (checked, measured):
        verb.add_argument("--recipe", required=True)
        verb.add_argument("--data", type=Path, required=True)
    checked.add_argument("--previews", type=Path)
    checked.add_argument("--pairs", type=int, default=6)
    measured.add_argument("--device", default="cpu")
    measured.add_argument("--minutes", type=float)
    args = parser.parse_args(argv)
    if getattr(args, "previews", None) is not None:
        args.previews.mkdir(parents=True, exist_ok=True)
    try:
        if args.verb == "devices":
            devices()
        elif args.verb == "check":
            check(load_recipe(args.recipe), args.data, args.previews, args.pairs)
        else:
            measure(load_recipe(args.recipe), args.data, args.device, args.minutes)
    except NadirError as error:
        to_stdout("error", problem=error.problem, remedy=error.remedy, file=_text(error.path))
        return 1
    except torch.OutOfMemoryError as error:
        to_stdout("error", problem="does not fit into the device's memory", detail=str(error))
        return 1
    return 0


def _text(path: Path | None) -> str | None:
    return str(path) if path is not None else None


if __name__ == "__main__":
    raise SystemExit(main())
