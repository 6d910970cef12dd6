"""The Library workspace: the lists, beside them a card, the guided task or the import, and the map."""

from __future__ import annotations

from pathlib import Path

from PySide6.QtCore import Qt, Signal
from PySide6.QtGui import QResizeEvent
from PySide6.QtWidgets import QFileDialog, QHBoxLayout, QMenu, QSplitter, QStackedWidget, QWidget

from app.intake import Arrived
from app.library.builds import Build
from app.library.ground import GroundMap
from app.library.import_page import ImportPage
from app.library.importing import ENDINGS
from app.library.item_list import ItemList
from app.library.item_page import ItemPage
from app.library.model import Library
from app.library.new_index import NewIndexPage
from app.training.model import Training
from app.widgets import StateCard
from engine.library import kind_of

NARROW = 900  # below this the list gives room to the page
LEAST_PAGE, LEAST_MAP = 300, 180


IMAGERY = (".tif", ".tiff", ".gtiff", ".vrt", ".mbtiles", ".tiles", ".server.json")


def _may_be_imagery(path: Path) -> bool:
    """Whether something dropped here is to be built of: photos are not, they belong to Locate."""
    return path.is_dir() or path.name.lower().endswith(IMAGERY)


def _is_zip(path: Path) -> bool:
    """Whether it can only be for the library, which says what it misses in it; photos never come so."""
    return path.name.lower().endswith(".zip")


class LibraryWorkspace(QWidget):
    """Composition, and what the dialogs ask."""

    used = Signal()  # something is being opened in Locate

    def __init__(self, library: Library, training: Training) -> None:
        super().__init__()
        self._library = library
        self.list = ItemList(library)
        self.page = ItemPage(library)
        self.ground = GroundMap(library)
        self.empty = StateCard()
        self.stack = QStackedWidget()
        self.new = NewIndexPage(library, self.ground)
        self.imports = ImportPage(library, training)
        for page in (self.page, self.new, self.imports, self.empty):
            self.stack.addWidget(page)
        self.stack.setMinimumWidth(LEAST_PAGE)
        self.ground.setMinimumWidth(LEAST_MAP)
        self._split = QSplitter(Qt.Orientation.Horizontal)
        self._split.setHandleWidth(1)
        self._split.setChildrenCollapsible(False)
        self._split.addWidget(self.stack)
        self._split.addWidget(self.ground)
        self._split.setStretchFactor(0, 1)
        self._split.setStretchFactor(1, 1)
        self._split.setSizes([460, 540])
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.setSpacing(0)
        row.addWidget(self.list)
        row.addWidget(self._split, 1)
        self.list.kind_changed.connect(self.refresh)
        self.list.add_asked.connect(self.ask_for_items)
        self.page.used.connect(self.used)
        self.page.build.change_asked.connect(self._change)
        self.new.start_asked.connect(library.begin)
        library.leaving.connect(self.ground.forget)
        library.chosen_changed.connect(self.refresh)
        library.changed.connect(self.refresh)
        self.refresh()

    def refresh(self) -> None:
        """Show the page that is looked at."""
        library = self._library
        entry = library.entry
        making = library.page == "new"
        with_map = making or (entry is not None and entry.item.kind == "index")
        if entry is None:
            self._say_empty()
        shown: QWidget = self.page if entry is not None else self.empty
        if library.page != "item":
            shown = self.new if making else self.imports
        changed = self.stack.currentWidget() is not shown
        if changed and self.stack.currentWidget() is self.new:
            self.new.leave()
        self.stack.setCurrentWidget(shown)
        self.ground.setVisible(with_map)
        if shown is self.imports and changed:
            self.imports.open()
        if making and changed:
            self.ground.clear()
            self.new.show_map()
        elif not making:
            self.ground.show_entry(entry)
        self.page.refresh()

    def _change(self, build: Build) -> None:
        """The form again, with what was asked of a build that cannot be carried out."""
        plan = build.plan
        self._library.discard(build)
        self._library.show("new")
        self.new.fill(plan)

    def _say_empty(self) -> None:
        if not self._library.loaded:
            self.empty.say("library", self.tr("Looking at the library…"))
            return
        if self.list.kind == "index":
            self.empty.say(
                "area",
                self.tr("No index is here yet"),
                self.tr(
                    "An index is an area that photos can be located in. Make one of your own imagery, "
                    "or drop the folder NAME.index of one that somebody gave you onto this window."
                ),
                [
                    (self.tr("New index…"), lambda: self._library.show("new")),
                    (self.tr("Add from disk…"), self.ask_for_items),
                ],
            )
        else:
            self.empty.say(
                "encoder",
                self.tr("No encoder is here yet"),
                self.tr(
                    "An encoder turns photos and aerial tiles into numbers that can be compared. Drop the "
                    "folder or the zip of one onto this window, train one, or import a released checkpoint."
                ),
                [
                    (self.tr("Add from disk…"), self.ask_for_items),
                    (self.tr("Import a checkpoint…"), lambda: self._library.show("import")),
                ],
            )

    def take(self, arrived: Arrived) -> bool:
        """Bring in what was dropped; returns whether it was anything for the library."""
        items = [*arrived.encoders, *arrived.indexes]
        items += [path for path in arrived.files if kind_of(path) is not None or _is_zip(path)]
        if items:
            self._library.install(items)
            return True
        weights = [path for path in arrived.files if path.name.lower().endswith(ENDINGS)]
        if weights:
            self._library.show("import")
            self.imports.set_checkpoint(weights[-1])
            return True
        imagery = [path for path in arrived.files if _may_be_imagery(path)]
        if imagery:
            self._library.show("new")
            self.new.set_imagery(imagery[-1])
        return bool(imagery)

    def ask_for_items(self) -> None:
        """Ask for a folder or a zip, and bring it in."""
        menu = QMenu(self)
        menu.addAction(self.tr("A folder (NAME.index or NAME.encoder)…"), self._ask_folder)
        menu.addAction(self.tr("A zip file…"), self._ask_zip)
        menu.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        button = self.list.add
        menu.popup(button.mapToGlobal(button.rect().topLeft()))

    def _ask_folder(self) -> None:
        name = QFileDialog.getExistingDirectory(
            self,
            self.tr("Choose the folder of an index or an encoder"),
            self._library.store.now.folder,
        )
        if name:
            self._library.install([Path(name)])

    def _ask_zip(self) -> None:
        names, _ = QFileDialog.getOpenFileNames(
            self,
            self.tr("Choose zips of indexes or encoders"),
            self._library.store.now.folder,
            self.tr("Zip files ({0})").format("*.zip"),
        )
        if names:
            self._library.install([Path(name) for name in names])

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        self.list.set_narrow(self.width() < NARROW)

    def shut_down(self) -> None:
        """With the window."""
        self.ground.shut_down()
