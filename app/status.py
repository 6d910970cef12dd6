"""The status line: the last fact, what is being worked on with a way to stop it, who answers, the notices."""

from __future__ import annotations

from PySide6.QtCore import QPoint, QSize, Qt, QTimer
from PySide6.QtWidgets import (
    QFrame,
    QHBoxLayout,
    QProgressBar,
    QScrollArea,
    QToolButton,
    QVBoxLayout,
    QWidget,
)

from app.bench import Bench
from app.icons import icon
from app.jobs import Job, Jobs
from app.notices import Notice, Notices
from app.results.words import last_fact, say
from app.session import Session
from app.theme import STEP, line_height
from app.widgets import Elided, IconLabel, label, restyle

SHOW_JOB_AFTER_MS = 150  # shorter work is not announced: it would only flicker
TOAST_MS = 8000


def status_height() -> int:
    """Room for a line of text and a button."""
    return line_height() + 4 * STEP


class StatusLine(QFrame):
    """Watches the session, its jobs and its notices."""

    def __init__(self, session: Session) -> None:
        super().__init__()
        self._session = session
        self._jobs: Jobs = session.jobs
        self._bench: Bench = session.bench
        self.setProperty("place", "chrome")
        self.setProperty("line", "above")
        self.setFixedHeight(status_height())
        self.fact = Elided(mode=Qt.TextElideMode.ElideRight)
        self.job_text = Elided(mode=Qt.TextElideMode.ElideMiddle)
        self.job_text.setMaximumWidth(400)
        self.bar = QProgressBar()
        self.bar.setTextVisible(False)
        self.bar.setFixedWidth(120)
        self.stop = QToolButton()
        self.stop.setIcon(icon("close"))
        self.stop.setIconSize(QSize(14, 14))
        self.stop.setToolTip(self.tr("Stop (Esc)"))
        self.stop.setAccessibleName(self.tr("Stop the work"))
        self.stop.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.stop.clicked.connect(session.stop)
        self._job = QWidget()
        inner = QHBoxLayout(self._job)
        inner.setContentsMargins(0, 0, 0, 0)
        inner.setSpacing(2 * STEP)
        for part in (self.job_text, self.bar, self.stop):
            inner.addWidget(part)
        self.who = label(muted=True)
        self.bell = QToolButton()
        self.bell.setIcon(icon("bell"))
        self.bell.setIconSize(QSize(16, 16))
        self.bell.setToolButtonStyle(Qt.ToolButtonStyle.ToolButtonTextBesideIcon)
        self.bell.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        row = QHBoxLayout(self)
        row.setContentsMargins(3 * STEP, 0, 2 * STEP, 0)
        row.setSpacing(3 * STEP)
        row.addWidget(self.fact, 1)
        row.addWidget(self._job)
        row.addWidget(self.who)
        row.addWidget(self.bell)
        self._wait = QTimer(self)
        self._wait.setSingleShot(True)
        self._wait.setInterval(SHOW_JOB_AFTER_MS)
        self._wait.timeout.connect(self._show_job)
        self._job.hide()
        self._jobs.changed.connect(self._job_changed)
        self._bench.changed.connect(self.refresh)
        session.answer_changed.connect(self.refresh)
        session.current_changed.connect(self.refresh)
        session.notices.arrived.connect(lambda _: self._count())
        session.notices.cleared.connect(self._count)
        self._count()
        self.refresh()

    def refresh(self) -> None:
        """Say the last fact, and who answers."""
        encoder, index = self._bench.encoder.value, self._bench.index.value
        names = [
            self._bench.encoder.name or self.tr("no encoder"),
            self._bench.index.name or self.tr("no area"),
            encoder.device if encoder is not None else "",
        ]
        self.who.setText(" · ".join(name for name in names if name))
        result = self._session.result
        if result is not None:
            self.fact.setText(last_fact(result, index.coverage if index is not None else None))
        elif self._session.current is not None and self._session.answer.error is not None:
            self.fact.setText(say(self._session.answer).headline)
        elif index is not None:
            words = self.tr("Ready. {0} tiles of {1} m.")
            manifest = index.manifest
            if manifest.kind == "street":
                words = self.tr("Ready. {0} photos of the street.")
            self.fact.setText(words.format(f"{manifest.count:,}", f"{manifest.extent_m:.0f}"))
        else:
            self.fact.setText("")

    def _count(self) -> None:
        count = len(self._session.notices.kept)
        self.bell.setText(str(count) if count else "")
        text = self.tr("{0} notices").format(count) if count else self.tr("No notices")
        self.bell.setToolTip(text)
        self.bell.setAccessibleName(text)

    def _job_changed(self, job: Job) -> None:
        if not self._jobs.active:
            self._wait.stop()
            self._job.hide()
        elif self._job.isVisible():
            self._show_job()
        elif not self._wait.isActive():
            self._wait.start()

    def _show_job(self) -> None:
        active = self._jobs.active
        if not active:
            return
        job = active[0]
        done, total, text = job.progress
        words = job.title if not text else f"{job.title}: {text}"
        if len(active) > 1:
            words += self.tr(" (+{0})").format(len(active) - 1)
        self.job_text.setText(words)
        self.bar.setRange(0, total)
        self.bar.setValue(done)
        self._job.show()


class NoticeCard(QFrame):
    """The latest notice, laid over the foot of the window for a while; nothing moves aside for it."""

    def __init__(self, parent: QWidget) -> None:
        super().__init__(parent)
        self._icon = IconLabel("info", 18)
        self._headline = label(wrap=True, bold=True, selectable=True)
        self._remedy = label(wrap=True, selectable=True)
        self.close_button = QToolButton()
        self.close_button.setIcon(icon("close"))
        self.close_button.setIconSize(QSize(14, 14))
        self.close_button.setAccessibleName(self.tr("Dismiss"))
        self.close_button.setToolTip(self.tr("Dismiss (Esc)"))
        self.close_button.clicked.connect(self.hide)
        words = QVBoxLayout()
        words.setSpacing(STEP)
        words.addWidget(self._headline)
        words.addWidget(self._remedy)
        row = QHBoxLayout(self)
        row.setContentsMargins(3 * STEP, 2 * STEP, 2 * STEP, 2 * STEP)
        row.setSpacing(2 * STEP)
        row.addWidget(self._icon, 0, Qt.AlignmentFlag.AlignTop)
        row.addLayout(words, 1)
        row.addWidget(self.close_button, 0, Qt.AlignmentFlag.AlignTop)
        self._gone = QTimer(self)
        self._gone.setSingleShot(True)
        self._gone.setInterval(TOAST_MS)
        self._gone.timeout.connect(self._fade)
        self.hide()

    def show_notice(self, notice: Notice) -> None:
        """Show it; errors stay until they are dismissed or followed by another."""
        if notice.quiet:
            return
        error = notice.level == "error"
        self.setProperty("place", "notice-error" if error else "notice")
        restyle(self)
        self._icon.set_icon(notice.level, "error" if error else "muted")
        self._headline.setText(notice.headline)
        self._remedy.setText(notice.remedy)
        self._remedy.setVisible(bool(notice.remedy))
        self.setAccessibleName(notice.text)
        self.place()
        self.show()
        self.raise_()
        if error:
            self._gone.stop()
        else:
            self._gone.start()

    def place(self) -> None:
        """At the foot of the window, on the right, over the bell that keeps it."""
        parent = self.parentWidget()
        if parent is None:
            return
        width = min(480, parent.width() - 8 * STEP)
        self.setFixedWidth(width)
        layout = self.layout()
        assert layout is not None
        layout.activate()
        height = layout.heightForWidth(width)
        self.resize(width, height)
        left = parent.width() - width - 2 * STEP
        self.move(left, parent.height() - status_height() - height - 2 * STEP)

    def _fade(self) -> None:
        if self.underMouse():
            self._gone.start()
        else:
            self.hide()


class NoticeList(QFrame):
    """All notices kept, in a small window over the bell."""

    def __init__(self, notices: Notices, parent: QWidget) -> None:
        super().__init__(parent, Qt.WindowType.Popup)
        self._notices = notices
        self.setProperty("place", "popup")
        self.setAccessibleName(self.tr("Notices"))
        column = QVBoxLayout(self)
        column.setContentsMargins(3 * STEP, 3 * STEP, 3 * STEP, 3 * STEP)
        head = QHBoxLayout()
        head.addWidget(label(self.tr("Notices"), bold=True))
        head.addStretch(1)
        clear = QToolButton()
        clear.setText(self.tr("Clear"))
        clear.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        clear.clicked.connect(notices.clear)
        clear.clicked.connect(self.hide)
        head.addWidget(clear)
        column.addLayout(head)
        self._area = QScrollArea()
        self._area.setWidgetResizable(True)
        column.addWidget(self._area)
        self.setFixedWidth(440)

    def open_over(self, button: QWidget) -> None:
        """Show the list above a button."""
        inside = QWidget()
        column = QVBoxLayout(inside)
        column.setContentsMargins(0, 0, STEP, 0)
        column.setSpacing(3 * STEP)
        for notice in self._notices.kept:
            column.addLayout(_entry(notice))
        if not self._notices.kept:
            column.addWidget(label(self.tr("Nothing to report."), muted=True))
        column.addStretch(1)
        self._area.setWidget(inside)
        inside.adjustSize()
        self._area.setFixedHeight(min(360, max(48, inside.heightForWidth(400) + 8)))
        self.adjustSize()
        corner = button.mapToGlobal(QPoint(button.width(), 0))
        self.move(corner - QPoint(self.width(), self.height() + STEP))
        self.show()


def _entry(notice: Notice) -> QHBoxLayout:
    row = QHBoxLayout()
    row.setSpacing(2 * STEP)
    error = notice.level == "error"
    row.addWidget(
        IconLabel(notice.level, 16, "error" if error else "muted"), 0, Qt.AlignmentFlag.AlignTop
    )
    row.addWidget(label(notice.text, wrap=True, selectable=True), 1)
    row.addWidget(
        label(f"{notice.at:%H:%M}", size="small", muted=True), 0, Qt.AlignmentFlag.AlignTop
    )
    return row
