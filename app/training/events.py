"""Reading what a trainer says: lines of JSON at the end of a growing file, kept as the story of a run.

What is not understood is passed over: a line that is not whole yet, a damaged one, an event or a key that a later
trainer may have. No Qt here, and nothing of the trainer's own code: what stands in the file is the contract.
"""

from __future__ import annotations

import json
import math
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

AT_ONCE = 4 << 20  # bytes read in one go, so that a long story is told in chapters
LOG_LINES = 2000
_LINE_MAX = 1 << 22


class Tail:
    """The events that have come since the last look."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.damaged = 0
        self._at = 0
        self._rest = b""

    def read(self) -> list[dict[str, Any]]:
        """New events, oldest first; at most those in some megabytes, so ask again until there are none."""
        try:
            with open(self.path, "rb") as file:
                if file.seek(0, 2) < self._at:  # another file has taken its place
                    self._at, self._rest = 0, b""
                file.seek(self._at)
                fresh = file.read(AT_ONCE)
        except OSError:
            return []
        self._at += len(fresh)
        *lines, self._rest = (self._rest + fresh).split(b"\n")
        if len(self._rest) > _LINE_MAX:
            self._rest = b""
            self.damaged += 1
        events = []
        for line in lines:
            if not line.strip():
                continue
            try:
                event = json.loads(line)
            except (ValueError, RecursionError):
                self.damaged += 1
                continue
            if isinstance(event, dict) and isinstance(event.get("event"), str):
                events.append(event)
            else:
                self.damaged += 1
        return events


@dataclass
class Series:
    """Numbers by step."""

    steps: list[int] = field(default_factory=list)
    values: list[float] = field(default_factory=list)

    def add(self, step: int, value: float) -> None:
        self.steps.append(step)
        self.values.append(value)

    def cut(self, step: int) -> None:
        """Forget what came after a step: a run that was resumed there tells it anew."""
        while self.steps and self.steps[-1] > step:
            self.steps.pop()
            self.values.pop()

    @property
    def last(self) -> float | None:
        return self.values[-1] if self.values else None


@dataclass(frozen=True)
class PairPicture:
    """A photo of the validation and the tile that was found for it; files within the run's folder."""

    photo: str
    tile: str
    photo_heat: str = ""
    tile_heat: str = ""
    name: str = ""
    rank: int | None = None
    error_m: float | None = None


@dataclass(frozen=True)
class Gallery:
    """The pairs of one validation."""

    step: int
    pairs: tuple[PairPicture, ...]


@dataclass
class Story:
    """A run as far as its events tell it.

    Attributes:
        recipe: the recipe the trainer ran by, plain values; empty before it said so.
        series: by key of the ``step`` events: loss, lr, pairs_per_second, waiting, memory_bytes ...
        recalls: by "QUERY METRIC" of the ``validation`` events.
        step, share, elapsed_s: how far it is; ``share`` of the whole, 0..1.
        data: (done, total) while data is made.
        phase: "", "data", "training", "paused", "stopped", "done" or "error", the last that was said.
        said: when the last sitting began, its facts: device, pairs, parameters, ...
        galleries: pictures of validations, oldest first.
        problem, remedy: of the last error.
    """

    recipe: dict[str, Any] = field(default_factory=dict)
    series: dict[str, Series] = field(default_factory=dict)
    recalls: dict[str, Series] = field(default_factory=dict)
    galleries: list[Gallery] = field(default_factory=list)
    said: dict[str, Any] = field(default_factory=dict)
    data: tuple[int, int] | None = None
    phase: str = ""
    step: int = 0
    share: float = 0.0
    elapsed_s: float = 0.0
    checkpoint: str = ""
    best: str = ""
    best_step: int = 0
    problem: str = ""
    remedy: str = ""
    log: deque[str] = field(default_factory=lambda: deque(maxlen=LOG_LINES))
    logged: int = 0

    def take(self, events: Iterable[dict[str, Any]]) -> bool:
        """Go on with the story; returns whether anything was new."""
        new = False
        for event in events:
            new = True
            name = event["event"]
            self.log.append(told(event))
            self.logged += 1
            heard = _HEARD.get(name)
            if heard is not None:
                heard(self, event)
        return new

    @property
    def remaining_s(self) -> float | None:
        """Seconds of training still to come, at the pace so far; None while that is not known."""
        shares, elapsed = self.series.get("share"), self.series.get("elapsed_s")
        if shares is None or elapsed is None or len(shares.values) < 2:
            return None
        n = min(len(shares.values), len(elapsed.values), 20)
        done = shares.values[-1] - shares.values[-n]
        took = elapsed.values[-1] - elapsed.values[-n]
        if done <= 0 or took <= 0:
            return None
        return took / done * max(0.0, 1.0 - self.share)

    @property
    def score(self) -> float | None:
        """The best mean of the validations' first measures, 0..1: what runs are compared by."""
        means = self.mean_recall()
        return max(means.values) if means.values else None

    @property
    def kinds(self) -> int:
        """How many kinds of query the score is the mean of."""
        return len(self._firsts())

    def _firsts(self) -> dict[str, Series]:
        """The first measure of every kind of query."""
        first: dict[str, Series] = {}
        for key, series in self.recalls.items():
            first.setdefault(key.rpartition(" ")[0], series)
        return first

    def mean_recall(self) -> Series:
        """The mean of the first measure over the kinds of query, by step."""
        first = self._firsts()
        mean = Series()
        by_step: dict[int, list[float]] = {}
        for series in first.values():
            for step, value in zip(series.steps, series.values, strict=True):
                by_step.setdefault(step, []).append(value)
        for step in sorted(by_step):
            mean.add(step, sum(by_step[step]) / len(by_step[step]))
        return mean

    def _data(self, event: dict[str, Any]) -> None:
        self.phase = "data"
        self.data = (_whole(event.get("done")), _whole(event.get("total")))

    def _run(self, event: dict[str, Any]) -> None:
        self.phase, self.data, self.problem, self.remedy = "training", None, "", ""
        recipe = event.get("recipe")
        if isinstance(recipe, dict):
            self.recipe = recipe
        self.said = {key: value for key, value in event.items() if key not in ("event", "recipe")}
        self.step = _whole(event.get("step"))
        for series in (*self.series.values(), *self.recalls.values()):
            series.cut(self.step)
        self.galleries = [gallery for gallery in self.galleries if gallery.step <= self.step]

    def _step(self, event: dict[str, Any]) -> None:
        self.phase = "training"
        step = _whole(event.get("step"))
        self.step = max(self.step, step)
        for key, value in event.items():
            number = _number(value)
            if number is not None and key not in ("step", "version"):
                self.series.setdefault(key, Series()).add(step, number)
        self.share = min(1.0, max(0.0, _number(event.get("share")) or self.share))
        self.elapsed_s = _number(event.get("elapsed_s")) or self.elapsed_s

    def _validation(self, event: dict[str, Any]) -> None:
        step = _whole(event.get("step"))
        queries = event.get("queries")
        for query, measured in queries.items() if isinstance(queries, dict) else ():
            for metric, value in measured.items() if isinstance(measured, dict) else ():
                number = _number(value)
                if number is not None:
                    self.recalls.setdefault(f"{query} {metric}", Series()).add(step, number)
        pairs = [pair for raw in _list(event.get("pairs")) if (pair := _pair(raw)) is not None]
        if pairs:
            self.galleries = [g for g in self.galleries if g.step != step]
            self.galleries.append(Gallery(step, tuple(pairs)))

    def _checkpoint(self, event: dict[str, Any]) -> None:
        file = event.get("file")
        if not isinstance(file, str):
            return
        if event.get("best") or Path(file).stem == "best":
            self.best, self.best_step = file, _whole(event.get("step"))
        else:
            self.checkpoint = file

    def _ended(self, event: dict[str, Any]) -> None:
        self.phase = event["event"]
        self.step = _whole(event.get("step")) or self.step
        self.elapsed_s = _number(event.get("elapsed_s")) or self.elapsed_s
        if self.phase == "done":
            self.share = 1.0

    def _paused(self, event: dict[str, Any]) -> None:
        self.phase = "paused"

    def _resumed(self, event: dict[str, Any]) -> None:
        self.phase = "training"

    def _error(self, event: dict[str, Any]) -> None:
        self.problem = str(event.get("problem") or "")
        self.remedy = str(event.get("remedy") or "")
        # What the trainer says when it was interrupted is no fault.
        self.phase = "stopped" if self.problem == "cancelled" else "error"


_HEARD = {
    "data": Story._data,
    "run": Story._run,
    "step": Story._step,
    "validation": Story._validation,
    "checkpoint": Story._checkpoint,
    "done": Story._ended,
    "stopped": Story._ended,
    "paused": Story._paused,
    "resumed": Story._resumed,
    "error": Story._error,
}


def told(event: dict[str, Any]) -> str:
    """An event as a line of the log."""
    name = event["event"]
    parts = []
    for key, value in event.items():
        if key in ("event", "version", "recipe", "pairs") and not isinstance(value, int | float):
            continue
        if key == "version":
            continue
        if isinstance(value, dict):
            parts += [f"{key}.{inner}={_short(part)}" for inner, part in value.items()]
        else:
            parts.append(f"{key}={_short(value)}")
    return "  ".join([f"{name:<11}", *parts]).rstrip()


def _short(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.6g}"
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 400 else text[:399] + "…"


def _pair(raw: Any) -> PairPicture | None:
    if not isinstance(raw, dict):
        return None
    names = {key: raw.get(key) for key in ("photo", "tile", "photo_heat", "tile_heat")}
    if any(value is not None and not _inside(value) for value in names.values()):
        return None
    if not names["photo"] or not names["tile"]:
        return None
    rank = raw.get("rank")
    return PairPicture(
        **{key: value or "" for key, value in names.items()},
        name=str(raw.get("name") or ""),
        rank=rank if isinstance(rank, int) and not isinstance(rank, bool) else None,
        error_m=_number(raw.get("error_m")),
    )


def _inside(name: Any) -> bool:
    """Whether a file's name stays within the run's folder."""
    if not isinstance(name, str) or "\\" in name or ":" in name:
        return False
    return not name.startswith("/") and ".." not in name.split("/")


def _number(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if math.isfinite(value) else None


def _whole(value: Any) -> int:
    number = _number(value)
    return int(number) if number is not None else 0


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []
