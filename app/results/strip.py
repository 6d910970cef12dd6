"""The film strip of candidates: rank, tile, score, heading, distance from the first. Arrow keys go along it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from PySide6.QtCore import (
    QAbstractListModel,
    QModelIndex,
    QPersistentModelIndex,
    QPointF,
    QRect,
    QRectF,
    QSize,
    Qt,
)
from PySide6.QtGui import QImage, QKeyEvent, QPainter, QPainterPath, QPen
from PySide6.QtWidgets import (
    QAbstractItemView,
    QFrame,
    QListView,
    QStyle,
    QStyledItemDelegate,
    QStyleOptionViewItem,
    QWidget,
)

from app.photo.geometry import degrees_text
from app.photos import Stage
from app.results.words import away, chance
from app.session import Session
from app.theme import STEP, line_height, scaled_font, tokens_of
from app.widgets import paint_rank

if TYPE_CHECKING:
    from engine.localize import Candidate

TILE = 104

Index = QModelIndex | QPersistentModelIndex


def card_size() -> QSize:
    """A frame of the strip: the tile and two lines under it."""
    return QSize(TILE + 4 * STEP, TILE + 2 * line_height() + 6 * STEP)


def strip_height() -> int:
    """The strip with its scroll bar."""
    return card_size().height() + 16


class CandidateModel(QAbstractListModel):
    """The current answer's candidates, as a list."""

    def __init__(self, session: Session, parent: QWidget) -> None:
        super().__init__(parent)
        self._session = session
        self._shown: tuple[Candidate, ...] = ()
        session.answer_changed.connect(self._renew)
        session.crops_changed.connect(self._touch)

    def candidate(self, index: Index) -> Candidate | None:
        """The candidate of a row."""
        return self._shown[index.row()] if 0 <= index.row() < len(self._shown) else None

    def rowCount(self, parent: Index = QModelIndex()) -> int:  # noqa: B008 - Qt's own signature
        return 0 if parent.isValid() else len(self._shown)

    def data(self, index: Index, role: int = Qt.ItemDataRole.DisplayRole) -> object:
        candidate = self.candidate(index)
        if candidate is None:
            return None
        if role in (Qt.ItemDataRole.DisplayRole, Qt.ItemDataRole.AccessibleTextRole):
            words = self.tr("Candidate {0}, score {1}").format(
                candidate.rank, f"{candidate.score:.3f}"
            )
            if candidate.heading_deg is not None:
                words += self.tr(", heading {0}").format(degrees_text(candidate.heading_deg))
            return f"{words}, {away(candidate)}"
        if role == Qt.ItemDataRole.ToolTipRole:
            place = f"{candidate.lat:.6f}, {candidate.lon:.6f}"
            support = self.tr(
                "Ranked by support, {0}: the score, and how far what is close by agrees"
            )
            told = [place, candidate.picture, support.format(f"{candidate.support:.3f}")]
            return "\n".join(line for line in told if line)
        return None

    def _renew(self) -> None:
        result = self._session.result
        candidates = result.candidates if result is not None else ()
        if candidates == self._shown:
            self._touch()
            return
        self.beginResetModel()
        self._shown = candidates
        self.endResetModel()

    def _touch(self) -> None:
        if self._shown:
            self.dataChanged.emit(self.index(0), self.index(len(self._shown) - 1))


class _Delegate(QStyledItemDelegate):
    """Draws one frame of the strip."""

    def __init__(self, session: Session, model: CandidateModel, view: QListView) -> None:
        super().__init__(view)
        self._session = session
        self._model = model
        self._view = view

    def sizeHint(self, option: QStyleOptionViewItem, index: Index) -> QSize:
        return card_size()

    def paint(self, painter: QPainter, option: QStyleOptionViewItem, index: Index) -> None:
        candidate = self._model.candidate(index)
        if candidate is None:
            return
        tokens = tokens_of(self._view)
        rect: QRect = option.rect  # type: ignore[attr-defined]
        state = option.state  # type: ignore[attr-defined]
        chosen = candidate.rank == self._session.answer.rank
        painter.save()
        painter.setRenderHints(
            QPainter.RenderHint.Antialiasing | QPainter.RenderHint.SmoothPixmapTransform
        )
        if self._session.answer.stage == Stage.WORKING:
            painter.setOpacity(0.5)
        tile = QRectF(rect.left() + 2 * STEP, rect.top() + 2 * STEP, TILE, TILE)
        shape = QPainterPath()
        shape.addRoundedRect(tile, 4, 4)
        painter.fillPath(shape, tokens.colour("well"))
        crop = self._session.answer.crops.get(candidate.rank)
        if crop is not None:
            painter.save()
            painter.setClipPath(shape)
            painter.drawImage(tile, crop, _middle(crop))
            painter.restore()
        hovered = bool(state & QStyle.StateFlag.State_MouseOver)
        if chosen or hovered:
            painter.setPen(
                QPen(tokens.colour("accent" if chosen else "line_strong"), 3 if chosen else 1.5)
            )
            painter.setBrush(Qt.BrushStyle.NoBrush)
            painter.drawRoundedRect(tile.adjusted(-2, -2, 2, 2), 5, 5)
        paint_rank(
            painter,
            tile.topLeft() + QPointF(15, 15),
            candidate.rank,
            tokens,
            selected=chosen,
            widget=self._view,
        )
        self._draw_words(painter, tile, candidate)
        painter.restore()

    def _draw_words(self, painter: QPainter, tile: QRectF, candidate: Candidate) -> None:
        tokens = tokens_of(self._view)
        result = self._session.result
        heading = "–" if result is None or not result.of_photos else ""
        if candidate.heading_deg is not None:
            heading = degrees_text(candidate.heading_deg)
        upper = QRectF(tile.left(), tile.bottom() + 1.5 * STEP, tile.width(), line_height() + 2)
        lower = upper.translated(0, line_height() + 2)
        left = Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter
        right = Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter
        painter.setFont(scaled_font(self._view, "normal", bold=True))
        painter.setPen(tokens.colour("text"))
        painter.drawText(upper, left, f"{candidate.score:.3f}")
        painter.setFont(scaled_font(self._view, "small"))
        painter.drawText(upper, right, heading)
        painter.setPen(tokens.colour("muted"))
        painter.drawText(lower, left, away(candidate))
        painter.drawText(lower, right, chance(candidate))


def _middle(picture: QImage) -> QRectF:
    """The square in the middle of a picture: a photo fills its frame."""
    side = min(picture.width(), picture.height())
    return QRectF((picture.width() - side) / 2, (picture.height() - side) / 2, side, side)


class FilmStrip(QListView):
    """The candidates in a row."""

    def __init__(self, session: Session) -> None:
        super().__init__()
        self._session = session
        self._model = CandidateModel(session, self)
        self.setModel(self._model)
        self.setItemDelegate(_Delegate(session, self._model, self))
        self.setFlow(QListView.Flow.LeftToRight)
        self.setWrapping(False)
        self.setFrameShape(QFrame.Shape.NoFrame)
        self.setFixedHeight(strip_height())
        self.setUniformItemSizes(True)
        self.setMouseTracking(True)
        self.setHorizontalScrollMode(QAbstractItemView.ScrollMode.ScrollPerPixel)
        self.setVerticalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        self.setAccessibleName(self.tr("Candidates"))
        self.selectionModel().currentChanged.connect(self._chosen)
        self._model.modelReset.connect(self._follow)
        session.candidate_changed.connect(self._follow)

    def _chosen(self, now: QModelIndex, before: QModelIndex) -> None:
        candidate = self._model.candidate(now)
        if candidate is not None:
            self._session.select(candidate.rank)

    def _follow(self) -> None:
        index = self._model.index(self._session.answer.rank - 1)
        if index.isValid():
            self.setCurrentIndex(index)
            self.scrollTo(index)
        self.viewport().update()

    def keyPressEvent(self, event: QKeyEvent) -> None:
        if event.key() == Qt.Key.Key_Space:
            event.ignore()  # the window's: Compare
            return
        super().keyPressEvent(event)
