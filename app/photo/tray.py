"""The tray: the photos that were dropped, one chosen. Keys: up and down choose, Delete takes away."""

from __future__ import annotations

from PySide6.QtCore import (
    QAbstractListModel,
    QModelIndex,
    QPersistentModelIndex,
    QPoint,
    QRect,
    QRectF,
    QSize,
    Qt,
    Signal,
)
from PySide6.QtGui import QKeyEvent, QPainter, QPainterPath, QPen
from PySide6.QtWidgets import (
    QAbstractItemView,
    QFrame,
    QListView,
    QMenu,
    QStyle,
    QStyledItemDelegate,
    QStyleOptionViewItem,
    QWidget,
)

from app.icons import icon, paint_icon
from app.notices import headline_of, remedy_of
from app.photos import PhotoItem, Stage
from app.session import Session
from app.tasks import THUMBNAIL
from app.theme import STEP, line_height, scaled_font, tokens_of

THUMB = QSize(THUMBNAIL[0] // 2, THUMBNAIL[1] // 2)

Index = QModelIndex | QPersistentModelIndex


def item_size() -> QSize:
    """A thumbnail with its name under it."""
    return QSize(THUMB.width() + 4 * STEP, THUMB.height() + line_height("small") + 5 * STEP)


class TrayModel(QAbstractListModel):
    """The session's photos, as a list."""

    def __init__(self, session: Session, parent: QWidget) -> None:
        super().__init__(parent)
        self._session = session
        self._shown: list[PhotoItem] = []
        session.photos_changed.connect(self._reset)
        session.photo_changed.connect(self._touch)

    def item(self, index: Index) -> PhotoItem | None:
        """The photo of a row."""
        return self._shown[index.row()] if 0 <= index.row() < len(self._shown) else None

    def index_of(self, item: PhotoItem | None) -> QModelIndex:
        """The row of a photo."""
        return self.index(self._shown.index(item)) if item in self._shown else QModelIndex()

    def rowCount(self, parent: Index = QModelIndex()) -> int:  # noqa: B008 - Qt's own signature
        return 0 if parent.isValid() else len(self._shown)

    def data(self, index: Index, role: int = Qt.ItemDataRole.DisplayRole) -> object:
        item = self.item(index)
        if item is None:
            return None
        if role == Qt.ItemDataRole.DisplayRole:
            return item.name
        if role in (Qt.ItemDataRole.ToolTipRole, Qt.ItemDataRole.AccessibleTextRole):
            return f"{item.name}\n{self._state(item)}".strip()
        return None

    def _state(self, item: PhotoItem) -> str:
        if item.stage == Stage.FAILED and item.error is not None:
            return f"{headline_of(item.error)} {remedy_of(item.error)}"
        if item.stage in (Stage.WAITING, Stage.WORKING):
            return self.tr("Being read")
        if item.answer.stage == Stage.READY:
            return self.tr("Located")
        return ""

    def _reset(self) -> None:
        """Bring rows up to date without a reset, so that focus and scrolling stay."""
        wanted = self._session.photos
        for row in reversed(range(len(self._shown))):
            if self._shown[row] not in wanted:
                self.beginRemoveRows(QModelIndex(), row, row)
                del self._shown[row]
                self.endRemoveRows()
        fresh = [item for item in wanted if item not in self._shown]
        if fresh:
            start = len(self._shown)
            self.beginInsertRows(QModelIndex(), start, start + len(fresh) - 1)
            self._shown.extend(fresh)
            self.endInsertRows()

    def _touch(self, item: PhotoItem) -> None:
        index = self.index_of(item)
        if index.isValid():
            self.dataChanged.emit(index, index)


class _Delegate(QStyledItemDelegate):
    """Draws a thumbnail, its state and its name."""

    def __init__(self, model: TrayModel, view: QListView) -> None:
        super().__init__(view)
        self._model = model
        self._view = view

    def sizeHint(self, option: QStyleOptionViewItem, index: Index) -> QSize:
        return item_size()

    def paint(self, painter: QPainter, option: QStyleOptionViewItem, index: Index) -> None:
        item = self._model.item(index)
        if item is None:
            return
        tokens = tokens_of(self._view)
        rect: QRect = option.rect  # type: ignore[attr-defined]
        state = option.state  # type: ignore[attr-defined]
        chosen = bool(state & QStyle.StateFlag.State_Selected)
        painter.save()
        painter.setRenderHints(
            QPainter.RenderHint.Antialiasing | QPainter.RenderHint.SmoothPixmapTransform
        )
        picture = QRectF(
            rect.left() + (rect.width() - THUMB.width()) / 2,
            rect.top() + STEP,
            THUMB.width(),
            THUMB.height(),
        )
        shape = QPainterPath()
        shape.addRoundedRect(picture, 4, 4)
        painter.fillPath(shape, tokens.colour("well"))
        if item.thumbnail is not None:
            painter.save()
            painter.setClipPath(shape)
            painter.drawImage(picture, item.thumbnail)
            painter.restore()
        else:
            self._draw_state(painter, picture, item)
        if item.answer.stage == Stage.READY:
            self._draw_located(painter, picture)
        if chosen or state & QStyle.StateFlag.State_MouseOver:
            pen = QPen(tokens.colour("accent" if chosen else "line_strong"), 2.5 if chosen else 1.5)
            painter.setPen(pen)
            painter.setBrush(Qt.BrushStyle.NoBrush)
            painter.drawRoundedRect(picture.adjusted(-2, -2, 2, 2), 5, 5)
        painter.setFont(scaled_font(self._view, "small"))
        failed = item.stage == Stage.FAILED
        painter.setPen(tokens.colour("error" if failed else "text" if chosen else "muted"))
        line = QRectF(
            rect.left() + 2, picture.bottom() + STEP, rect.width() - 4, line_height("small")
        )
        text = painter.fontMetrics().elidedText(
            item.name, Qt.TextElideMode.ElideMiddle, int(line.width())
        )
        painter.drawText(line, Qt.AlignmentFlag.AlignCenter, text)
        painter.restore()

    def _draw_state(self, painter: QPainter, picture: QRectF, item: PhotoItem) -> None:
        failed = item.stage == Stage.FAILED
        box = QRectF(0, 0, 20, 20)
        box.moveCenter(picture.center())
        colour = tokens_of(self._view).colour("error" if failed else "muted")
        paint_icon(painter, box, "error" if failed else "photo", colour)

    def _draw_located(self, painter: QPainter, picture: QRectF) -> None:
        tokens = tokens_of(self._view)
        badge = QRectF(picture.right() - 19, picture.bottom() - 19, 16, 16)
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(tokens.colour("accent"))
        painter.drawEllipse(badge)
        paint_icon(painter, badge.adjusted(2, 2, -2, -2), "check", tokens.colour("on_accent"))


class Tray(QListView):
    """The list of photos at the side."""

    remove_asked = Signal(object)

    def __init__(self, session: Session) -> None:
        super().__init__()
        self._session = session
        self._model = TrayModel(session, self)
        self.setModel(self._model)
        self.setItemDelegate(_Delegate(self._model, self))
        self.setFrameShape(QFrame.Shape.NoFrame)
        self.setFixedWidth(item_size().width() + 12)
        self.setUniformItemSizes(True)
        self.setMouseTracking(True)
        self.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        self.setVerticalScrollMode(QAbstractItemView.ScrollMode.ScrollPerPixel)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setContextMenuPolicy(Qt.ContextMenuPolicy.CustomContextMenu)
        self.setAccessibleName(self.tr("Photos"))
        self.customContextMenuRequested.connect(self._menu)
        self.selectionModel().currentChanged.connect(self._chosen)
        session.current_changed.connect(self._follow)

    def _chosen(self, now: QModelIndex, before: QModelIndex) -> None:
        item = self._model.item(now)
        if item is not None and item is not self._session.current:
            self._session.choose(item)

    def _follow(self) -> None:
        index = self._model.index_of(self._session.current)
        if index != self.currentIndex():
            self.setCurrentIndex(index)
            self.scrollTo(index)

    def _menu(self, at: QPoint) -> None:
        item = self._model.item(self.indexAt(at))
        if item is None:
            return
        menu = QMenu(self)
        again = menu.addAction(icon("reset"), self.tr("Read again"))
        gone = menu.addAction(icon("trash"), self.tr("Take off the tray"))
        picked = menu.exec(self.viewport().mapToGlobal(at))
        if picked is gone:
            self._session.remove(item)
        elif picked is again:
            self._session.read_again(item)

    def keyPressEvent(self, event: QKeyEvent) -> None:
        item = self._model.item(self.currentIndex())
        if event.key() in (Qt.Key.Key_Delete, Qt.Key.Key_Backspace) and item is not None:
            self._session.remove(item)
            return
        if event.key() in (Qt.Key.Key_Space, Qt.Key.Key_Left, Qt.Key.Key_Right):
            event.ignore()  # the window's: Compare, and through the candidates
            return
        super().keyPressEvent(event)
