"""The answer in words, over the film strip: what is known and how well, what qualifies it, what may be done."""

from __future__ import annotations

from PySide6.QtCore import QSize, Qt, Signal
from PySide6.QtGui import QAction
from PySide6.QtWidgets import (
    QFrame,
    QHBoxLayout,
    QPushButton,
    QToolButton,
    QVBoxLayout,
)

from app.bench import Load
from app.icons import icon
from app.photos import Stage
from app.results.words import say
from app.session import Session
from app.theme import STEP, line_height
from app.widgets import Elided, ElidedButton, IconLabel, label, tool_button


class AnswerBar(QFrame):
    """Watches the current photo's answer."""

    caveat_asked = Signal()  # the user wants to know more about what qualifies the answer

    def __init__(self, session: Session, export: QAction) -> None:
        super().__init__()
        self._session = session
        self.setProperty("line", "below")
        self._icon = IconLabel("info", 18)
        self.headline = label(bold=True)
        self.headline.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self.detail = Elided(mode=Qt.TextElideMode.ElideRight)
        self.caveat = ElidedButton()
        self.caveat.setIcon(icon("info"))
        self.caveat.setIconSize(QSize(16, 16))
        self.caveat.setProperty("kind", "quiet")
        self.caveat.clicked.connect(self.caveat_asked)
        self.more = QToolButton()
        self.more.setText(self.tr("Another encoder…"))
        self.more.setToolTip(self.tr("What this encoder can do, and how to bring another"))
        self.more.setProperty("kind", "link")
        self.more.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.more.clicked.connect(self.caveat_asked)
        self.again = QPushButton(self.tr("Locate again"))
        self.again.clicked.connect(session.locate)
        self.stop = QPushButton(self.tr("Stop"))
        self.stop.clicked.connect(session.stop)
        row = QHBoxLayout(self)
        row.setContentsMargins(3 * STEP, STEP, 2 * STEP, STEP)
        row.setSpacing(2 * STEP)
        row.addWidget(self._icon)
        words = QHBoxLayout()
        words.setSpacing(2 * STEP)
        words.addWidget(self.headline)
        words.addWidget(self.detail, 1)
        lines = QVBoxLayout()
        lines.setSpacing(0)
        lines.addLayout(words)
        under = QHBoxLayout()
        under.setSpacing(2 * STEP)
        under.addWidget(self.caveat, 1)
        under.addWidget(self.more)
        lines.addLayout(under)
        row.addLayout(lines, 1)
        row.addWidget(self.stop)
        row.addWidget(self.again)
        row.addWidget(tool_button(export, text=True, kind="header"))
        self.setFixedHeight(2 * line_height() + 5 * STEP)
        session.answer_changed.connect(self.refresh)
        session.current_changed.connect(self.refresh)
        session.bench.changed.connect(self.refresh)
        self.refresh()

    def refresh(self) -> None:
        """Say how the current photo's search stands."""
        answer, bench = self._session.answer, self._session.bench
        index = bench.index.value
        said = say(answer, index.coverage if index is not None else None)
        headline, detail = said.headline, said.detail
        item = self._session.current
        if item is not None and item.stage == Stage.FAILED:
            headline, detail = (
                self.tr("This photo cannot be located."),
                self.tr("It could not be read."),
            )
        elif not headline:
            if bench.loading:
                headline = self.tr("The area is being opened…")
            elif bench.pair is None:
                headline = self.tr("No area to search.")
                detail = self.tr("Open one on the right, and this photo is located at once.")
            elif item is not None:
                headline = self.tr("Reading the photo…")
        failed = answer.stage == Stage.FAILED or (item is not None and item.stage == Stage.FAILED)
        name = "error" if failed else "warning" if said.doubtful else "locate"
        self._icon.set_icon(name, "error" if failed else "muted")
        self.headline.setText(headline)
        self.detail.setText(detail)
        self.setAccessibleName(f"{headline} {detail}".strip())
        result = self._session.result
        notices = result.notices if result is not None else ()
        self.caveat.setVisible(bool(notices))
        self.caveat.set_whole(" ".join(notices))
        self.caveat.setToolTip("\n".join(notices))
        self.more.setVisible(bool(notices))
        ready = bench.encoder.load == Load.READY and bench.index.load == Load.READY
        self.again.setVisible(answer.stage in (Stage.FAILED, Stage.CANCELLED) and ready)
        self.stop.setVisible(answer.stage == Stage.WORKING)
