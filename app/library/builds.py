"""Builds of indexes as processes that outlive the window: starting, pausing, going on, finding them again. No Qt here.

``LIBRARY/.builds/NAME/`` holds ``build.json`` (what was asked, and by which process it is done), ``area.geojson``,
``events.jsonl`` (what ``nadir index build --events`` prints) and ``stderr.log``; the index itself grows in
``LIBRARY/NAME.index``. To pause a build is to end its process: what is done is kept, and going on is starting it anew.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import secrets
import shutil
import subprocess
import sys
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field, fields, replace
from datetime import datetime
from enum import Enum
from pathlib import Path
from typing import Any

from app.training import processes
from app.training.events import Tail
from app.training.interpreter import environment, folder_to_run_in
from app.training.runs import last_lines
from engine.errors import IndexFolderError
from engine.files import write_json
from engine.shipped import own_command

BUILDS, BUILD, AREA, EVENTS, ERRORS, FETCHED = (
    ".builds",
    "build.json",
    "area.geojson",
    "events.jsonl",
    "stderr.log",
    "fetched",  # a server's imagery, until the index holds what it needs of it
)
INDEX = ".index"
PAUSE = "pause"  # this file says that the end was wanted
STOP_S = 20.0  # so long may a build take to end of itself
CANCELLED = 130
_NOT_IN_NAMES = re.compile(r'[\x00-\x1f\x7f<>:"/\\|?*]+')
_NAME_BYTES = 120


class State(Enum):
    """How a build stands."""

    STARTING = "starting"
    WORKING = "working"
    PAUSING = "pausing"
    PAUSED = "paused"
    BROKEN_OFF = "broken off"  # its process is gone and nobody asked for that
    FAILED = "failed"
    DONE = "done"


LIVE = frozenset((State.STARTING, State.WORKING, State.PAUSING))


@dataclass(frozen=True)
class Plan:
    """An index as the user set it up.

    Args:
        imagery: the path of a file, a folder or a server's description.
        encoder: the path of an encoder.
        area: a GeoJSON geometry; None: all of the imagery.
        extents_m, stride_m, layout: what differs from the encoder's advice; empty, None and "" where nothing does.
        allow: the hosts that may be asked, where the imagery is one; ``zoom``: in which detail.
        kind: what the user said pictures are: "aerial" or "street".
    """

    name: str
    imagery: str
    encoder: str
    area: dict[str, Any] | None = None
    extents_m: tuple[float, ...] = ()
    stride_m: float | None = None
    layout: str = ""
    allow: tuple[str, ...] = ()
    zoom: int | None = None
    kind: str = ""


@dataclass(frozen=True)
class Launch:
    """What was started, kept in ``build.json``: the plan, and its process (see :mod:`app.training.processes`)."""

    plan: Plan
    pid: int = 0
    mark: str = ""
    token: str = ""
    created: str = ""
    tiles: int = 0  # as reckoned beforehand


@dataclass
class Story:
    """What a build has told."""

    phase: str = ""  # the kind of the last event that says how it stands
    text: str = ""
    done: int = 0
    total: int = 0
    tiles: int = 0
    rows: tuple[int, int] | None = (
        None  # tiles that are encoded, and all of them, while that goes on
    )
    seconds_left: float | None = None
    problem: str = ""
    remedy: str = ""

    def take(self, events: Iterable[dict[str, Any]]) -> bool:
        """Believe more events; returns whether there were any."""
        any_ = False
        for event in events:
            any_ = True
            kind = event["event"]
            if kind == "progress":
                self.phase = kind
                self.text = str(event.get("text") or "")
                self.done, self.total = _whole(event.get("done")), _whole(event.get("total"))
                rows = event.get("rows")
                self.rows = None
                if isinstance(rows, list) and len(rows) == 2:
                    self.rows = _whole(rows[0]), _whole(rows[1])
                left = event.get("seconds_left")
                self.seconds_left = float(left) if isinstance(left, int | float) else None
            elif kind == "plan":
                self.phase = "plan"
                self.problem = self.remedy = ""
                self.tiles = _whole(event.get("tiles"))
            elif kind == "error":
                self.phase = kind
                self.problem = str(event.get("problem") or "")
                self.remedy = str(event.get("remedy") or "")
            elif kind in ("done", "cancelled"):
                self.phase = kind
        return any_

    @property
    def share(self) -> float:
        """How much is done, 0..1."""
        return min(1.0, self.done / self.total) if self.total else 0.0


def _whole(value: Any) -> int:
    return int(value) if isinstance(value, int | float) and 0 <= value < 1e15 else 0


@dataclass
class Build:
    """A build: its folder, what was asked, and how it stands."""

    folder: Path
    launch: Launch
    story: Story = field(default_factory=Story)
    alive: bool = False
    asked: bool = False  # whether somebody wanted it to pause
    finished: bool = False  # whether the index is there
    code: int | None = None
    errors: str = ""
    process: subprocess.Popen[bytes] | None = None
    tail: Tail = field(init=False)

    def __post_init__(self) -> None:
        self.tail = Tail(self.folder / EVENTS)

    @property
    def plan(self) -> Plan:
        return self.launch.plan

    @property
    def name(self) -> str:
        return self.plan.name

    @property
    def out(self) -> Path:
        """Where the index grows."""
        return self.folder.parents[1] / f"{self.folder.name}{INDEX}"

    @property
    def live(self) -> bool:
        return self.state in LIVE

    @property
    def state(self) -> State:
        """How it stands, from the process, from the folder and from what was said last."""
        if self.alive:
            if self.asked:
                return State.PAUSING
            return State.WORKING if self.story.phase == "progress" else State.STARTING
        if self.finished:
            return State.DONE
        if self.asked:
            return State.PAUSED
        if self.story.phase == "error" or self.code not in (None, 0, CANCELLED):
            return State.FAILED
        return State.BROKEN_OFF

    def look(self) -> Look:
        """See how it stands on disk; changes nothing but the place in the event file."""
        code = self.code
        if self.process is not None and self.process.poll() is not None:
            code = self.process.returncode
        alive = processes.lives(self.launch.pid, self.launch.mark)
        events: list[dict[str, Any]] = []
        while fresh := self.tail.read():
            events += fresh
        return Look(
            alive,
            (self.folder / PAUSE).exists(),
            (self.out / "manifest.json").is_file(),
            code,
            "" if alive else last_lines(self.folder / ERRORS),
            tuple(events),
        )

    def take(self, look: Look) -> bool:
        """Believe what was seen; returns whether anything changed."""
        before = (self.alive, self.asked, self.finished, self.code, self.errors)
        after = (look.alive, look.asked, look.finished, look.code, look.errors)
        self.alive, self.asked, self.finished, self.code, self.errors = after
        if look.code is not None:
            self.process = None
        return self.story.take(look.events) or before != after


@dataclass(frozen=True)
class Look:
    """What a look at a build has shown."""

    alive: bool
    asked: bool
    finished: bool
    code: int | None
    errors: str
    events: tuple[dict[str, Any], ...]


# On disk ----------------------------------------------------------------------------------------------------------


def find_builds(library: Path) -> list[Build]:
    """All builds that were begun and not put away, as they stand now."""
    found = []
    try:
        folders = sorted((library / BUILDS).iterdir())
    except OSError:
        return []
    for folder in folders:
        launch = read_launch(folder)
        if launch is not None:
            build = Build(folder, launch)
            build.take(build.look())
            found.append(build)
    return found


def read_launch(folder: Path) -> Launch | None:
    """``build.json``; None where it is missing or makes no sense."""
    try:
        raw = json.loads((folder / BUILD).read_bytes())
        values = raw["plan"]
        plan = Plan(**{f.name: values[f.name] for f in fields(Plan) if f.name in values})
        plan = replace(
            plan,
            extents_m=tuple(map(float, plan.extents_m)),
            allow=tuple(map(str, plan.allow)),
        )
        kept = {f.name: raw[f.name] for f in fields(Launch) if f.name in raw and f.name != "plan"}
        launch = Launch(plan, **kept)
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None
    texts = (plan.name, plan.imagery, plan.encoder, plan.layout, launch.mark)
    good = all(isinstance(text, str) for text in (*texts, launch.token))
    good = good and isinstance(launch.pid, int) and isinstance(plan.area, dict | None)
    return launch if good else None


def check_name(library: Path, name: str) -> str:
    """What is wrong with a new index's name: "", "empty", "characters" or "taken"."""
    if not name.strip():
        return "empty"
    if _NOT_IN_NAMES.search(name) or name.startswith(".") or name != name.strip():
        return "characters"
    if len(name.encode()) > _NAME_BYTES or name.endswith("."):
        return "characters"
    taken = os.path.lexists(library / f"{name}{INDEX}") or (library / BUILDS / name).exists()
    return "taken" if taken else ""


def free_name(library: Path, wish: str) -> str:
    """A name for a new index that nothing has yet."""
    base = _NOT_IN_NAMES.sub("-", wish).strip(". ")[:60] or "area"
    name, number = base, 1
    while check_name(library, name):
        number += 1
        name = f"{base}-{number}"
    return name


# Doing ------------------------------------------------------------------------------------------------------------


def command_line() -> list[str]:
    """How the command line is started: this Python, or the frozen program itself."""
    return own_command()


def build_command(folder: Path, plan: Plan, out: Path) -> list[str]:
    """What is run; every run of it goes on where the last one ended."""
    command = [*command_line(), "index", "build", str(out), "--imagery", plan.imagery]
    command += ["--encoder", plan.encoder, "--events", "--resume"]
    if plan.area is not None:
        command += ["--area", str(folder / AREA)]
    for extent in plan.extents_m:
        command += ["--extent-m", f"{extent:g}"]
    if plan.stride_m is not None:
        command += ["--stride-m", f"{plan.stride_m:g}"]
    if plan.kind:
        command += ["--kind", plan.kind]
    if plan.layout:
        command += ["--layout", plan.layout]
    for host in plan.allow:
        command += ["--allow", host, "--cache", str(folder / FETCHED)]
    if plan.zoom is not None:
        command += ["--zoom", str(plan.zoom)]
    return command


def begin(library: Path, plan: Plan, tiles: int = 0) -> Build:
    """Start a new build.

    Raises:
        IndexFolderError: its folder cannot be made, or the process not be started.
    """
    folder = library / BUILDS / plan.name
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        folder.mkdir()
        if plan.area is not None:
            write_json(folder / AREA, plan.area)
    except FileExistsError as error:
        raise IndexFolderError(
            "an index of this name is being built", folder, "Choose another name"
        ) from error
    except OSError as error:
        raise IndexFolderError(
            f"the build cannot be prepared here ({error.strerror})",
            library,
            "Check the disk and the permissions of the library's folder",
        ) from error
    created = datetime.now().astimezone().isoformat(timespec="seconds")
    try:
        return _start(folder, Launch(plan, created=created, tiles=tiles))
    except IndexFolderError:
        shutil.rmtree(folder, ignore_errors=True)
        raise


def resume(build: Build) -> Build:
    """Go on with a build that paused, failed or was broken off.

    Raises:
        IndexFolderError: it is still at work, or cannot be started.
    """
    if processes.lives(build.launch.pid, build.launch.mark):
        raise IndexFolderError("is still being built", build.out, "Wait for it")
    return _start(build.folder, build.launch)


def _start(folder: Path, launch: Launch) -> Build:
    build = Build(folder, launch)
    token = secrets.token_hex(8)
    try:
        (folder / PAUSE).unlink(missing_ok=True)
        for name in (EVENTS, ERRORS):
            (folder / name).write_bytes(b"")
        process = processes.start(
            build_command(folder, launch.plan, build.out),
            folder=folder_to_run_in(),
            environment=environment(token),
            errors=folder / ERRORS,
            output=folder / EVENTS,
        )
        mark = processes.mark_of(process.pid)
        build.launch = replace(launch, pid=process.pid, mark=mark, token=token)
        write_json(folder / BUILD, asdict(build.launch))
    except OSError as error:
        raise IndexFolderError(
            f"the build cannot be started ({error.strerror})", folder, "Check the disk"
        ) from error
    build.process = process
    build.alive = True
    return build


def pause(build: Build) -> None:
    """End its process, having it finish what it is at; what is done is kept.

    Raises:
        IndexFolderError: it would not end.
    """
    launch = build.launch
    with contextlib.suppress(
        OSError
    ):  # on a full disk it ends all the same, and is told as broken off
        (build.folder / PAUSE).touch()
    processes.interrupt(launch.pid, launch.mark)
    deadline = time.monotonic() + (STOP_S if sys.platform != "win32" else 0.0)
    while processes.lives(launch.pid, launch.mark) and time.monotonic() < deadline:
        if build.process is not None:
            build.process.poll()
        time.sleep(0.05)
    if not processes.end(launch.token, launch.pid, launch.mark):
        raise IndexFolderError("the build would not end", build.out, "Try again")


def discard(build: Build) -> None:
    """Give a build up: end it, and delete what it has made so far.

    Raises:
        IndexFolderError: something of it cannot be deleted.
    """
    if processes.lives(build.launch.pid, build.launch.mark):
        pause(build)
    try:
        if build.out.is_dir() and not (build.out / "manifest.json").exists():
            shutil.rmtree(build.out)
        shutil.rmtree(build.folder)
    except OSError as error:
        raise IndexFolderError(
            f"it could not be deleted ({error.strerror})", build.out, "Try again"
        ) from error


def put_away(build: Build) -> None:
    """Forget a build whose index is there."""
    shutil.rmtree(build.folder, ignore_errors=True)
