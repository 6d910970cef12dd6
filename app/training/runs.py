"""Runs on disk: a folder each, with ``run.json`` beside what the trainer writes. No Qt here.

``RUNS/NAME/`` holds ``run.json`` (what was started, and by which process), the recipe's copy, ``events.jsonl``,
``stderr.log``, checkpoints and pictures. A folder that the command line made has no ``run.json`` and is shown too.
"""

from __future__ import annotations

import json
import re
import subprocess
from dataclasses import asdict, dataclass, field, fields
from enum import Enum
from pathlib import Path
from typing import Any

from app.training.events import Story, Tail
from app.training.processes import lives
from engine.errors import TrainingError
from engine.files import write_json

RUN, EVENTS, ERRORS = "run.json", "events.jsonl", "stderr.log"
CHECKPOINT, BEST = "checkpoint.pt", "best.pt"
STOP, PAUSE = "stop", "pause"  # what the trainer looks for, see engine.training.control
VERSION = 1
ERROR_BYTES = 16_000
_NOT_IN_NAMES = re.compile(r'[\x00-\x1f<>:"/\\|?*]+')


class State(Enum):
    """How a run stands."""

    STARTING = "starting"
    DATA = "data"
    TRAINING = "training"
    PAUSING = "pausing"
    PAUSED = "paused"
    STOPPING = "stopping"
    STOPPED = "stopped"
    DONE = "done"
    FAILED = "failed"
    EMPTY = "empty"  # nothing was ever told of it


LIVE = frozenset(
    (State.STARTING, State.DATA, State.TRAINING, State.PAUSING, State.PAUSED, State.STOPPING)
)


@dataclass(frozen=True)
class Launch:
    """What a run was started with, kept in ``run.json``.

    Args:
        recipe: a shipped recipe's name, or the name of the copy in the run's folder.
        data: the folder of data; "" where the recipe's towns are rendered into the runs' own.
        devices: "cpu", "cuda:0", ...; several are several processes.
        minutes: a budget; None: the recipe's steps.
        python: the interpreter.
        pid, mark: its process and when that began; ``token`` is in the environment of all it starts.
        created: when the run was first started, ISO 8601.
    """

    recipe: str
    data: str
    devices: tuple[str, ...] = ("cpu",)
    minutes: float | None = None
    python: str = ""
    pid: int = 0
    mark: str = ""
    token: str = ""
    created: str = ""
    version: int = VERSION


@dataclass
class Run:
    """One run: its folder, what was started, and its story."""

    folder: Path
    launch: Launch | None = None
    story: Story = field(default_factory=Story)
    alive: bool = False
    code: int | None = None  # how its process ended, where that is known
    errors: str = ""  # the last lines of its standard error, once it has ended
    asked: str = ""  # STOP or PAUSE while that file is there
    process: subprocess.Popen[bytes] | None = None  # where it is this program's child
    tail: Tail = field(init=False)

    def __post_init__(self) -> None:
        self.tail = Tail(self.folder / EVENTS)

    @property
    def name(self) -> str:
        return self.folder.name

    @property
    def live(self) -> bool:
        """Whether it is at work, or holds its place."""
        return self.state in LIVE

    @property
    def state(self) -> State:
        """How it stands, from the process and from what was said last."""
        phase = self.story.phase
        if self.alive:
            if self.asked == STOP:
                return State.STOPPING
            if phase == "paused":
                return State.PAUSED if self.asked == PAUSE else State.TRAINING
            if self.asked == PAUSE:
                return State.PAUSING
            return {"data": State.DATA, "training": State.TRAINING}.get(phase, State.STARTING)
        if phase == "done":
            return State.DONE
        if phase == "stopped" or (self.asked == STOP and phase != "error"):
            return State.STOPPED  # of itself, or ended at once when that was asked for
        if not phase and self.launch is None:
            return State.EMPTY
        return State.FAILED

    @property
    def can_resume(self) -> bool:
        """Whether there is something to go on from, and somewhere to go."""
        return not self.alive and self.state != State.DONE and self.launch is not None

    @property
    def best_file(self) -> Path | None:
        """The checkpoint to use: the best one, else the last."""
        for name in (BEST, CHECKPOINT):
            if (self.folder / name).is_file():
                return self.folder / name
        return None

    def look(self) -> Look:
        """See what is new on disk, and whether the process lives. Touches nothing but the place in the event file."""
        launch, code = self.launch, self.code
        if self.process is not None and self.process.poll() is not None:
            code = self.process.returncode
        # Before the events: what a process says last is read after it was seen to be gone.
        alive = launch is not None and lives(launch.pid, launch.mark)
        asked = next((name for name in (STOP, PAUSE) if (self.folder / name).exists()), "")
        events: list[dict[str, Any]] = []
        while fresh := self.tail.read():
            events += fresh
        errors = "" if alive else self.errors or last_lines(self.folder / ERRORS)
        return Look(alive, asked, errors, code, tuple(events))

    def take(self, look: Look) -> bool:
        """Believe what was seen; returns whether anything changed."""
        before = (self.alive, self.asked, self.errors, self.code)
        self.alive, self.asked, self.errors, self.code = (
            look.alive,
            look.asked,
            look.errors,
            look.code,
        )
        if look.code is not None:
            self.process = None
        after = (self.alive, self.asked, self.errors, self.code)
        return self.story.take(look.events) or before != after


@dataclass(frozen=True)
class Look:
    """What a look at a run's folder and process has shown."""

    alive: bool
    asked: str
    errors: str
    code: int | None
    events: tuple[dict[str, Any], ...]


def read_run(folder: Path) -> Run | None:
    """A run's folder; None where it is none."""
    launch = read_launch(folder)
    if launch is None and not (folder / EVENTS).is_file():
        return None
    run = Run(folder, launch)
    run.take(run.look())
    return run


def find_runs(root: Path) -> list[Path]:
    """The folders of runs under a folder, the latest first."""
    try:
        folders = [
            path for path in root.iterdir() if (path / RUN).is_file() or (path / EVENTS).is_file()
        ]
    except OSError:
        return []

    def began(path: Path) -> float:
        launch = read_launch(path)
        if launch is not None and launch.created:
            from datetime import datetime

            try:
                return datetime.fromisoformat(launch.created).timestamp()
            except ValueError:
                pass
        return (path / EVENTS).stat().st_mtime if (path / EVENTS).exists() else 0.0

    return sorted(folders, key=began, reverse=True)


def read_launch(folder: Path) -> Launch | None:
    """``run.json``; None where it is missing or makes no sense."""
    try:
        raw = json.loads((folder / RUN).read_text("utf-8"))
        values = {f.name: raw[f.name] for f in fields(Launch) if f.name in raw}
        launch = Launch(**{**values, "devices": tuple(map(str, values.get("devices", ("cpu",))))})
    except (OSError, ValueError, TypeError, KeyError):
        return None
    good = isinstance(launch.pid, int) and all(
        isinstance(text, str)
        for text in (launch.recipe, launch.data, launch.python, launch.mark, launch.token)
    )
    return launch if good else None


def write_launch(folder: Path, launch: Launch) -> None:
    """Keep what was started."""
    write_json(folder / RUN, asdict(launch))


def check_name(root: Path, name: str) -> str:
    """What is wrong with a new run's name: "", "empty", "characters" or "taken"."""
    if not name.strip():
        return "empty"
    if _NOT_IN_NAMES.search(name) or name.startswith(".") or len(name.encode()) > 120:
        return "characters"
    folder = root / name
    try:
        return "taken" if folder.exists() and any(folder.iterdir()) else ""
    except OSError:
        return "taken"


def free_name(root: Path, recipe: str) -> str:
    """A name for a new run of a recipe that nothing has yet."""
    base = _NOT_IN_NAMES.sub("-", recipe).strip(". ")[:80] or "run"
    number = 1
    while check_name(root, f"{base}-{number}"):
        number += 1
    return f"{base}-{number}"


def last_lines(file: Path, lines: int = 30) -> str:
    """The end of a log, without what a terminal would overwrite."""
    try:
        with open(file, "rb") as opened:
            size = opened.seek(0, 2)
            opened.seek(max(0, size - ERROR_BYTES))
            text = opened.read().decode("utf-8", "replace")
    except OSError:
        return ""
    kept = [line.rsplit("\r", 1)[-1].rstrip() for line in text.splitlines()]
    return "\n".join([line for line in kept if line][-lines:])


def ask(run: Run, what: str) -> None:
    """Leave the file that asks the trainer to stop or to pause."""
    try:
        (run.folder / what).touch()
    except OSError as error:
        raise TrainingError(
            f"nothing can be written there ({error.strerror})",
            run.folder,
            "Check the disk; End now stops it without a checkpoint",
        ) from error


def take_back(run: Run, what: str) -> None:
    """Take such a file away."""
    (run.folder / what).unlink(missing_ok=True)


def flatten(recipe: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """A recipe's values by "section.key"."""
    flat: dict[str, Any] = {}
    for key, value in recipe.items():
        if isinstance(value, dict):
            flat |= flatten(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def differences(recipes: list[dict[str, Any]]) -> list[tuple[str, list[Any]]]:
    """Where recipes differ: (key, its value in each; None where one has none)."""
    flat = [flatten(recipe) for recipe in recipes]
    keys = dict.fromkeys(key for one in flat for key in one)
    return [
        (key, [one.get(key) for one in flat])
        for key in keys
        if len({json.dumps(one.get(key), sort_keys=True) for one in flat}) > 1
    ]
