"""What is known of the photo, and the place to correct it: heading, field of view, tilt, kind."""

from __future__ import annotations

from PySide6.QtCore import QPoint, QSize, Qt
from PySide6.QtGui import QResizeEvent
from PySide6.QtWidgets import (
    QDoubleSpinBox,
    QFrame,
    QGridLayout,
    QHBoxLayout,
    QLabel,
    QPushButton,
    QToolButton,
    QWidget,
)

from app.icons import icon
from app.photo.ring import HeadingRing
from app.photos import Corrections, PhotoItem, Stage
from app.session import Session
from app.theme import STEP
from app.widgets import Elided, Segments, label

KNOWN, FIND = "known", "find"
NO_FOV = 4.0  # shown as a dash; what is larger is a field of view
UNKNOWN = -361.0  # shown as a dash; everything above it is a heading, brought into 0..360


def degree_box(low: float, high: float, name: str, *, wrap: bool = False) -> QDoubleSpinBox:
    """An input for whole or half degrees."""
    box = QDoubleSpinBox()
    box.setRange(low, high)
    box.setDecimals(1)
    box.setSuffix("°")
    box.setWrapping(wrap)
    box.setAlignment(Qt.AlignmentFlag.AlignHCenter)
    box.setAccessibleName(name)
    box.setToolTip(name)
    box.setFixedWidth(box.fontMetrics().horizontalAdvance("-180.0°") + 26)
    return box


class FactsBar(QFrame):
    """One photo's facts, with what may be corrected."""

    def __init__(self, session: Session) -> None:
        super().__init__()
        self._session = session
        self._filling = False
        self.setProperty("line", "above")
        self.ring = HeadingRing()
        self.ring.turned.connect(lambda deg: session.correct(heading_known=True, heading_deg=deg))
        self._what = Elided(mode=Qt.TextElideMode.ElideRight)
        self._what.setProperty("tone", "muted")
        self.heading = Segments(
            self.tr("Heading"),
            ((FIND, self.tr("To be found"), ""), (KNOWN, self.tr("Known"), "")),
        )
        self.heading.chosen.connect(self._heading_chosen)
        self.heading_box = degree_box(
            UNKNOWN, 720, self.tr("Heading of the photo's middle, degrees from north")
        )
        self.heading_box.setSpecialValueText("–")
        self.heading_box.valueChanged.connect(self._heading_typed)
        self._heading_from = Elided(mode=Qt.TextElideMode.ElideRight)
        self._heading_from.setProperty("tone", "muted")
        self._heading_from.setProperty("textSize", "small")
        self.fov_box = degree_box(NO_FOV, 360, self.tr("Horizontal field of view"))
        self.fov_box.setSpecialValueText("–")
        self.fov_box.valueChanged.connect(self._fov_typed)
        self._fov_from = Elided(mode=Qt.TextElideMode.ElideRight)
        self._fov_from.setProperty("tone", "muted")
        self._fov_from.setProperty("textSize", "small")
        self.camera_button = QToolButton()
        self.camera_button.setIcon(icon("horizon"))
        self.camera_button.setIconSize(QSize(16, 16))
        self.camera_button.setText(self.tr("Tilt, kind"))
        self.camera_button.setAccessibleName(self.tr("Tilt and kind of photo"))
        self.camera_button.setToolButtonStyle(Qt.ToolButtonStyle.ToolButtonTextBesideIcon)
        self.camera_button.clicked.connect(self._open_camera)
        self.camera = CameraPopup(session, self)
        self._lay_out()
        session.current_changed.connect(self.refresh)
        session.photo_changed.connect(
            lambda item: self.refresh() if item is session.current else None
        )
        session.answer_changed.connect(self.refresh)
        session.candidate_changed.connect(self.refresh)
        session.bench.changed.connect(self.refresh)
        self.refresh()

    def _lay_out(self) -> None:
        row = QHBoxLayout(self)
        row.setContentsMargins(3 * STEP, 2 * STEP, 3 * STEP, 2 * STEP)
        row.setSpacing(3 * STEP)
        row.addWidget(self.ring)
        grid = QGridLayout()
        grid.setHorizontalSpacing(2 * STEP)
        grid.setVerticalSpacing(STEP)
        grid.addWidget(self._what, 0, 0, 1, 4)
        captions = [
            _caption(self.tr("Heading"), self.heading_box),
            _caption(self.tr("Field of view"), self.fov_box),
        ]
        grid.addWidget(captions[0], 1, 0)
        grid.addWidget(self.heading_box, 1, 1)
        choice = QHBoxLayout()
        choice.setSpacing(2 * STEP)
        choice.addWidget(self.heading)
        choice.addWidget(self._heading_from, 1)
        grid.addLayout(choice, 1, 2, 1, 2)
        grid.addWidget(captions[1], 2, 0)
        grid.addWidget(self.fov_box, 2, 1)
        grid.addWidget(self._fov_from, 2, 2)
        grid.addWidget(self.camera_button, 2, 3)
        grid.setColumnStretch(2, 1)
        row.addLayout(grid, 1)
        self.setTabOrder(self.ring, self.heading_box)
        self._spared: list[QWidget] = [self.ring, *captions]
        spared = max(caption.sizeHint().width() for caption in captions) + 2 * STEP
        self._spared_width = spared + self.ring.width() + 3 * STEP

    def minimumSizeHint(self) -> QSize:
        whole = super().minimumSizeHint()
        narrow = self.ring.isHidden()
        return QSize(whole.width() - (0 if narrow else self._spared_width), whole.height())

    @property
    def whole_width(self) -> int:
        """What it takes to show all of it."""
        return self.minimumSizeHint().width() + self._spared_width

    def resizeEvent(self, event: QResizeEvent) -> None:
        """Where there is no room the dial and the captions go; the fields say in their tips what they are."""
        super().resizeEvent(event)
        narrow = self.width() < self.whole_width
        if narrow != self.ring.isHidden():
            for part in self._spared:
                part.setVisible(not narrow)

    def refresh(self) -> None:
        """Show the session's current photo."""
        item = self._session.current
        usable = item is not None and item.stage != Stage.FAILED and item.facts is not None
        turns = usable and self._session.knows_heading
        for part in (self.ring, self.heading, self.heading_box):
            part.setEnabled(turns)
        self.heading.setVisible(turns or not usable)
        for part in (self.fov_box, self.camera_button):
            part.setEnabled(usable)
        self._filling = True
        if item is not None and usable:
            self._fill(item)
        else:
            self._what.setText("")
            self.ring.show_heading(None, 0, found=False)
            self.heading_box.setValue(UNKNOWN)
            self.fov_box.setValue(NO_FOV)
            self._fov_from.setText("")
            self._heading_from.setText("")
        self._filling = False
        self.camera.refresh()

    def _fill(self, item: PhotoItem) -> None:
        assert item.facts is not None
        self._what.setText(self._describe(item))
        known = item.heading_deg is not None
        shown = item.heading_shown_deg
        used = self._session.knows_heading
        self.ring.show_heading(shown, item.fov_deg, found=not known, used=used)
        self.heading.show_value(KNOWN if known else FIND)
        if not self.heading_box.hasFocus() or not known:
            self.heading_box.setValue(round(shown % 360, 1) if shown is not None else UNKNOWN)
        self._heading_from.setText(self._heading_origin(item))
        if not self.fov_box.hasFocus():
            self.fov_box.setValue(round(item.fov_deg, 1))
        self.fov_box.setMaximum(360 if item.panorama else 170)
        self._fov_from.setText(self._fov_origin(item))

    def _describe(self, item: PhotoItem) -> str:
        """A photo in one line: kind, size, camera, when, and its own position where it has one."""
        facts = item.facts
        assert facts is not None
        full = item.panorama and item.fov_deg >= 359.5
        kind = self.tr("Photo")
        if item.panorama:
            kind = self.tr("360° panorama") if full else self.tr("Panorama")
        parts = [kind, f"{facts.width} × {facts.height}", facts.camera, facts.taken[:16]]
        if facts.latitude is not None and facts.longitude is not None:
            parts.append(
                self.tr("GPS {0}, {1}").format(f"{facts.latitude:.5f}", f"{facts.longitude:.5f}")
            )
        return " · ".join(part for part in parts if part)

    def _heading_origin(self, item: PhotoItem) -> str:
        if not self._session.knows_heading:
            return self.tr("This encoder answers no heading")
        if item.heading_deg is None:
            return ""
        if item.corrections.heading_deg is not None:
            return self.tr("by you")
        return self.tr("from the file")

    def _fov_origin(self, item: PhotoItem) -> str:
        if item.corrections.fov_deg is not None:
            return self.tr("by you")
        assert item.facts is not None
        if item.panorama != (item.facts.kind == "panorama"):
            return self.tr("assumed")
        return {
            "xmp": self.tr("from the panorama's XMP"),
            "exif": self.tr("from the camera's EXIF"),
            "shape": self.tr("from the picture's shape"),
            "user": self.tr("by you"),
        }.get(item.facts.fov_source, self.tr("assumed: the file does not say"))

    def _say(self, **changes: object) -> None:
        if not self._filling:
            self._session.correct(**changes)

    def _heading_typed(self, value: float) -> None:
        if value > UNKNOWN:
            self._say(heading_known=True, heading_deg=value % 360)

    def _fov_typed(self, value: float) -> None:
        if value > NO_FOV:
            self._say(fov_deg=value)

    def _heading_chosen(self, value: str) -> None:
        item = self._session.current
        if item is None:
            return
        if value == FIND:
            self._session.correct(heading_known=False)
        else:
            shown = item.heading_shown_deg
            given = item.corrections.heading_deg
            filed = item.facts.heading_deg if item.facts is not None else None
            best = next((deg for deg in (given, filed, shown) if deg is not None), 0.0)
            self._session.correct(heading_known=True, heading_deg=best)

    def _open_camera(self) -> None:
        self.camera.refresh()
        self.camera.adjustSize()
        corner = self.camera_button.mapToGlobal(QPoint(self.camera_button.width(), 0))
        self.camera.move(corner - QPoint(self.camera.width(), self.camera.height() + STEP))
        self.camera.show()
        self.camera.pitch.setFocus()


class CameraPopup(QFrame):
    """Kind of photo and tilt of the camera; rarely needed, so not always in sight."""

    def __init__(self, session: Session, parent: QWidget) -> None:
        super().__init__(parent, Qt.WindowType.Popup)
        self._session = session
        self._filling = False
        self.setProperty("place", "popup")
        self.setAccessibleName(self.tr("Tilt and kind of photo"))
        self.kind = Segments(
            self.tr("Kind"),
            (("panorama", self.tr("360° panorama"), ""), ("photo", self.tr("Ordinary photo"), "")),
        )
        self.kind.chosen.connect(
            lambda value: session.correct(panorama=value == "panorama", fov_deg=None)
        )
        self.pitch = degree_box(-89, 89, self.tr("Pitch: how far the camera looked up"))
        self.pitch.valueChanged.connect(lambda value: self._say(pitch_deg=value))
        self.roll = degree_box(-180, 180, self.tr("Roll: how far the camera was turned clockwise"))
        self.roll.valueChanged.connect(lambda value: self._say(roll_deg=value))
        self.back = QPushButton(self.tr("Back to what the file says"))
        self.back.clicked.connect(lambda: session.correct(**vars(Corrections())))
        grid = QGridLayout(self)
        grid.setContentsMargins(4 * STEP, 3 * STEP, 4 * STEP, 3 * STEP)
        grid.setHorizontalSpacing(3 * STEP)
        grid.setVerticalSpacing(2 * STEP)
        grid.addWidget(_caption(self.tr("Kind"), self.kind), 0, 0)
        grid.addWidget(self.kind, 0, 1, 1, 2)
        for row, (text, box, hint) in enumerate(
            (
                (self.tr("Pitch"), self.pitch, self.tr("looking up is positive")),
                (self.tr("Roll"), self.roll, self.tr("turned clockwise is positive")),
            ),
            start=1,
        ):
            grid.addWidget(_caption(text, box), row, 0)
            grid.addWidget(box, row, 1)
            grid.addWidget(label(hint, size="small", muted=True), row, 2)
        grid.addWidget(self.back, 3, 0, 1, 3)
        grid.setColumnStretch(2, 1)

    def refresh(self) -> None:
        """Show the session's current photo."""
        item = self._session.current
        if item is None or item.facts is None:
            self.hide()
            return
        self._filling = True
        self.kind.show_value("panorama" if item.panorama else "photo")
        for box, value in ((self.pitch, item.pitch_deg), (self.roll, item.roll_deg)):
            if not box.hasFocus():
                box.setValue(round(value, 1))
        self.back.setEnabled(item.corrections != Corrections())
        self._filling = False

    def _say(self, **changes: object) -> None:
        if not self._filling:
            self._session.correct(**changes)


def _caption(text: str, buddy: QWidget) -> QLabel:
    made = label(text, muted=True)
    made.setBuddy(buddy)
    return made
