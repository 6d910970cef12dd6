"""Rendering the towns a recipe names, on all cores, before a training starts."""

from __future__ import annotations

import os
from collections.abc import Mapping
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from multiprocessing import get_context
from pathlib import Path

from engine.training.control import Control
from engine.training.events import Emit
from engine.training.sections import DataSection
from engine.training.wanted import wanted_towns
from engine.world.cache import render_training_town

_POLL_S = 0.5


def render_towns(
    wanted: DataSection,
    data: Path,
    emit: Emit,
    control: Control | None = None,
    kept: Mapping[int, Path] | None = None,
) -> bool:
    """Render the towns that ``data`` lacks; each takes about a minute on one core.

    Whether all are there: not when ``control`` heard a wish to stop. A ``data`` event tells of every town. A town
    that was begun and not finished is made anew; one that was rendered for something else stays as it is, beside it.
    ``kept``: see :func:`engine.training.wanted.wanted_towns`.
    """
    towns = wanted_towns(wanted, data, kept)
    missing = [town for town in towns if not town.there]
    if not missing:
        return True
    data.mkdir(parents=True, exist_ok=True)
    done = len(towns) - len(missing)
    emit("data", done=done, total=len(towns), folder=str(data))
    workers = min(len(missing), os.cpu_count() or 1)
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        jobs = {
            pool.submit(render_training_town, town.folder, town.asked): town.asked.seed
            for town in missing
        }
        try:
            waiting = set(jobs)
            while waiting:
                finished, waiting = wait(waiting, _POLL_S, return_when=FIRST_COMPLETED)
                for job in finished:
                    job.result()
                    done += 1
                    emit("data", done=done, total=len(towns), town=jobs[job])
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
