"""The one place where news for the user arrives, from any part and any thread of the program."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from PySide6.QtCore import QObject, Signal

from engine.errors import NadirError

Level = Literal["info", "warning", "error"]
KEPT = 50


@dataclass(frozen=True)
class Notice:
    """One thing said to the user.

    Attributes:
        headline: what happened, one sentence, naming the file where there is one.
        remedy: what to do about it; may be empty.
        quiet: kept in the list only, because a panel already says it in its place.
    """

    level: Level
    headline: str
    remedy: str = ""
    quiet: bool = False
    at: datetime = field(default_factory=datetime.now)

    @property
    def text(self) -> str:
        """Everything in one line."""
        return f"{self.headline} {self.remedy}".strip()


class Notices(QObject):
    """Keeps the latest notices and says when one arrives. Used from the UI thread."""

    arrived = Signal(object)
    cleared = Signal()

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._kept: deque[Notice] = deque(maxlen=KEPT)

    @property
    def kept(self) -> list[Notice]:
        """The notices, newest first."""
        return list(self._kept)

    def post(self, level: Level, headline: str, remedy: str = "", *, quiet: bool = False) -> None:
        """Tell the user something; the same words twice in a row are said once. Mere information is not kept."""
        notice = Notice(level, headline, remedy, quiet)
        if level == "info":
            self.arrived.emit(notice)
            return
        if self._kept and self._kept[0].text == notice.text:
            self._kept.popleft()
        self._kept.appendleft(notice)
        self.arrived.emit(notice)

    def post_error(self, error: NadirError, *, quiet: bool = False) -> None:
        """Tell the user of an error: what is wrong, with which file, what to do."""
        self.post("error", headline_of(error), remedy_of(error), quiet=quiet)

    def clear(self) -> None:
        """Forget all."""
        self._kept.clear()
        self.cleared.emit()


def headline_of(error: NadirError) -> str:
    """What happened, to which file, as a sentence."""
    name = f"{error.path.name or error.path}: " if error.path is not None else ""
    return f"{name}{_sentence(error.problem, capital=not name)}"


def remedy_of(error: NadirError) -> str:
    """What to do, as a sentence; may be empty."""
    return _sentence(error.remedy)


def _sentence(text: str, *, capital: bool = True) -> str:
    text = text.strip()
    if not text:
        return ""
    if capital:
        text = text[0].upper() + text[1:]
    return text if text[-1] in ".!?…" else f"{text}."
