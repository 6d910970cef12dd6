"""Rendering the towns a recipe names, on all cores, before a training starts."""

from __future__ import annotations

import os
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path

from engine.training.events import Emit
from engine.training.recipes import DataSection
from engine.world.cache import make_training_town, town_folder


def render_towns(wanted: DataSection, data: Path, emit: Emit) -> None:
    """Render the towns that ``data`` lacks; each takes about a minute on one core.

    A ``data`` event tells of every town. A town that was begun and not finished is made anew.
    """
    split = dict.fromkeys(wanted.towns, "train") | dict.fromkeys(wanted.validation, "validation")
    missing = [seed for seed in split if not (town_folder(data, seed) / "meta.json").exists()]
    if not missing:
        return
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
            for job in as_completed(jobs):
                job.result()
                done += 1
                emit("data", done=done, total=len(split), town=jobs[job])
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
