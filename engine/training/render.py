"""Rendering the towns a recipe names, on all cores, before a training starts."""

from __future__ import annotations

import os
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from multiprocessing import get_context
from pathlib import Path

from engine.training.control import Control
from engine.training.events import Emit
from engine.training.sections import DataSection
from engine.world.cache import make_training_town, town_folder

_POLL_S = 0.5


def render_towns(
    wanted: DataSection, data: Path, emit: Emit, control: Control | None = None
) -> bool:
    """Render the towns that ``data`` lacks; each takes about a minute on one core.

    Whether all are there: not when ``control`` heard a wish to stop. A ``data`` event tells of every town. A town
    that was begun and not finished is made anew.
    """
    split = dict.fromkeys(wanted.towns, "train") | dict.fromkeys(wanted.validation, "validation")
    missing = [seed for seed in split if not (town_folder(data, seed) / "meta.json").exists()]
    if not missing:
        return True
    data.mkdir(parents=True, exist_ok=True)
    done = len(split) - len(missing)
    emit("data", done=done, total=len(split), folder=str(data))
    workers = min(len(missing), os.cpu_count() or 1)
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        jobs = {}
        for seed in missing:
            pairs = wanted.pairs if split[seed] == "train" else wanted.validation_pairs
            jobs[
                pool.submit(make_training_town, data, seed, wanted.area_km2, pairs, split[seed])
            ] = seed
        try:
            waiting = set(jobs)
            while waiting:
                finished, waiting = wait(waiting, _POLL_S, return_when=FIRST_COMPLETED)
                for job in finished:
                    job.result()
                    done += 1
                    emit("data", done=done, total=len(split), town=jobs[job])
                if control is not None and control.wanted() == "stop":
                    _end(pool)
                    return False
        except BaseException:
            _end(pool)
            raise
    return True


def _end(pool: ProcessPoolExecutor) -> None:
    """Let nobody wait for towns that nobody wants: what is half rendered is made anew next time."""
    processes = list((pool._processes or {}).values())
    pool.shutdown(wait=False, cancel_futures=True)
    for process in processes:
        process.terminate()
