"""The photo panel: the picture flat or to look around in, its heat map, its facts; or why there is none."""

from __future__ import annotations

from PySide6.QtCore import QSize, Qt
from PySide6.QtGui import QResizeEvent
from PySide6.QtWidgets import (
    QFrame,
    QHBoxLayout,
    QProgressBar,
    QPushButton,
    QSlider,
    QStackedWidget,
    QToolButton,
    QVBoxLayout,
    QWidget,
)

from app import tasks
from app.icons import icon
from app.notices import headline_of, remedy_of
from app.photo.around import AroundView
from app.photo.facts import FactsBar
from app.photo.geometry import Pose, bearing_name, degrees_text
from app.photo.view import PhotoView
from app.photos import PhotoItem, Stage
from app.session import Session
from app.theme import STEP
from app.widgets import Elided, Segments, StateCard, label

FLAT, AROUND = "flat", "around"


def pose_of(item: PhotoItem) -> Pose:
    """How a photo is to be drawn upon."""
    picture = item.picture
    aspect = picture.width() / max(picture.height(), 1) if picture is not None else 1.5
    facts = item.facts
    return Pose(
        panorama=item.panorama,
        fov_deg=item.fov_deg,
        heading_deg=item.heading_shown_deg,
        heading_found=item.heading_deg is None,
        pitch_deg=item.pitch_deg,
        roll_deg=item.roll_deg,
        top_deg=facts.top_deg if facts is not None else 90.0,
        bottom_deg=facts.bottom_deg if facts is not None else -90.0,
        aspect=aspect,
    )


class PhotoPanel(QFrame):
    """Watches the session's current photo."""

    def __init__(self, session: Session) -> None:
        super().__init__()
        self._session = session
        self._mode = FLAT
        self.setProperty("place", "panel")
        self.name = Elided()
        self.name.setProperty("weight", "bold")
        self.modes = Segments(
            self.tr("View"),
            ((FLAT, self.tr("Flat"), "flat"), (AROUND, self.tr("Look around"), "around")),
        )
        self.modes.chosen.connect(self.set_mode)
        self.modes.show_value(FLAT)
        self.overlay = QToolButton()
        self.overlay.setIcon(icon("heat"))
        self.overlay.setIconSize(QSize(18, 18))
        self.overlay.setCheckable(True)
        self.overlay.setAccessibleName(self.tr("Heat map"))
        self.overlay.setToolTip(self.tr("Where this match comes from (H)"))
        self.overlay.clicked.connect(lambda on: session.set_overlay(shown=on))
        self.opacity = QSlider(Qt.Orientation.Horizontal)
        self.opacity.setRange(0, 100)
        self.opacity.setPageStep(10)
        self.opacity.setFixedWidth(72)
        self.opacity.setAccessibleName(self.tr("Opacity of the heat maps"))
        self.opacity.setToolTip(self.tr("Opacity of the heat maps ([ and ])"))
        self.opacity.valueChanged.connect(lambda value: session.set_overlay(opacity=value / 100))
        self.flat = PhotoView()
        self.around = AroundView(session.jobs)
        self.card = StateCard()
        self.reading = _Reading()
        self.reading.stop.clicked.connect(session.stop)
        self.stack = QStackedWidget()
        for page in (self.flat, self.around, self.card, self.reading):
            self.stack.addWidget(page)
        self.facts = FactsBar(session)
        self._readout = label(size="small", muted=True)
        self._readout.setMinimumWidth(64)
        self.flat.pointed.connect(self._pointed)
        self._lay_out()
        session.current_changed.connect(self.refresh)
        session.photo_changed.connect(
            lambda item: self.refresh() if item is session.current else None
        )
        session.answer_changed.connect(self._follow)
        session.candidate_changed.connect(self._follow)
        session.evidence_changed.connect(self._follow)
        session.overlay_changed.connect(self._follow)
        self.refresh()

    def _lay_out(self) -> None:
        top = QHBoxLayout()
        top.setContentsMargins(3 * STEP, STEP, 2 * STEP, STEP)
        top.setSpacing(2 * STEP)
        top.addWidget(self.name, 1)
        top.addWidget(self._readout)
        top.addWidget(self.modes)
        top.addWidget(self.overlay)
        top.addWidget(self.opacity)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(0)
        column.addLayout(top)
        column.addWidget(self.stack, 1)
        column.addWidget(self.facts)

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        self.modes.set_words(self.width() >= 20 + 76 * self.fontMetrics().averageCharWidth())
        self._show_facts()

    def minimumSizeHint(self) -> QSize:
        """Without the facts: a low window shows the picture instead."""
        whole = super().minimumSizeHint()
        facts = 0 if self.facts.isHidden() else self.facts.minimumSizeHint().height()
        return QSize(whole.width(), whole.height() - facts)

    def _show_facts(self) -> None:
        item = self._session.current
        room = (
            self.height() >= self.minimumSizeHint().height() + self.facts.minimumSizeHint().height()
        )
        self.facts.setVisible(room and (item is None or item.error is None))

    def set_mode(self, mode: str) -> None:
        """Flat, or looking around (panoramas only)."""
        self._mode = mode
        self.refresh()

    def refresh(self) -> None:
        """Show the session's current photo in the state it is in."""
        item = self._session.current
        self.name.setText(item.name if item is not None else "")
        self._show_facts()
        whole = item is not None and item.panorama and item.fov_deg >= 359.5
        self.modes.setVisible(whole)
        around = whole and self._mode == AROUND
        self.modes.show_value(AROUND if around else FLAT)
        if item is None:
            self.flat.set_picture(None)
            self.stack.setCurrentWidget(self.flat)
        elif item.stage in (Stage.FAILED, Stage.CANCELLED) and item.error is not None:
            self._say_failed(item)
        elif item.picture is None:
            self.reading.say(self.tr("Reading {0}…").format(item.name))
            self.stack.setCurrentWidget(self.reading)
        else:
            self.flat.set_picture(item.picture)
            self.stack.setCurrentWidget(self.around if around else self.flat)
        self._follow()

    def _say_failed(self, item: PhotoItem) -> None:
        assert item.error is not None
        failed = item.stage == Stage.FAILED
        self.card.say(
            "error" if failed else "photo",
            headline_of(item.error),
            remedy_of(item.error),
            (
                (self.tr("Try again"), lambda: self._session.read_again(item)),
                (self.tr("Take off the tray"), lambda: self._session.remove(item)),
            ),
            error=failed,
        )
        self.stack.setCurrentWidget(self.card)

    def _follow(self) -> None:
        """Heading, heat map and opacity."""
        session, item = self._session, self._session.current
        self.overlay.setChecked(session.overlay_shown)
        self.opacity.blockSignals(True)
        self.opacity.setValue(round(session.overlay_opacity * 100))
        self.opacity.blockSignals(False)
        evidence = session.evidence
        heat = evidence.photo_heat if evidence is not None else None
        looked = evidence is not None and evidence.kind == "attention"
        self.overlay.setToolTip(
            self.tr("Where the encoder looked (H)")
            if looked
            else self.tr("Where this match comes from (H)")
        )
        enabled = item is not None and item.answer.stage in (Stage.READY, Stage.WORKING)
        self.overlay.setEnabled(enabled)
        self.opacity.setEnabled(enabled and session.overlay_shown)
        self.flat.set_opacity(session.overlay_opacity if session.overlay_shown else 0.0)
        if item is None or item.picture is None:
            self.flat.set_heat(None)
            self.flat.set_pose(None)
            self.around.set_scene(None)
            return
        self.flat.set_heat(heat)
        self.flat.set_pose(pose_of(item))
        if self.stack.currentWidget() is self.around:
            opacity = session.overlay_opacity if session.overlay_shown else 0.0
            view = item.view if item.facts is not None else None
            self.around.set_heading(item.heading_shown_deg)
            self.around.set_scene(tasks.Scene(item.picture, view, heat, opacity))

    def _pointed(self, azimuth: float | None) -> None:
        item = self._session.current
        if azimuth is None or item is None:
            self._readout.setText("")
            return
        heading = item.heading_shown_deg
        if heading is None:
            self._readout.setText(f"{azimuth:+.0f}°")
        else:
            bearing = heading + azimuth
            self._readout.setText(f"{bearing_name(bearing)} {degrees_text(bearing)}")


class _Reading(QWidget):
    """While a photo is read."""

    def __init__(self) -> None:
        super().__init__()
        self._text = Elided()
        self._text.setAlignment(Qt.AlignmentFlag.AlignCenter)
        self._bar = QProgressBar()
        self._bar.setRange(0, 0)
        self._bar.setTextVisible(False)
        self._bar.setFixedWidth(160)
        self.stop = QPushButton(self.tr("Stop"))
        column = QVBoxLayout(self)
        column.setSpacing(3 * STEP)
        column.addStretch(1)
        column.addWidget(self._text)
        column.addWidget(self._bar, 0, Qt.AlignmentFlag.AlignHCenter)
        column.addWidget(self.stop, 0, Qt.AlignmentFlag.AlignHCenter)
        column.addStretch(2)

    def say(self, text: str) -> None:
        """What is being read."""
        self._text.setText(text)
