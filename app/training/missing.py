"""What is shown in place of the form while no Python that can train is known."""

from __future__ import annotations

from collections.abc import Callable

from PySide6.QtGui import QGuiApplication
from PySide6.QtWidgets import QFileDialog

from app.bench import Load
from app.notices import headline_of, remedy_of
from app.training import set_up
from app.training.interpreter import MissingError, install_command
from app.training.model import Training
from app.widgets import StateCard
from engine.errors import NadirError


class MissingCard(StateCard):
    """Says what is missing where, and how to get it."""

    def __init__(self, training: Training, headline: str = "") -> None:
        """``headline``: what it is that needs it; training by default."""
        super().__init__()
        self._training = training
        self._headline_words = headline or self.tr("Training needs PyTorch")
        training.set_up_changed.connect(self.refresh)

    def refresh(self) -> None:
        """Show how the search for an interpreter stands."""
        if self._training.setting_up is not None:
            stop = (self.tr("Stop"), self._training.stop_setting_up)
            self.say(
                "train",
                self.tr("Setting up Python for training…"),
                self._training.setting_up,
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
            text = self.tr(
                "{0}\nInstall it, or choose a Python that has it. The command is:\n{1}"
            ).format(where, command)
            copy = (
                self.tr("Copy the command"),
                lambda: QGuiApplication.clipboard().setText(command),
            )
            self.say("train", self._headline_words, text, [copy, choose, again])
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
        text = self.tr(
            "Nadir comes without PyTorch. It can be set up in a folder of its own, over the network: 1 to 6 GB, "
            "depending on this computer. These commands are run:\n\n{0}"
        ).format(set_up.shown(steps))
        run = (self.tr("Run these commands"), self._training.set_up)
        copy = (
            self.tr("Copy the commands"),
            lambda: QGuiApplication.clipboard().setText(set_up.shown(steps)),
        )
        self.say("train", self._headline_words, text, [run, copy, *others])

    def choose_python(self) -> None:
        """Ask for an interpreter."""
        name, _ = QFileDialog.getOpenFileName(
            self, self.tr("Choose the Python that trains, such as .venv/bin/python")
        )
        if name:
            self._training.store.change(python=name)


def _names(modules: tuple[str, ...]) -> list[str]:
    """Modules by the names that people know."""
    known = {"engine": "Nadir", "PIL": "Pillow", "torch": "PyTorch"}
    return [known.get(name, name) for name in modules]
