"""The list on the left: indexes or encoders, narrowed by what is typed, and the ways to more of them."""

from __future__ import annotations

from PySide6.QtCore import QModelIndex, QPersistentModelIndex, QRect, QSize, Qt, Signal
from PySide6.QtGui import QPainter
from PySide6.QtWidgets import (
    QFrame,
    QHBoxLayout,
    QLineEdit,
    QListWidget,
    QListWidgetItem,
    QPushButton,
    QStyledItemDelegate,
    QStyleOptionViewItem,
    QVBoxLayout,
    QWidget,
)

from app.icons import icon
from app.library.builds import Build, State
from app.library.model import Entry, Library
from app.library.words import in_short
from app.theme import STEP, Tokens, line_height, scaled_font, tokens_of
from app.widgets import Segments, label, paint_row_ground
from engine.library import Kind

WIDTH, NARROW = 248, 196
MANY = 8  # items from which on the list can be narrowed
_ROLE = Qt.ItemDataRole.UserRole
Index = QModelIndex | QPersistentModelIndex


class ItemList(QFrame):
    """Watches the library."""

    add_asked = Signal()
    kind_changed = Signal()

    def __init__(self, library: Library) -> None:
        super().__init__()
        self._library = library
        self._kind: Kind = "index"
        self.setProperty("place", "panel")
        self.setProperty("line", "right")
        self.setFixedWidth(WIDTH)
        self.kinds = Segments(
            self.tr("Show"),
            (("index", self.tr("Indexes"), ""), ("encoder", self.tr("Encoders"), "")),
        )
        self.kinds.chosen.connect(self._kind_chosen)
        self.kinds.show_value("index")
        self.new = QPushButton(self.tr("New index…"))
        self.new.setIcon(icon("add"))
        self.new.setCheckable(True)
        self.new.setToolTip(self.tr("Make an index of your own imagery, step by step"))
        self.new.clicked.connect(lambda: self._page("new"))
        self.import_ = QPushButton(self.tr("Import a checkpoint…"))
        self.import_.setIcon(icon("export"))
        self.import_.setCheckable(True)
        self.import_.setToolTip(self.tr("Make an encoder of weights that others have released"))
        self.import_.clicked.connect(lambda: self._page("import"))
        self.add = QPushButton(self.tr("Add from disk…"))
        self.add.setIcon(icon("open"))
        self.add.setToolTip(
            self.tr("Copy an index or an encoder into the library; or drop it on the window")
        )
        self.add.clicked.connect(self.add_asked)
        self.search = QLineEdit()
        self.search.setPlaceholderText(self.tr("Find by name"))
        self.search.setAccessibleName(self.tr("Find by name"))
        self.search.setClearButtonEnabled(True)
        self.search.textChanged.connect(lambda _: self.refresh())
        self.list = QListWidget()
        self.list.setItemDelegate(_Delegate(self.list))
        self.list.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.list.setMouseTracking(True)
        self.list.currentItemChanged.connect(lambda now, _: self._picked(now))
        self.list.itemClicked.connect(self._picked)
        self.none = label(muted=True, wrap=True)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 3 * STEP, 0, 2 * STEP)
        column.setSpacing(2 * STEP)
        head = QVBoxLayout()
        head.setContentsMargins(3 * STEP, 0, 3 * STEP, 0)
        head.setSpacing(2 * STEP)
        kinds = QHBoxLayout()
        kinds.addWidget(self.kinds)
        kinds.addStretch(1)
        head.addLayout(kinds)
        head.addWidget(self.search)
        head.addWidget(self.none)
        column.addLayout(head)
        column.addWidget(self.list, 1)
        foot = QVBoxLayout()
        foot.setContentsMargins(3 * STEP, 0, 3 * STEP, 0)
        foot.setSpacing(2 * STEP)
        for button in (self.new, self.import_, self.add):
            foot.addWidget(button)
        column.addLayout(foot)
        library.changed.connect(self.refresh)
        library.entry_changed.connect(lambda _: self.refresh())
        library.build_changed.connect(lambda _: self.refresh())
        library.chosen_changed.connect(self._chosen)
        self.refresh()

    @property
    def kind(self) -> Kind:
        """What is listed."""
        return self._kind

    def set_narrow(self, narrow: bool) -> None:
        """Take less room."""
        self.setFixedWidth(NARROW if narrow else WIDTH)

    def refresh(self) -> None:
        """Show what there is."""
        library = self._library
        wanted = self.search.text().casefold().strip()
        every = library.listed(self._kind)
        shown = [
            e for e in every if wanted in e.item.name.casefold() or wanted in e.path.name.casefold()
        ]
        self.search.setVisible(len(every) >= MANY or bool(wanted))
        self.list.blockSignals(True)
        while self.list.count() > len(shown):
            self.list.takeItem(self.list.count() - 1)
        while self.list.count() < len(shown):
            self.list.addItem(QListWidgetItem())
        for at, entry in enumerate(shown):
            item = self.list.item(at)
            assert item is not None
            self._fill(item, entry)
        self.list.blockSignals(False)
        text = ""
        if wanted and not shown:
            text = self.tr("Nothing here has such a name.")
        elif not every and library.loaded:
            text = self.tr("No index yet.") if self._kind == "index" else self.tr("No encoder yet.")
        self.none.setText(text)
        self.none.setVisible(bool(text))
        for kind, words in (("index", self.tr("Indexes")), ("encoder", self.tr("Encoders"))):
            count = len(library.listed(kind))  # type: ignore[arg-type]
            button = self.kinds.button(kind)
            button.setText(f"{words} {count}" if library.loaded else words)
        self.new.setVisible(self._kind == "index")
        self.import_.setVisible(self._kind == "encoder")
        self._mark()

    def _fill(self, item: QListWidgetItem, entry: Entry) -> None:
        build = self._library.build_of(entry.path)
        words = self._library.busy.get(entry.path) or in_short(entry.item, build)
        title = self._library.title(entry)
        item.setData(_ROLE, (entry, build, words))
        item.setText(title)
        item.setToolTip(f"{title}\n{words}\n{entry.path}")
        item.setData(Qt.ItemDataRole.AccessibleTextRole, f"{title}, {words}")

    def _chosen(self) -> None:
        entry, page = self._library.entry, self._library.page
        kind: Kind = "index" if page == "new" else "encoder" if page == "import" else self._kind
        kind = entry.item.kind if entry is not None else kind
        if kind != self._kind:
            self.show_kind(kind)
        else:
            self._mark()

    def _mark(self) -> None:
        library = self._library
        self.list.blockSignals(True)
        row = -1
        if library.page == "item":
            for at in range(self.list.count()):
                item = self.list.item(at)
                if item is not None and item.data(_ROLE)[0].path == library.chosen:
                    row = at
        self.list.setCurrentRow(row)
        self.list.blockSignals(False)
        self.new.setChecked(library.page == "new")
        self.import_.setChecked(library.page == "import")

    def show_kind(self, kind: Kind) -> None:
        """List the other kind."""
        self._kind = kind
        self.kinds.show_value(kind)
        self.search.blockSignals(True)
        self.search.clear()
        self.search.blockSignals(False)
        self.refresh()

    def _kind_chosen(self, kind: str) -> None:
        self.show_kind(kind)  # type: ignore[arg-type]
        first = next(iter(self._library.listed(self._kind)), None)
        self._library.choose(first.path if first is not None else None)
        self.kind_changed.emit()

    def _page(self, page: str) -> None:
        self._library.show(page)  # type: ignore[arg-type]
        self._mark()

    def _picked(self, item: QListWidgetItem | None) -> None:
        if item is not None:
            self._library.choose(item.data(_ROLE)[0].path)


class _Delegate(QStyledItemDelegate):
    """Name, a line about it, and how far it is while it is built."""

    def sizeHint(self, option: QStyleOptionViewItem, index: Index) -> QSize:
        return QSize(120, line_height() + line_height("small") + 5 * STEP)

    def paint(self, painter: QPainter, option: QStyleOptionViewItem, index: Index) -> None:
        data, view = index.data(_ROLE), self.parent()
        if data is None or not isinstance(view, QWidget):
            return
        entry, build, words = data
        tokens = tokens_of(view)
        box: QRect = option.rect  # type: ignore[attr-defined]
        painter.save()
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        paint_row_ground(painter, option, tokens)
        room = box.adjusted(3 * STEP, 2 * STEP, -3 * STEP, -2 * STEP)
        painter.setFont(scaled_font(view, "normal"))
        metrics = painter.fontMetrics()
        painter.setPen(tokens.colour("text"))
        name = metrics.elidedText(str(index.data()), Qt.TextElideMode.ElideMiddle, room.width())
        painter.drawText(room.left(), room.top() + metrics.ascent(), name)
        top = room.top() + metrics.height()
        painter.setFont(scaled_font(view, "small"))
        metrics = painter.fontMetrics()
        failed = entry.item.error is not None or (
            build is not None and build.state in (State.FAILED, State.BROKEN_OFF)
        )
        painter.setPen(tokens.colour("error" if failed else "muted"))
        line = metrics.elidedText(words, Qt.TextElideMode.ElideRight, room.width())
        painter.drawText(room.left(), top + metrics.ascent(), line)
        if build is not None and build.state != State.DONE:
            bar = QRect(room.left(), top + metrics.height() + 3, room.width(), 3)
            _paint_bar(painter, tokens, build, bar)
        painter.restore()


def _paint_bar(painter: QPainter, tokens: Tokens, build: Build, bar: QRect) -> None:
    painter.setPen(Qt.PenStyle.NoPen)
    painter.setBrush(tokens.colour("line_strong", 110))
    painter.drawRoundedRect(bar, 1.5, 1.5)
    if build.story.share > 0:
        bar.setWidth(max(3, round(bar.width() * build.story.share)))
        painter.setBrush(tokens.colour("accent" if build.live else "line_strong"))
        painter.drawRoundedRect(bar, 1.5, 1.5)
