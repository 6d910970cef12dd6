"""The candidate that is looked at: its tile with the evidence, its place, what may be done with it."""

from __future__ import annotations

from pathlib import PurePosixPath

from PySide6.QtCore import QSize
from PySide6.QtGui import QAction, QPainter
from PySide6.QtWidgets import QFrame, QGridLayout, QHBoxLayout, QVBoxLayout, QWidget

from app.photo.geometry import degrees_text
from app.results.strip import strip_height
from app.results.tile import TileView
from app.results.words import away, chance, coordinates
from app.session import Session
from app.theme import STEP, tokens_of
from app.widgets import label, paint_rank, tool_button


def shortened(name: str, most: int = 22) -> str:
    """A name without its middle where it is long: its ends tell files apart."""
    half = most // 2
    return name if len(name) <= most else f"{name[:half]}…{name[-half:]}"


class RankCircle(QWidget):
    """The numbered circle, as a widget."""

    def __init__(self) -> None:
        super().__init__()
        self._rank = 0
        self.setFixedSize(26, 26)

    def show_rank(self, rank: int) -> None:
        """Another number; 0 is none."""
        self._rank = rank
        self.update()

    def paintEvent(self, event: object) -> None:
        if self._rank:
            painter = QPainter(self)
            centre = self.rect().toRectF().center()
            paint_rank(painter, centre, self._rank, tokens_of(self), selected=True, widget=self)
            painter.end()


class CandidateDetail(QFrame):
    """Watches the session's candidate and its evidence."""

    def __init__(self, session: Session, copy: QAction, compare: QAction) -> None:
        super().__init__()
        self._session = session
        self.setProperty("line", "left")
        self.setFixedHeight(strip_height())
        side = strip_height() - 6 * STEP
        self.tile = TileView(side)
        self.tile.setFixedSize(QSize(side, side))
        self._rank = RankCircle()
        self._place = label(selectable=True, bold=True)
        self._place.setAccessibleName(self.tr("Coordinates"))
        self._copy = tool_button(copy)
        self._facts: dict[str, tuple[QWidget, QWidget]] = {}
        self._grid = QGridLayout()
        self._grid.setHorizontalSpacing(3 * STEP)
        self._grid.setVerticalSpacing(STEP // 2)
        self._values = {
            name: self._row(row, text)
            for row, (name, text) in enumerate(
                (
                    ("score", self.tr("Score")),
                    ("chance", self.tr("Chance")),
                    ("heading", self.tr("Heading")),
                    ("picture", self.tr("Photo")),
                    ("away", self.tr("From ①")),
                )
            )
        }
        self._note = label(size="small", muted=True, wrap=True)
        self._lay_out(compare)
        for signal in (
            session.answer_changed,
            session.candidate_changed,
            session.evidence_changed,
            session.crops_changed,
            session.overlay_changed,
        ):
            signal.connect(self.refresh)
        self.refresh()

    def _row(self, row: int, text: str):
        caption = label(text, muted=True)
        value = label(selectable=True)
        self._grid.addWidget(caption, row, 0)
        self._grid.addWidget(value, row, 1)
        return caption, value

    def _lay_out(self, compare: QAction) -> None:
        row = QHBoxLayout(self)
        row.setContentsMargins(3 * STEP, 3 * STEP, 3 * STEP, 3 * STEP)
        row.setSpacing(3 * STEP)
        row.addWidget(self.tile)
        column = QVBoxLayout()
        column.setSpacing(STEP)
        head = QHBoxLayout()
        head.setSpacing(2 * STEP)
        head.addWidget(self._rank)
        head.addWidget(self._place)
        head.addWidget(self._copy)
        head.addStretch(1)
        column.addLayout(head)
        column.addLayout(self._grid)
        column.addWidget(self._note)
        column.addStretch(1)
        self._compare = tool_button(compare, text=True)
        column.addWidget(self._compare)
        self._grid.setColumnStretch(1, 1)
        row.addLayout(column, 1)

    def refresh(self) -> None:
        """Show the session's candidate."""
        session = self._session
        candidate, result, item = session.candidate, session.result, session.current
        self.setVisible(candidate is not None)
        if candidate is None or result is None or item is None:
            return
        evidence = session.evidence
        crop = session.answer.crops.get(candidate.rank)
        tile = evidence.tile if evidence is not None and evidence.tile is not None else crop
        self.tile.show_tile(tile, result.extent_of(candidate))
        opacity = session.overlay_opacity if session.overlay_shown else 0.0
        self.tile.set_heat(evidence.tile_heat if evidence is not None else None, opacity)
        self.tile.set_heading(candidate.heading_deg, item.fov_deg)
        self._rank.show_rank(candidate.rank)
        self._place.setText(coordinates(candidate))
        heading = "–" if result.plan.knows_heading else self.tr("not answered")
        if candidate.heading_deg is not None:
            heading = degrees_text(candidate.heading_deg)
            if result.plan.heading_deg is None:
                heading = self.tr("{0}, found").format(heading)
        picture = ""
        if result.of_photos:
            heading, picture = "", shortened(PurePosixPath(candidate.picture).name)
            if candidate.picture_heading_deg is not None:
                towards = degrees_text(candidate.picture_heading_deg)
                picture = self.tr("{0}, looks to {1}").format(picture, towards)
        self._values["picture"][1].setToolTip(candidate.picture)
        for name, text in (
            ("picture", picture),
            ("score", f"{candidate.score:.3f}"),
            ("chance", chance(candidate)),
            ("heading", heading),
            ("away", away(candidate) if candidate.rank > 1 else ""),
        ):
            caption, value = self._values[name]
            value.setText(text)
            caption.setVisible(bool(text))
            value.setVisible(bool(text))
        note = evidence.why_none if evidence is not None else ""
        self._note.setText(note)
        self._note.setVisible(bool(note))
