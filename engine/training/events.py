"""What a training says while it runs: one JSON object a line.

Every line has ``event`` and ``version``. The events:

* ``data``: done, total; towns rendered before a training starts.
* ``run``: recipe, device, processes, data (names), pairs, parameters, the step it starts at, steps or minutes in all.
* ``step``: step, loss, scale, lr, share (of the schedule, 0..1), pairs_per_second, waiting (share of the time the
  model waited for batches), memory_bytes, elapsed_s.
* ``validation``: step, seconds, tiles, under ``queries`` what was measured for each kind of query, and ``pairs``:
  pictures of some, with their heatmaps, as files in the run's folder.
* ``checkpoint``: step, file, best (whether it is the best so far).
* ``paused``, ``resumed``: step.
* ``done``, ``stopped``: step, elapsed_s, file.
* ``error``: problem, remedy.

Readers pass over events and keys that they do not know.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

VERSION = 1

Emit = Callable[..., None]
"""``emit(event, **values)``."""


def to_stdout(event: str, **values: Any) -> None:
    """Write one event as a line on standard output."""
    print(line(event, **values), flush=True)


def to_stdout_and_file(path: Path) -> Emit:
    """Events on standard output and at the end of a log."""

    def emit(event: str, **values: Any) -> None:
        text = line(event, **values)
        print(text, flush=True)
        # A full disk must not end a training that has a checkpoint to write, or an error to tell.
        with contextlib.suppress(OSError), open(path, "a", encoding="utf-8") as log:
            log.write(text + "\n")

    return emit


def line(event: str, **values: Any) -> str:
    """One event as JSON."""
    return json.dumps({"event": event, "version": VERSION, **values}, ensure_ascii=False)
