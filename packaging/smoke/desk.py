"""A desk on an X display: a window to drag files from, the clipboard, pictures of the screen.

Qt's event loop runs in the main thread; the story that is played runs in another and asks for what needs Qt.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from PySide6.QtCore import QMimeData, QPoint, Qt, QTimer, QUrl
from PySide6.QtGui import QDrag, QGuiApplication, QImage, QMouseEvent
from PySide6.QtWidgets import QApplication, QLabel

T = TypeVar("T")
TITLE = "A folder"


class Source(QLabel):
    """A small window with one file, which can be dragged."""

    def __init__(self) -> None:
        super().__init__("drag me")
        self.setWindowTitle(TITLE)
        self.setWindowFlag(Qt.WindowType.FramelessWindowHint)
        self.setAlignment(Qt.AlignmentFlag.AlignCenter)
        self.file: Path | None = None
        self._pressed = False

    def mousePressEvent(self, event: QMouseEvent) -> None:
        self._pressed = True

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        if not self._pressed or self.file is None:
            return
        self._pressed = False
        data = QMimeData()
        data.setUrls([QUrl.fromLocalFile(str(self.file))])
        drag = QDrag(self)
        drag.setMimeData(data)
        drag.exec(Qt.DropAction.CopyAction)


class Desk:
    """What the story may ask for; every method may be called from its thread."""

    def __init__(self) -> None:
        application = QApplication.instance() or QApplication(["desk"])
        assert isinstance(application, QApplication)
        self._application = application
        self._application.setQuitOnLastWindowClosed(False)
        self._asked: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._source = Source()
        self._source.setGeometry(1450, 900, 140, 80)
        self._source.show()
        self._timer = QTimer()
        self._timer.timeout.connect(self._answer)
        self._timer.start(10)

    def play(self, story: Callable[[], T]) -> T:
        """Run the story to its end, with Qt's loop beside it; what it raises is raised here."""
        outcome: list[T] = []
        failure: list[BaseException] = []

        def run() -> None:
            try:
                outcome.append(story())
            except BaseException as error:
                failure.append(error)
            finally:
                self._asked.put(lambda: self._application.exit(0))  # quit() would close our window

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        self._application.exec()
        thread.join()
        if failure:
            raise failure[0]
        return outcome[0]

    def lay_out(self, file: Path) -> tuple[int, int]:
        """Put a file on the desk; gives where to take hold of it."""

        def do() -> tuple[int, int]:
            self._source.file = file
            self._source.show()
            self._source.raise_()
            QGuiApplication.clipboard().clear()
            spot = self._source.mapToGlobal(QPoint(70, 40))
            return spot.x(), spot.y()

        return self._ask(do)

    def clipboard(self) -> str:
        """The text on the clipboard."""
        return self._ask(lambda: QGuiApplication.clipboard().text())

    def picture(self) -> QImage:
        """The whole screen."""
        return self._ask(lambda: QGuiApplication.primaryScreen().grabWindow(0).toImage())

    def _ask(self, do: Callable[[], T]) -> T:
        answer: queue.SimpleQueue[T] = queue.SimpleQueue()
        self._asked.put(lambda: answer.put(do()))
        return answer.get(timeout=30)

    def _answer(self) -> None:
        while not self._asked.empty():
            self._asked.get()()


def colours(image: QImage, place: tuple[int, int, int, int]) -> int:
    """How many colours there are in a part of a picture, of a grid of points."""
    x, y, width, height = place
    found = set()
    for row in range(y + 3, min(y + height, image.height()), 7):
        for column in range(x + 3, min(x + width, image.width()), 7):
            found.add(image.pixel(column, row))
    return len(found)


def difference(one: QImage, other: QImage, place: tuple[int, int, int, int]) -> float:
    """The share of points, of a grid, that differ."""
    x, y, width, height = place
    total = differing = 0
    for row in range(y + 3, min(y + height, one.height()), 5):
        for column in range(x + 3, min(x + width, one.width()), 5):
            total += 1
            differing += one.pixel(column, row) != other.pixel(column, row)
    return differing / max(1, total)
