"""The page of one index or encoder: its name, what can be done with it, what is wrong, how its build goes, its card."""

from __future__ import annotations

import shlex
from pathlib import Path

from PySide6.QtCore import Qt, QUrl, Signal
from PySide6.QtGui import QDesktopServices, QPalette
from PySide6.QtWidgets import (
    QFrame,
    QHBoxLayout,
    QMessageBox,
    QProgressBar,
    QPushButton,
    QScrollArea,
    QVBoxLayout,
    QWidget,
)

from app.icons import icon
from app.jobs import Job
from app.library.builds import Build, State
from app.library.card import Card
from app.library.flow import flow_of
from app.library.model import Entry, Library
from app.library.sections import ENCODER, INDEX, lead, sections
from app.library.words import build_at_length, can_go_on, kind_name, size, state_name, why_failed
from app.notices import headline_of, remedy_of
from app.theme import STEP
from app.widgets import IconLabel, label
from engine.library import Item

WIDEST = 760  # longer lines are hard to read


class ItemPage(QScrollArea):
    """Watches the entry that is chosen."""

    used = Signal()  # it is being opened in Locate

    def __init__(self, library: Library) -> None:
        super().__init__()
        self._library = library
        self._path: Path | None = None
        self.setWidgetResizable(True)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.kind = label(size="small", muted=True)
        self.name = label(size="large", bold=True, wrap=True, selectable=True)
        self.lead = label(wrap=True, selectable=True)
        self.use = self._button(self.tr("Use in Locate"), "locate", self._use)
        self.use.setProperty("kind", "primary")
        self.use.setIcon(icon("locate", QPalette.ColorRole.HighlightedText))
        self.verify = self._button(self.tr("Verify"), "check", self._verify)
        self.verify.setToolTip(self.tr("Compare every file with its checksum"))
        self.folder = self._button(self.tr("Show in folder"), "open", self._show_in_folder)
        self.remove = self._button(self.tr("Remove…"), "trash", self._remove)
        self.buttons = flow_of(self.use, self.verify, self.folder, self.remove, spacing=2 * STEP)
        self.doing = label(muted=True, wrap=True)
        self.problem = Problem()
        self.build = BuildPanel(library)
        self.card = Card()
        self.card.link_asked.connect(self._follow)
        page = QWidget()
        page.setMaximumWidth(WIDEST)
        inside = QWidget()
        row = QHBoxLayout(inside)
        row.setContentsMargins(0, 0, 0, 0)
        row.addWidget(page, 1)
        row.addStretch(0)
        column = QVBoxLayout(page)
        column.setContentsMargins(5 * STEP, 4 * STEP, 5 * STEP, 4 * STEP)
        column.setSpacing(3 * STEP)
        head = QVBoxLayout()
        head.setSpacing(0)
        head.addWidget(self.kind)
        head.addWidget(self.name)
        column.addLayout(head)
        for part in (self.lead, self.problem, self.build, self.buttons, self.doing):
            column.addWidget(part)
        column.addWidget(self.card)
        column.addStretch(1)
        self.setWidget(inside)
        library.chosen_changed.connect(self.refresh)
        library.changed.connect(self.refresh)
        library.entry_changed.connect(self._entry_changed)
        library.build_changed.connect(lambda build: self._entry_changed(build.out))
        library.jobs.changed.connect(self._job_changed)
        library.session.bench.changed.connect(self._refresh_buttons)

    def _button(self, text: str, icon_name: str, call: object) -> QPushButton:
        button = QPushButton(text)
        button.setIcon(icon(icon_name))
        button.clicked.connect(call)
        return button

    # Showing ----------------------------------------------------------------------------------------------------

    def _entry_changed(self, path: Path) -> None:
        if path == self._path:
            self.refresh()

    def refresh(self) -> None:
        """Show the entry that is chosen."""
        entry = self._library.entry
        if entry is None:
            self._path = None
            return
        fresh = entry.path != self._path
        self._path = entry.path
        item = entry.item
        self.kind.setText(_kind_line(item))
        self.name.setText(self._library.title(entry))
        text = lead(entry)
        self.lead.setText(text)
        self.lead.setVisible(bool(text))
        self.problem.setVisible(item.error is not None)
        if item.error is not None:
            self.problem.say(headline_of(item.error), remedy_of(item.error))
        build = self._library.build_of(entry.path)
        unfinished = build is not None and build.state != State.DONE
        self.build.setVisible(unfinished)
        if build is not None and unfinished:
            self.build.show_build(build)
        elif item.unfinished and build is None:
            self.problem.setVisible(True)
            self.problem.say(
                self.tr("This index is not finished."),
                self.tr(
                    "It was begun on the command line. Continue with: nadir index build {0} --resume"
                ).format(shlex.quote(str(entry.path))),
            )
        self.card.show_sections(sections(entry, self._library))
        self._refresh_buttons()
        if fresh:
            self.verticalScrollBar().setValue(0)

    def _refresh_buttons(self) -> None:
        entry = self._library.of(self._path)
        if entry is None:
            return
        item = entry.item
        whole = item.error is None and not item.unfinished
        busy = self._library.busy.get(entry.path, "")
        build = self._library.build_of(entry.path)
        building = build is not None and build.state != State.DONE
        self.use.setEnabled(whole and not busy)
        self.use.setVisible(not building)
        bench = self._library.session.bench
        in_use = entry.path in (bench.index.path, bench.encoder.path) and whole
        self.use.setText(self.tr("Open in Locate") if in_use else self.tr("Use in Locate"))
        self.verify.setEnabled(not busy and not item.unfinished)
        self.verify.setVisible(not building)
        self.folder.setEnabled(entry.path.exists())
        owned = entry.home == "library"
        self.remove.setVisible(entry.home != "shipped" and not building)
        self.remove.setEnabled(not busy)
        self.remove.setText(self.tr("Remove…") if owned else self.tr("Take off the list…"))
        self.doing.setVisible(bool(busy) and not building)
        self.doing.setText(f"{busy}…" if busy else "")

    def _job_changed(self, job: Job) -> None:
        """How far a check is."""
        if self._path is None or job.over or self._library.busy.get(self._path) != job.title:
            return
        done, total, text = job.progress
        if total and text:
            self.doing.setText(f"{text} · {100 * done // total}\N{NO-BREAK SPACE}%")

    # Doing ------------------------------------------------------------------------------------------------------

    def _use(self) -> None:
        if self._path is not None:
            self._library.use(self._path)
            self.used.emit()

    def _verify(self) -> None:
        if self._path is not None:
            self._library.verify(self._path)

    def _show_in_folder(self) -> None:
        if self._path is not None:
            folder = self._path if self._path.is_dir() else self._path.parent
            QDesktopServices.openUrl(QUrl.fromLocalFile(str(folder)))

    def _follow(self, link: str) -> None:
        if link.startswith(ENCODER):
            entry = self._library.encoder_for(link.removeprefix(ENCODER))
        else:
            entry = self._library.of(Path(link.removeprefix(INDEX)))
        if entry is not None:
            self._library.choose(entry.path)

    def _remove(self) -> None:
        entry = self._library.of(self._path)
        if entry is None:
            return
        path = entry.path
        box = QMessageBox(self)
        box.setIcon(QMessageBox.Icon.NoIcon)
        if entry.home == "library":
            title, act = self.tr("Remove from the library"), self.tr("Delete")
            text = self.tr("Delete “{0}” and all its files?").format(self._library.title(entry))
            more = self._consequences(entry)
        else:
            title, act = self.tr("Take off the list"), self.tr("Take off")
            text = self.tr("Take “{0}” off the list?").format(self._library.title(entry))
            more = self.tr("Its files stay where they are.")
        box.setWindowTitle(title)
        box.setText(text)
        box.setInformativeText(f"{path}\n{more}".strip())
        yes = box.addButton(act, QMessageBox.ButtonRole.DestructiveRole)
        keep = box.addButton(self.tr("Keep"), QMessageBox.ButtonRole.RejectRole)
        box.setDefaultButton(keep)
        box.buttonClicked.connect(
            lambda button: self._library.remove(path) if button is yes else None
        )
        box.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        box.open()

    def _consequences(self, entry: Entry) -> str:
        parts = []
        if entry.item.bytes:
            parts.append(self.tr("{0} are freed.").format(size(entry.item.bytes)))
        bench = self._library.session.bench
        if entry.path in (bench.index.path, bench.encoder.path):
            parts.append(self.tr("It is open in Locate and will be closed there."))
        if entry.item.kind == "encoder":
            left = len(self._library.indexes_of(entry.item.hash))
            if left:
                parts.append(self.tr("{0} indexes need it to be searched.").format(left))
        return " ".join(parts)


def _kind_line(item: Item) -> str:
    return f"{kind_name(item)} · {size(item.bytes)}" if item.bytes else kind_name(item)


class Problem(QFrame):
    """What is wrong and what to do."""

    def __init__(self) -> None:
        super().__init__()
        self.setProperty("place", "notice-error")
        self.headline = label(bold=True, wrap=True, selectable=True)
        self.text = label(wrap=True, selectable=True)
        words = QVBoxLayout()
        words.setSpacing(STEP)
        words.addWidget(self.headline)
        words.addWidget(self.text)
        row = QHBoxLayout(self)
        row.setContentsMargins(3 * STEP, 2 * STEP, 3 * STEP, 2 * STEP)
        row.setSpacing(2 * STEP)
        row.addWidget(IconLabel("error", 18, "error"), 0, Qt.AlignmentFlag.AlignTop)
        row.addLayout(words, 1)
        self.hide()

    def say(self, headline: str, text: str) -> None:
        """Show it."""
        self.headline.setText(headline)
        self.text.setText(text)
        self.text.setVisible(bool(text))
        self.setAccessibleName(f"{headline} {text}".strip())


class BuildPanel(QFrame):
    """How a build stands, and what can be done about it."""

    change_asked = Signal(object)  # a Build whose plan cannot be carried out

    def __init__(self, library: Library) -> None:
        super().__init__()
        self._library = library
        self._build: Build | None = None
        self.setProperty("place", "raised")
        self.state = label(bold=True)
        self.text = label(wrap=True, selectable=True)
        self.bar = QProgressBar()
        self.bar.setTextVisible(False)
        self.bar.setRange(0, 1000)
        self.bar.setAccessibleName(self.tr("How much is built"))
        self.pause = QPushButton(self.tr("Pause"))
        self.pause.setIcon(icon("pause"))
        self.pause.setToolTip(self.tr("What is done is kept, also when the program is closed"))
        self.pause.clicked.connect(self._pause)
        self.resume = QPushButton(self.tr("Resume"))
        self.resume.setIcon(icon("play"))
        self.resume.clicked.connect(self._resume)
        self.change = QPushButton(self.tr("Change…"))
        self.change.setIcon(icon("reset"))
        self.change.setToolTip(self.tr("Set it up anew, with what was chosen"))
        self.change.clicked.connect(self._change)
        self.discard = QPushButton(self.tr("Cancel and delete…"))
        self.discard.setIcon(icon("trash"))
        self.discard.clicked.connect(self._discard)
        column = QVBoxLayout(self)
        column.setContentsMargins(3 * STEP, 3 * STEP, 3 * STEP, 3 * STEP)
        column.setSpacing(2 * STEP)
        column.addWidget(self.state)
        column.addWidget(self.bar)
        column.addWidget(self.text)
        column.addWidget(
            flow_of(self.pause, self.resume, self.change, self.discard, spacing=2 * STEP)
        )
        self.hide()

    def show_build(self, build: Build) -> None:
        """Show how it stands."""
        self._build = build
        state = build.state
        busy = build.out in self._library.busy
        held = next((b for b in (self.pause, self.resume, self.discard) if b.hasFocus()), None)
        self.state.setText(state_name(state))
        failed = state == State.FAILED
        text = build_at_length(build)
        if failed:
            text = "\n".join(part for part in why_failed(build) if part)
        self.text.setText(text)
        self.text.setVisible(bool(text))
        waiting = state == State.STARTING or (build.live and not build.story.total)
        self.bar.setRange(0, 0 if waiting else 1000)
        if not waiting:
            self.bar.setValue(round(1000 * build.story.share))
        self.pause.setVisible(build.live)
        self.pause.setEnabled(not busy and state != State.PAUSING)
        self.resume.setVisible(not build.live and state != State.DONE)
        self.resume.setEnabled(not busy)
        hopeless = failed and not can_go_on(build)
        self.resume.setVisible(self.resume.isVisibleTo(self) and not hopeless)
        self.change.setVisible(hopeless)
        self.change.setEnabled(not busy)
        self.discard.setEnabled(not busy)
        if held is not None and not (held.isVisibleTo(self) and held.isEnabled()):
            (self.pause if build.live else self.resume).setFocus()

    def _pause(self) -> None:
        if self._build is not None:
            self._library.pause(self._build)

    def _resume(self) -> None:
        if self._build is not None:
            self._library.resume(self._build)

    def _change(self) -> None:
        if self._build is not None:
            self.change_asked.emit(self._build)

    def _discard(self) -> None:
        build = self._build
        if build is None:
            return
        box = QMessageBox(self)
        box.setIcon(QMessageBox.Icon.NoIcon)
        box.setWindowTitle(self.tr("Cancel the build"))
        box.setText(self.tr("Cancel building “{0}” and delete what is done?").format(build.name))
        box.setInformativeText(self.tr("To go on another time, pause it instead."))
        yes = box.addButton(self.tr("Delete"), QMessageBox.ButtonRole.DestructiveRole)
        keep = box.addButton(self.tr("Keep"), QMessageBox.ButtonRole.RejectRole)
        box.setDefaultButton(keep)
        box.buttonClicked.connect(
            lambda button: self._library.discard(build) if button is yes else None
        )
        box.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        box.open()
