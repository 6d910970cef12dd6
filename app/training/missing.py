"""What is shown in place of the form while no Python that can train is known."""

from __future__ import annotations

import sys
from collections.abc import Callable

from PySide6.QtCore import QEvent, QObject, Qt
from PySide6.QtGui import QFontDatabase, QGuiApplication
from PySide6.QtWidgets import QBoxLayout, QFileDialog, QMessageBox, QPlainTextEdit, QWidget

from app.bench import Load
from app.notices import headline_of, remedy_of
from app.theme import STEP
from app.training import set_up
from app.training.interpreter import MissingError, install_command
from app.training.model import Training
from app.training.words import gigabytes
from app.widgets import StateCard
from engine import training_python
from engine.errors import NadirError


class MissingCard(StateCard):
    """Says what is missing where, and how to get it."""

    def __init__(self, training: Training, headline: str = "") -> None:
        """``headline``: what it is that needs it; training by default."""
        super().__init__()
        self._training = training
        self._headline_words = headline or self.tr("Training needs PyTorch")
        self.commands = CommandLines()
        column = self.layout()
        assert isinstance(column, QBoxLayout)
        column.insertWidget(column.indexOf(self._text) + 1, self.commands)
        training.set_up_changed.connect(self.refresh)

    def refresh(self) -> None:
        """Show how the search for an interpreter stands."""
        self.commands.show_commands("")
        if self._training.setting_up is not None:
            stop = (self.tr("Stop"), self._training.stop_setting_up)
            words = self.tr("Stopping it, or closing the window, takes away what was begun.")
            self.say(
                "train",
                self.tr("Setting up Python for training…"),
                f"{self._training.setting_up}\n{words}".strip(),
                [stop],
            )
        elif self._training.interpreter_load == Load.FAILED:
            self._say_missing(self._training.interpreter_error)
        else:
            self.say("train", self.tr("Looking for a Python that can train…"))

    def _say_missing(self, error: NadirError | None) -> None:
        choose = (self.tr("Choose a Python…"), self.choose_python)
        again = (self.tr("Look again"), self._training.find_interpreter)
        if isinstance(error, MissingError) and self._training.can_set_up:
            self._offer([choose, again])
        elif isinstance(error, MissingError) and error.lacks:
            command = install_command(error.python)
            where = self.tr("{0} lacks {1}.").format(error.python, ", ".join(_names(error.lacks)))
            if error.python is None:
                where = self.tr("This program comes without it.")
            text = self.tr("{0}\nInstall it, or choose a Python that has it. The command is:")
            self.commands.show_commands(command)
            copy = (
                self.tr("Copy the command"),
                lambda: QGuiApplication.clipboard().setText(command),
            )
            self.say("train", self._headline_words, text.format(where), [copy, choose, again])
        elif error is not None:
            self.say("error", headline_of(error), remedy_of(error), [choose, again], error=True)

    def _offer(self, others: list[tuple[str, Callable[[], object]]]) -> None:
        """The frozen program: set a Python up, after its commands were read."""
        steps = self._training.set_up_steps
        if steps is None:
            text = self.tr(
                "Nadir comes without PyTorch, and no Python 3.11 or newer with its venv module was found to set it up "
                "with. Install one (on Debian and Ubuntu: python3 and python3-venv; elsewhere from python.org), then "
                "look again."
            )
            self.say("train", self.tr("Training needs Python and PyTorch"), text, others)
            return
        needs = training_python.needs_of()
        text = self.tr(
            "Nadir comes without PyTorch. It can be set up in a folder of its own: about {0} over the network, which "
            "take {1} on the disk ({2} while it is being set up)."
        ).format(gigabytes(needs.download), gigabytes(needs.disk), gigabytes(needs.room))
        if sys.platform.startswith("linux") and not set_up.nvidia_driver():
            text += " " + self.tr(
                "About half of that are NVIDIA's libraries, which come with it. No NVIDIA driver was found on this "
                "computer, so it will train on the processor."
            )
        run = (self.tr("Run these commands"), self._set_up)
        copy = (
            self.tr("Copy the commands"),
            lambda: QGuiApplication.clipboard().setText(training_python.shown(steps)),
        )
        self.commands.show_commands(training_python.shown(steps))
        self.say("train", self._headline_words, text, [run, copy, *others])

    def _set_up(self) -> None:
        """Run the commands; whoever closes the window meanwhile is asked."""
        window = self.window()
        if window.findChild(Farewell) is None:
            Farewell(self._training, window)
        self._training.set_up()

    def choose_python(self) -> None:
        """Ask for an interpreter."""
        name, _ = QFileDialog.getOpenFileName(
            self, self.tr("Choose the Python that trains, such as .venv/bin/python")
        )
        if name:
            self._training.store.change(python=name)


class CommandLines(QPlainTextEdit):
    """Commands to read and copy, a line each, however long; hidden while there are none."""

    def __init__(self) -> None:
        super().__init__()
        self.setReadOnly(True)
        self.setProperty("kind", "log")
        self.setLineWrapMode(QPlainTextEdit.LineWrapMode.NoWrap)
        self.setFont(QFontDatabase.systemFont(QFontDatabase.SystemFont.FixedFont))
        self.setVerticalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setTabChangesFocus(True)
        self.setAccessibleName(self.tr("Commands"))
        self.hide()

    def show_commands(self, text: str) -> None:
        """Show these."""
        if text != self.toPlainText():
            self.setPlainText(text)
            margins = 2 * (self.frameWidth() + round(self.document().documentMargin()))
            bar = self.horizontalScrollBar().sizeHint().height()
            lines = self.fontMetrics().lineSpacing() * (text.count("\n") + 1)
            self.setFixedHeight(lines + margins + bar + 5 * STEP)
        self.setVisible(bool(text))


class Farewell(QObject):
    """Asks whoever closes the window while a Python is being set up: it would be lost."""

    def __init__(self, training: Training, window: QWidget) -> None:
        super().__init__(window)
        self._training, self._window = training, window
        self.box: QMessageBox | None = None
        window.installEventFilter(self)

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        leaving = event.type() == QEvent.Type.Close and watched is self._window
        if not leaving or self._training.setting_up is None:
            return super().eventFilter(watched, event)
        event.ignore()
        if self.box is None:
            self._ask()
        return True

    def _ask(self) -> None:
        box = self.box = QMessageBox(self._window)
        box.setIcon(QMessageBox.Icon.NoIcon)
        box.setWindowTitle(self.tr("Close Nadir"))
        box.setText(self.tr("Python for training is still being set up."))
        box.setInformativeText(
            self.tr("Closing now stops it and takes away what was begun; it has to be set up anew.")
        )
        close = box.addButton(self.tr("Close"), QMessageBox.ButtonRole.DestructiveRole)
        stay = box.addButton(self.tr("Go on"), QMessageBox.ButtonRole.RejectRole)
        box.setDefaultButton(stay)
        box.buttonClicked.connect(lambda button: self._answered(button is close))
        box.finished.connect(lambda _: setattr(self, "box", None))
        box.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        box.open()

    def _answered(self, close: bool) -> None:
        if close:
            self._window.removeEventFilter(self)
            self._training.stop_setting_up()
            self._window.close()


def _names(modules: tuple[str, ...]) -> list[str]:
    """Modules by the names that people know."""
    known = {"engine": "Nadir", "PIL": "Pillow", "torch": "PyTorch"}
    return [known.get(name, name) for name in modules]
