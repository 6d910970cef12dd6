"""The preferences: one typed schema, read once at the start, written whole when something changes."""

from __future__ import annotations

import contextlib
import json
import logging
import os
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any, Literal, get_args, get_type_hints

from PySide6.QtCore import QCoreApplication, QObject, QStandardPaths, QTimer, Signal

from app.jobs import Jobs
from app.theme import Mode
from engine.errors import NadirError
from engine.files import write_json
from engine.shipped import resources

log = logging.getLogger(__name__)
translate = QCoreApplication.translate
VERSION = 1
RECENT = 6
WRITE_AFTER_MS = 500
SHIPPED = "shipped:"  # stands on the disk for where the program keeps what comes with it
_PATHS = ("encoder", "index", "folder")
_LISTS = ("recent_encoders", "recent_indexes")


@dataclass(frozen=True)
class Preferences:
    """What is remembered from one start to the next. Paths are strings, the latest first."""

    version: int = VERSION
    theme: Mode = "system"
    overlay: bool = True
    opacity: float = 0.6
    rail_text: bool = True
    encoder: str = ""
    index: str = ""
    recent_encoders: tuple[str, ...] = ()
    recent_indexes: tuple[str, ...] = ()
    folder: str = ""
    python: str = ""  # the interpreter that trains; empty: looked for
    runs: str = ""  # the folder of training runs; empty: the program's own
    library: str = ""  # the folder of indexes and encoders; empty: the program's own
    window: str = ""  # size and place, as Qt writes them, in base64


def default_path() -> Path:
    """Where the preferences lie on this system."""
    place = QStandardPaths.writableLocation(QStandardPaths.StandardLocation.AppConfigLocation)
    return Path(place) / "preferences.json"


def load(path: Path) -> tuple[Preferences, NadirError | None]:
    """Read preferences; what is missing, unknown or of the wrong kind takes its default.

    A file that cannot be read at all is kept beside the new one that will take its place, and told of.
    """
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(raw, dict):
            raise ValueError("no object")
    except FileNotFoundError:
        return Preferences(), None
    except (OSError, ValueError, RecursionError) as error:
        log.warning("%s cannot be read (%s); the defaults are used", path, error)
        return Preferences(), _set_aside(path)
    hints = get_type_hints(Preferences)
    known = {}
    for field in fields(Preferences):
        if field.name in raw and field.name != "version":
            value = _checked(raw[field.name], hints[field.name])
            if value is not None:
                known[field.name] = value
    return _with_paths(replace(Preferences(), **known), _here), None


def _set_aside(path: Path) -> NadirError:
    """Keep a damaged file under another name; says so, for the window to tell."""
    beside, remedy = path.with_name(f"{path.name}.damaged"), ""
    with contextlib.suppress(OSError):
        os.replace(path, beside)
        remedy = translate("Preferences", "The old file is kept beside it as {0}").format(
            beside.name
        )
    problem = translate("Preferences", "the settings in it could not be read; Nadir begins anew")
    return NadirError(problem, path, remedy)


def kept(now: Preferences) -> dict[str, Any]:
    """Preferences as they are written: what came with the program is named by its place in it.

    The program may be elsewhere at its next start: moved, renewed, or mounted under another name as an AppImage is.
    """
    return asdict(_with_paths(now, _anywhere))


def _with_paths(now: Preferences, change: Callable[[str], str]) -> Preferences:
    changed: dict[str, Any] = {name: change(getattr(now, name)) for name in _PATHS}
    changed |= {name: tuple(filter(None, map(change, getattr(now, name)))) for name in _LISTS}
    return replace(now, **changed)


def _here(path: str) -> str:
    if not path.startswith(SHIPPED):
        return path
    place = resources() / path.removeprefix(SHIPPED)
    return str(place) if place.exists() else ""  # another version may ship something else


def _anywhere(path: str) -> str:
    if not path or not Path(path).is_relative_to(resources()):
        return path
    return SHIPPED + Path(path).relative_to(resources()).as_posix()


def _checked(value: Any, kind: Any) -> Any:
    """The value, where it is of the kind the schema says; else ``None``."""
    if get_args(kind) and getattr(kind, "__origin__", None) is Literal:
        return value if value in get_args(kind) else None
    if getattr(kind, "__origin__", None) is tuple:
        fits = isinstance(value, list) and all(isinstance(entry, str) for entry in value)
        return tuple(value[:RECENT]) if fits else None
    if kind is float:
        fits = isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value <= 1
        return float(value) if fits else None
    return value if type(value) is kind else None


class PreferenceStore(QObject):
    """The preferences in force; a change is written shortly after, off the UI thread.

    Attributes:
        damage: why what was kept last time is not in force; None where it is.
    """

    changed = Signal()
    not_kept = Signal(
        object
    )  # a NadirError: a change could not be written. Told once, until one can be again

    def __init__(self, path: Path, jobs: Jobs, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._path = path
        self._jobs = jobs
        self.now, self.damage = load(path)
        self._told = False  # that they cannot be written
        self._later = QTimer(self)
        self._later.setSingleShot(True)
        self._later.setInterval(WRITE_AFTER_MS)
        self._later.timeout.connect(self.write)

    def change(self, **changes: Any) -> None:
        """Prefer something else."""
        changed = replace(self.now, **changes)
        if changed != self.now:
            self.now = changed
            self._later.start()
            self.changed.emit()

    def remember(self, encoder: Path | None, index: Path | None) -> None:
        """Note what was opened last."""
        changes: dict[str, Any] = {}
        if encoder is not None:
            changes["encoder"] = str(encoder)
            changes["recent_encoders"] = _front(str(encoder), self.now.recent_encoders)
        if index is not None:
            changes["index"] = str(index)
            changes["recent_indexes"] = _front(str(index), self.now.recent_indexes)
        self.change(**changes)

    def write(self) -> None:
        """Write now."""
        self._later.stop()
        path, values = self._path, kept(self.now)

        def work(report: object) -> None:
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
                write_json(path, values)
            except OSError as error:
                raise _unwritten(error, path) from error

        self._jobs.start(
            "", work, done=self._written, failed=self._not_written, lane="files", quiet=True
        )

    def _written(self, _: object) -> None:
        self._told = False

    def _not_written(self, error: NadirError) -> None:
        log.warning("%s", error)
        if not self._told:
            self._told = True
            self.not_kept.emit(error)

    def flush(self) -> None:
        """Write what waits to be written; called when the window closes."""
        if self._later.isActive():
            self.write()


def _unwritten(error: OSError, path: Path) -> NadirError:
    problem = translate("Preferences", "your settings could not be kept ({0})")
    return NadirError(
        problem.format((error.strerror or str(error)).lower()),
        path,
        translate(
            "Preferences",
            "They hold until Nadir is closed. Make room in {0}, or see who may write there",
        ).format(path.parent),
    )


def _front(entry: str, others: tuple[str, ...]) -> tuple[str, ...]:
    return (entry, *(other for other in others if other != entry))[:RECENT]
