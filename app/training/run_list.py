"""The list of runs: how each stands, and which are compared."""

from __future__ import annotations

from PySide6.QtCore import QEvent, QModelIndex, QPersistentModelIndex, QRect, QRectF, QSize, Qt
from PySide6.QtGui import QKeyEvent, QMouseEvent, QPainter, QPen
from PySide6.QtWidgets import (
    QAbstractItemView,
    QFrame,
    QListWidget,
    QListWidgetItem,
    QPushButton,
    QStyledItemDelegate,
    QStyleOptionViewItem,
    QVBoxLayout,
    QWidget,
)

from app.icons import icon, paint_icon
from app.theme import STEP, Tokens, line_height, scaled_font, tokens_of
from app.training.model import Training
from app.training.runs import Run, State
from app.training.words import in_short
from app.widgets import label, paint_row_ground

WIDTH = 208
BOX = 16
_ROLE = Qt.ItemDataRole.UserRole
Index = QModelIndex | QPersistentModelIndex


class RunList(QFrame):
    """Watches the trainings; the first entry sets a new one up."""

    def __init__(self, training: Training) -> None:
        super().__init__()
        self._training = training
        self.setProperty("place", "panel")
        self.setProperty("line", "right")
        self.setFixedWidth(WIDTH)
        self.new = QPushButton(self.tr("New run"))
        self.new.setIcon(icon("add"))
        self.new.setCheckable(True)
        self.new.clicked.connect(self._new)
        self.list = QListWidget()
        self.list.setAccessibleName(self.tr("Runs"))
        self.list.setItemDelegate(_RunDelegate(self.list))
        self.list.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        self.list.setVerticalScrollMode(QAbstractItemView.ScrollMode.ScrollPerPixel)
        self.list.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.list.setMouseTracking(True)
        # Not the current item: the keyboard makes the first one current when it only passes through.
        self.list.itemSelectionChanged.connect(lambda: self._picked(self.list.selectedItems()))
        self.list.itemActivated.connect(lambda item: self._picked([item]))
        self.list.itemChanged.connect(self._ticked)
        self._empty = label(self.tr("Runs appear here and stay."), muted=True, wrap=True)
        self._hint = label(
            self.tr("Tick runs to compare them."), size="small", muted=True, wrap=True
        )
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 3 * STEP, 0, 2 * STEP)
        column.setSpacing(2 * STEP)
        for part in (self.new, self._empty):
            row = QVBoxLayout()
            row.setContentsMargins(3 * STEP, 0, 3 * STEP, 0)
            row.addWidget(part)
            column.addLayout(row)
        column.addWidget(self.list, 1)
        foot = QVBoxLayout()
        foot.setContentsMargins(3 * STEP, 0, 3 * STEP, 0)
        foot.addWidget(self._hint)
        column.addLayout(foot)
        training.runs_changed.connect(self.refresh)
        training.run_changed.connect(self._run_changed)
        training.chosen_changed.connect(self._mark)
        training.compared_changed.connect(self.refresh)
        self.refresh()

    def refresh(self) -> None:
        """Show the runs there are."""
        runs = self._training.runs
        self.list.blockSignals(True)
        while self.list.count() > len(runs):
            self.list.takeItem(self.list.count() - 1)
        while self.list.count() < len(runs):
            self.list.addItem(QListWidgetItem())
        for at, run in enumerate(runs):
            item = self.list.item(at)
            assert item is not None
            self._fill(item, run)
        self.list.blockSignals(False)
        self._empty.setVisible(not runs)
        self._hint.setVisible(len(runs) > 1)
        self._mark()

    def _fill(self, item: QListWidgetItem, run: Run) -> None:
        item.setData(_ROLE, run)
        words = in_short(run)
        item.setText(run.name)
        item.setToolTip(f"{run.name}\n{words}\n{run.folder}")
        item.setData(Qt.ItemDataRole.AccessibleTextRole, f"{run.name}, {words}")
        flags = Qt.ItemFlag.ItemIsEnabled | Qt.ItemFlag.ItemIsSelectable
        if run.story.series:
            flags |= Qt.ItemFlag.ItemIsUserCheckable
            on = run.folder in self._training.compared
            item.setCheckState(Qt.CheckState.Checked if on else Qt.CheckState.Unchecked)
        item.setFlags(flags)

    def _run_changed(self, run: Run) -> None:
        for at in range(self.list.count()):
            item = self.list.item(at)
            if item is not None and item.data(_ROLE) is run:
                self.list.blockSignals(True)
                self._fill(item, run)
                self.list.blockSignals(False)

    def _mark(self) -> None:
        chosen = self._training.chosen
        self.list.blockSignals(True)
        self.list.setCurrentRow(-1)
        for at in range(self.list.count()):
            item = self.list.item(at)
            if item is not None and item.data(_ROLE) is chosen:
                self.list.setCurrentRow(at)
        self.list.blockSignals(False)
        self.new.setChecked(chosen is None)

    def _new(self) -> None:
        self.new.setChecked(True)
        self._training.choose(None)

    def _picked(self, items: list[QListWidgetItem]) -> None:
        for item in items:
            self._training.choose(item.data(_ROLE))

    def _ticked(self, item: QListWidgetItem) -> None:
        self._training.compare(item.data(_ROLE), item.checkState() == Qt.CheckState.Checked)


class _RunDelegate(QStyledItemDelegate):
    """Name, a line about it, how far it is, and a box to compare it by."""

    def sizeHint(self, option: QStyleOptionViewItem, index: Index) -> QSize:
        return QSize(120, line_height() + line_height("small") + 5 * STEP)

    def paint(self, painter: QPainter, option: QStyleOptionViewItem, index: Index) -> None:
        run = index.data(_ROLE)
        view = self.parent()
        if not isinstance(run, Run) or not isinstance(view, QWidget):
            return
        tokens = tokens_of(view)
        box: QRect = option.rect  # type: ignore[attr-defined]
        painter.save()
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        paint_row_ground(painter, option, tokens)
        room = box.adjusted(3 * STEP, 2 * STEP, -3 * STEP, -2 * STEP)
        checkable = bool(index.flags() & Qt.ItemFlag.ItemIsUserCheckable)
        if checkable:
            self._paint_box(painter, tokens, box, index)
            room.setRight(room.right() - BOX - 2 * STEP)
        painter.setFont(scaled_font(view, "normal"))
        metrics = painter.fontMetrics()
        painter.setPen(tokens.colour("text"))
        name = metrics.elidedText(run.name, Qt.TextElideMode.ElideMiddle, room.width())
        painter.drawText(room.left(), room.top() + metrics.ascent(), name)
        top = room.top() + metrics.height()
        painter.setFont(scaled_font(view, "small"))
        metrics = painter.fontMetrics()
        painter.setPen(tokens.colour("error" if run.state == State.FAILED else "muted"))
        words = metrics.elidedText(in_short(run), Qt.TextElideMode.ElideRight, room.width())
        painter.drawText(room.left(), top + metrics.ascent(), words)
        if run.live:
            self._paint_bar(
                painter,
                tokens,
                run,
                QRect(room.left(), top + metrics.height() + 3, room.width(), 3),
            )
        painter.restore()

    def _paint_bar(self, painter: QPainter, tokens: Tokens, run: Run, bar: QRect) -> None:
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(tokens.colour("line_strong", 110))
        painter.drawRoundedRect(bar, 1.5, 1.5)
        share = run.story.share
        if run.state == State.DATA and run.story.data and run.story.data[1]:
            share = run.story.data[0] / run.story.data[1]
        if share > 0:
            bar.setWidth(max(3, round(bar.width() * share)))
            painter.setBrush(tokens.colour("accent"))
            painter.drawRoundedRect(bar, 1.5, 1.5)

    def _box_rect(self, box: QRect) -> QRect:
        return QRect(box.right() - 3 * STEP - BOX + 1, box.center().y() - BOX // 2, BOX, BOX)

    def _paint_box(self, painter: QPainter, tokens: Tokens, box: QRect, index: Index) -> None:
        place = self._box_rect(box)
        on = Qt.CheckState(index.data(Qt.ItemDataRole.CheckStateRole)) == Qt.CheckState.Checked
        painter.setPen(QPen(tokens.colour("accent" if on else "line_strong"), 1))
        painter.setBrush(tokens.colour("accent" if on else "raised"))
        painter.drawRoundedRect(place.adjusted(0, 0, -1, -1), 3, 3)
        if on:
            paint_icon(
                painter, QRectF(place.adjusted(1, 1, -1, -1)), "check", tokens.colour("on_accent")
            )

    def editorEvent(
        self, event: QEvent, model: object, option: QStyleOptionViewItem, index: Index
    ) -> bool:
        """The box is ticked by a click on it, or by Space; a click beside it only chooses the run."""
        if not index.flags() & Qt.ItemFlag.ItemIsUserCheckable:
            return False
        if event.type() == QEvent.Type.KeyPress:
            assert isinstance(event, QKeyEvent)
            if event.key() != Qt.Key.Key_Space:
                return False
        elif event.type() in (
            QEvent.Type.MouseButtonPress,
            QEvent.Type.MouseButtonRelease,
            QEvent.Type.MouseButtonDblClick,
        ):
            assert isinstance(event, QMouseEvent)
            rect: QRect = option.rect  # type: ignore[attr-defined]
            near = self._box_rect(rect).adjusted(-6, -8, 8, 8)
            if not near.contains(event.position().toPoint()):
                return False
            if event.type() != QEvent.Type.MouseButtonRelease:
                return True
        else:
            return False
        on = Qt.CheckState(index.data(Qt.ItemDataRole.CheckStateRole)) == Qt.CheckState.Checked
        view = self.parent()
        item = view.item(index.row()) if isinstance(view, QListWidget) else None
        if item is not None:
            item.setCheckState(Qt.CheckState.Unchecked if on else Qt.CheckState.Checked)
        return True
