"""The main window: composition, actions, what arrives by drop and paste, and leaving in good order."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from PySide6.QtCore import QByteArray, QPoint, Qt, QTimer
from PySide6.QtGui import (
    QCloseEvent,
    QDragEnterEvent,
    QDragLeaveEvent,
    QDropEvent,
    QGuiApplication,
    QKeyEvent,
    QKeySequence,
    QResizeEvent,
)
from PySide6.QtWidgets import (
    QFileDialog,
    QHBoxLayout,
    QMainWindow,
    QMenu,
    QStackedWidget,
    QVBoxLayout,
    QWidget,
)

from app import intake
from app.about import AboutDialog, about_encoder, about_index
from app.actions import Actions
from app.drop_hint import DropHint
from app.header import Header
from app.icons import application_icon
from app.library.model import Library
from app.notices import headline_of, remedy_of
from app.rail import LIBRARY, LOCATE, TRAIN, Rail
from app.results.words import coordinates
from app.session import Session
from app.settings.panel import SettingsPanel
from app.settings.preferences import PreferenceStore
from app.status import NoticeCard, NoticeList, StatusLine
from app.theme import STEP, Theme
from app.training.model import Training
from app.workspace import LocateActions, Workspace
from engine.shipped import shipped_encoder, shipped_index

if TYPE_CHECKING:
    from app.library.workspace import LibraryWorkspace
    from app.training.workspace import TrainWorkspace

WAKE_MS = 1200  # after the start, before runs of an earlier window are looked for


class MainWindow(QMainWindow):
    """Everything the user sees; the state lives in the session."""

    def __init__(self, session: Session, store: PreferenceStore, theme: Theme) -> None:
        super().__init__()
        self.session, self.store, self.theme = session, store, theme
        self.setWindowTitle(self.tr("Nadir"))
        self.setWindowIcon(application_icon())
        self.setAcceptDrops(True)
        self.actions_ = Actions(self)
        menu = QMenu(self)
        self.actions_.fill(menu)
        self.header = Header(session.bench, self.actions_.open_photos, self.actions_.paste, menu)
        self.rail = Rail()
        self.workspace = Workspace(
            session,
            LocateActions(
                open_photos=self.actions_.open_photos,
                copy=self.actions_.copy,
                compare=self.actions_.compare,
                export=self.actions_.export,
            ),
            lambda: self.demo is not None,
        )
        self.training = Training(session.jobs, session.notices, store, self)
        self._train: TrainWorkspace | None = (
            None  # made when it is first looked at: it loads pyqtgraph
        )
        self.library = Library(session, store, self)
        self._shelves: LibraryWorkspace | None = None  # likewise
        self._pages = QStackedWidget()
        self._pages.addWidget(self.workspace)
        self.status = StatusLine(session)
        self._lay_out()
        self.settings = SettingsPanel(session, store, theme, self)
        self.notice = NoticeCard(self)
        self.notice_list = NoticeList(session.notices, self)
        self._drop = DropHint(self)
        self._had_photos = False
        self._wire()
        self._refresh_actions()
        # Not the header's first button, which Qt would take: Space would open its menu.
        self.workspace.setFocus()

    def _lay_out(self) -> None:
        whole = QWidget()
        column = QVBoxLayout(whole)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(0)
        column.addWidget(self.header)
        middle = QHBoxLayout()
        middle.setContentsMargins(0, 0, 0, 0)
        middle.setSpacing(0)
        middle.addWidget(self.rail)
        middle.addWidget(self._pages, 1)
        column.addLayout(middle, 1)
        column.addWidget(self.status)
        self.setCentralWidget(whole)

    def _wire(self) -> None:
        session = self.session
        self.header.index_asked.connect(self.open_index)
        self.header.encoder_asked.connect(self.open_encoder)
        self.header.about_asked.connect(self.show_about)
        self.rail.settings.clicked.connect(self.show_settings)
        self.rail.chosen.connect(self.show_workspace)
        self.training.live_changed.connect(self._live_changed)
        self.library.live_changed.connect(self._building_changed)
        self.library.build_changed.connect(lambda _: self._building_changed())
        QTimer.singleShot(WAKE_MS, self, self.training.wake)
        QTimer.singleShot(WAKE_MS, self, self.library.wake)
        self.status.bell.clicked.connect(lambda: self.notice_list.open_over(self.status.bell))
        self.workspace.welcome.sample_picked.connect(lambda path: session.add_files([path]))
        self.workspace.open_index_asked.connect(self.open_index)
        self.workspace.open_encoder_asked.connect(self.open_encoder)
        self.workspace.demo_asked.connect(self.open_demo)
        self.workspace.answer.caveat_asked.connect(lambda: self.show_about("encoder"))
        self.workspace.map.failed.connect(lambda why: session.notices.post("warning", why))
        session.notices.arrived.connect(self.notice.show_notice)
        session.overlay_changed.connect(self._overlay_changed)
        session.bench.ready.connect(self._opened)
        for signal in (session.current_changed, session.answer_changed, session.compare_changed):
            signal.connect(self._refresh_actions)
        session.photos_changed.connect(self._photos_changed)
        self.store.changed.connect(self._preferences_changed)
        self.store.not_kept.connect(session.notices.post_error)
        if self.store.damage is not None:
            QTimer.singleShot(0, self, self._tell_damage)
        self._preferences_changed()

    # Workspaces -------------------------------------------------------------------------------------------------

    @property
    def train(self) -> TrainWorkspace:
        """The Train workspace, made when it is first asked for."""
        if self._train is None:
            from app.training.workspace import TrainWorkspace

            self._train = TrainWorkspace(self.training, self.session)
            self._train.put_to_use.connect(lambda: self.show_workspace(LOCATE))
            self._pages.addWidget(self._train)
        return self._train

    @property
    def shelves(self) -> LibraryWorkspace:
        """The Library workspace, made when it is first asked for."""
        if self._shelves is None:
            from app.library.workspace import LibraryWorkspace

            self._shelves = LibraryWorkspace(self.library, self.training)
            self._shelves.used.connect(lambda: self.show_workspace(LOCATE))
            self._pages.addWidget(self._shelves)
        return self._shelves

    @property
    def locating(self) -> bool:
        """Whether the Locate workspace is in front."""
        return self._pages.currentWidget() is self.workspace

    def show_workspace(self, name: str) -> None:
        """Bring Locate, the Library or Train to the front."""
        self.rail.show_chosen(name)
        if name != TRAIN:
            self.training.leave()
        if name != LIBRARY:
            self.library.leave()
        if name == TRAIN:
            self._pages.setCurrentWidget(self.train)
            self.training.open()
        elif name == LIBRARY:
            self._pages.setCurrentWidget(self.shelves)
            self.library.open()
        else:
            self._pages.setCurrentWidget(self.workspace)
            self._to_photos()
        self._refresh_actions()

    def _to_photos(self) -> None:
        """Give the keyboard to the candidates, where Space compares, unless somebody put it into the page."""
        held = self.focusWidget() or self
        if self.session.photos and (held is self.workspace or self.rail.isAncestorOf(held)):
            self.workspace.take_keys()

    def _photos_changed(self) -> None:
        """The first photo gets the keyboard wherever it was; later ones leave it where it is."""
        first = not self._had_photos
        self._had_photos = bool(self.session.photos)
        if first and self.session.photos and self.locating:
            self.workspace.take_keys()
        else:
            self._to_photos()

    def focusNextPrevChild(self, next: bool) -> bool:
        """Go on to the next widget. What had the keyboard may be gone (a button hidden, or out of use): then Qt
        takes the next in line, which past the end of a page is the header; the page itself gets it instead.
        """
        held, page = self.focusWidget(), self._pages.currentWidget()
        lost = held is not None and not (held.isVisible() and held.isEnabled())
        moved = super().focusNextPrevChild(next)
        if lost and page is not None and held is not None and self._pages.isAncestorOf(held):
            now = self.focusWidget()
            if now is None or not page.isAncestorOf(now):
                page.setFocus()
        return moved

    def _live_changed(self) -> None:
        live = bool(self.training.live)
        words = self.tr("Train: a run is at work") if live else self.tr("Train")
        self.rail.train.set_busy(live, words)

    def _building_changed(self) -> None:
        live = bool(self.library.live)
        words = self.tr("Library: an index is being built") if live else self.tr("Library")
        self.rail.library.set_busy(live, words)
        hosts = [host for build in self.library.live for host in build.plan.allow]
        self.header.set_asked(", ".join(dict.fromkeys(hosts)))

    # Opening ----------------------------------------------------------------------------------------------------

    @property
    def demo(self) -> tuple[Path, Path] | None:
        """The encoder and index that come with the program, where they do."""
        encoder, index = shipped_encoder(), shipped_index()
        return (encoder, index) if encoder is not None and index is not None else None

    def open_demo(self) -> None:
        """Open what comes with the program."""
        if self.demo is not None:
            self.session.bench.open(*self.demo)

    def open_index(self, path: Path | None = None) -> None:
        """Open an area, asking which where none is named."""
        if path is None:
            folder = QFileDialog.getExistingDirectory(
                self, self.tr("Open an area: choose its .index folder"), self.store.now.folder
            )
            path = Path(folder) if folder else None
        if path is not None:
            self.session.bench.open(None, path)

    def open_encoder(self, path: Path | None = None) -> None:
        """Open an encoder, asking which where none is named."""
        if path is None:
            name, _ = QFileDialog.getOpenFileName(
                self,
                self.tr("Open an encoder: choose card.json in its folder, or its zip file"),
                self.store.now.folder,
                self.tr("Encoders ({0})").format("card.json *.zip"),
            )
            path = intake.encoder_of(Path(name)) if name else None
        if path is not None:
            self.session.bench.open(path, None)

    def open_photos(self) -> None:
        """Ask for photos."""
        endings = " ".join(f"*.{ending} *.{ending.upper()}" for ending in intake.PICTURE_ENDINGS)
        names, _ = QFileDialog.getOpenFileNames(
            self,
            self.tr("Open photos"),
            self.store.now.folder,
            self.tr("Pictures ({0});;All files (*)").format(endings),
        )
        if names:
            self.store.change(folder=str(Path(names[0]).parent))
            self.take(intake.sort_paths([Path(name) for name in names]))

    def take(self, arrived: intake.Arrived) -> None:
        """Use what was dropped or pasted; in the Library it is added to that."""
        if self._pages.currentWidget() is self._shelves and self._to_library(arrived):
            return
        if not arrived.empty:
            self.show_workspace(LOCATE)
        encoder = arrived.encoders[-1] if arrived.encoders else None
        index = arrived.indexes[-1] if arrived.indexes else None
        if encoder is not None or index is not None:
            self.session.bench.open(encoder, index)
        theirs = [path for path in arrived.files if intake.is_for_library(path)]
        photos = [path for path in arrived.files if path not in theirs]
        if photos:
            self.session.add_files(photos)
        if arrived.pictures:
            self.session.add(list(arrived.pictures))
        if theirs:
            self.show_workspace(LIBRARY)
        for path in theirs:
            self._to_library(intake.Arrived(files=[path]))
        if arrived.empty and arrived.addresses:
            self.session.notices.post(
                "warning",
                self.tr(
                    "Only the picture's address came with it, and Nadir fetches nothing from the network."
                ),
                self.tr(
                    "Save the picture to a file and drop that, or copy the picture itself and paste it."
                ),
            )
        elif arrived.empty:
            self.session.notices.post("warning", self.tr("There is no picture in what was pasted."))

    def _to_library(self, arrived: intake.Arrived) -> bool:
        """Whether what was dropped belonged there; photos do not."""
        weights = [path for path in arrived.files if intake.are_weights(path)]
        if weights:
            words = self.tr("{0}: these are a network's weights. Imported, they become an encoder.")
            self.session.notices.post("info", words.format(weights[-1].name))
        return self.shelves.take(arrived)

    def paste(self) -> None:
        """Take what is on the clipboard."""
        data = QGuiApplication.clipboard().mimeData()
        if data is not None:
            self.take(intake.take(data, self.tr("Pasted picture")))

    def _opened(self) -> None:
        bench = self.session.bench
        self.store.remember(bench.encoder.path, bench.index.path)

    # Doing ------------------------------------------------------------------------------------------------------

    def copy_coordinates(self) -> None:
        """Put the candidate's place on the clipboard."""
        candidate = self.session.candidate
        if candidate is not None:
            QGuiApplication.clipboard().setText(coordinates(candidate))
            self.session.notices.post("info", self.tr("Copied {0}").format(coordinates(candidate)))

    def export(self) -> None:
        """Ask for a file, and write the answer there."""
        item = self.session.current
        if item is None or self.session.result is None:
            return
        start = Path(self.store.now.folder) / f"{Path(item.name).stem}.geojson"
        name, chosen = QFileDialog.getSaveFileName(
            self,
            self.tr("Export the result"),
            str(start),
            self.tr(
                "GeoJSON (*.geojson);;KML (*.kml);;GPX (*.gpx);;Table (*.csv);;Report (*.html);;JSON (*.json);;"
                "Text (*.txt)"
            ),
        )
        if name:
            path = Path(name)
            if not path.suffix:
                path = path.with_suffix(chosen[chosen.rindex("*") + 1 : -1])
            self.session.export(path)

    def toggle_compare(self) -> None:
        """Open or close the comparison."""
        self.session.set_comparing(not self.session.comparing)

    def remove_photo(self) -> None:
        """Take the current photo off the tray."""
        if self.session.current is not None:
            self.session.remove(self.session.current)

    def escape(self) -> None:
        """Dismiss what lies on top: a notice, the comparison, the work."""
        if self.notice.isVisible():
            self.notice.hide()
        elif self.session.comparing:
            self.session.set_comparing(False)
        else:
            self.session.stop()

    def show_settings(self) -> None:
        """Open the settings beside the rail's foot."""
        self.settings.refresh()
        self.settings.adjustSize()
        corner = self.rail.settings.mapToGlobal(QPoint(self.rail.settings.width() + 2 * STEP, 0))
        top = corner.y() + self.rail.settings.height() - self.settings.height()
        self.settings.move(corner.x(), top)
        self.settings.show()
        self.settings.theme.button(self.theme.mode).setFocus()

    def show_about(self, what: str) -> None:
        """A page about the open encoder or area."""
        bench = self.session.bench
        if what == "encoder" and bench.encoder.value is not None:
            AboutDialog(bench.encoder.name, about_encoder(bench.encoder.value), self).open()
        elif what == "index" and bench.index.value is not None:
            AboutDialog(bench.index.name, about_index(bench.index.value), self).open()

    # Keeping up -------------------------------------------------------------------------------------------------

    def _refresh_actions(self) -> None:
        answered = self.session.candidate is not None and self.locating
        actions = self.actions_
        needing = (actions.copy, actions.export, actions.compare)
        for action in (*needing, actions.following, actions.previous):
            action.setEnabled(answered)
        self.actions_.compare.setChecked(self.session.comparing)
        self.actions_.remove.setEnabled(self.session.current is not None and self.locating)

    def _overlay_changed(self) -> None:
        session = self.session
        self.actions_.overlay.setChecked(session.overlay_shown)
        self.store.change(overlay=session.overlay_shown, opacity=session.overlay_opacity)

    def _preferences_changed(self) -> None:
        now = self.store.now
        self.rail.set_words(now.rail_text)
        self.header.set_choices(now.recent_encoders, now.recent_indexes, self.demo)
        encoders, indexes = [*map(Path, now.recent_encoders)], [*map(Path, now.recent_indexes)]
        if self.demo is not None:
            encoders.append(self.demo[0])
            indexes.append(self.demo[1])
        self.session.bench.known = (tuple(encoders), tuple(indexes))

    def _tell_damage(self) -> None:
        damage = self.store.damage
        if damage is not None:
            self.session.notices.post("warning", headline_of(damage), remedy_of(damage))

    # Events -----------------------------------------------------------------------------------------------------

    def dragEnterEvent(self, event: QDragEnterEvent) -> None:
        if intake.welcome(event.mimeData()):
            event.setDropAction(Qt.DropAction.CopyAction)
            event.accept()
            self._drop.cover(
                self.tr("Drop to locate")
                if self._pages.currentWidget() is not self._shelves
                else self.tr("Drop to add to the library")
            )

    def dragLeaveEvent(self, event: QDragLeaveEvent) -> None:
        self._drop.hide()

    def dropEvent(self, event: QDropEvent) -> None:
        self._drop.hide()
        event.setDropAction(Qt.DropAction.CopyAction)
        event.accept()
        arrived = intake.take(event.mimeData(), self.tr("Dropped picture"))
        # After the drop has been answered, so that the program it came from is not kept waiting.
        QTimer.singleShot(0, lambda: self.take(arrived))

    def keyPressEvent(self, event: QKeyEvent) -> None:
        """Keys that no focused widget wanted."""
        session = self.session
        if not self.locating:
            super().keyPressEvent(event)
        elif event.key() == Qt.Key.Key_Space and session.result is not None:
            self.toggle_compare()
        elif session.result is not None and event.key() in (Qt.Key.Key_Left, Qt.Key.Key_Right):
            session.step(1 if event.key() == Qt.Key.Key_Right else -1)
        elif event.matches(QKeySequence.StandardKey.Copy):
            self.copy_coordinates()
        else:
            super().keyPressEvent(event)

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        self.notice.place()
        self._drop.setGeometry(self.rect())

    def restore(self, size: tuple[int, int]) -> None:
        """Take the place of last time, else a size of its own, within the screen."""
        kept = QByteArray.fromBase64(self.store.now.window.encode("ascii", "ignore"))
        if kept.isEmpty() or not self.restoreGeometry(kept):
            room = self.screen().availableGeometry()
            self.resize(min(size[0], room.width()), min(size[1], room.height()))

    def closeEvent(self, event: QCloseEvent) -> None:
        self.store.change(window=bytes(self.saveGeometry().toBase64().data()).decode())
        self.store.flush()
        self.workspace.map.shut_down()
        if self._shelves is not None:
            self._shelves.shut_down()
        self.session.shut_down()
        event.accept()
