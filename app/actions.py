"""Everything the window can do, once: the menu, the buttons and the keys all use these."""

from __future__ import annotations

from typing import TYPE_CHECKING

from PySide6.QtCore import QObject
from PySide6.QtGui import QAction, QKeySequence, QShortcut
from PySide6.QtWidgets import QMenu

from app.about import AboutDialog
from app.guide import GuideDialog
from app.licences import LicencesDialog
from app.rail import LIBRARY, LOCATE, TRAIN
from app.widgets import make_action

if TYPE_CHECKING:
    from app.main_window import MainWindow


class Actions(QObject):
    """Makes the actions of a main window and gives it their keys."""

    def __init__(self, window: MainWindow) -> None:
        super().__init__(window)
        self._window = window
        session = window.session
        self.open_photos = make_action(
            window,
            self.tr("Open…"),
            "open",
            window.open_photos,
            keys=["Ctrl+O"],
            tip=self.tr("Open photos"),
        )
        self.paste = make_action(
            window,
            self.tr("Paste"),
            "paste",
            window.paste,
            keys=["Ctrl+V"],
            tip=self.tr("Paste a photo"),
        )
        self.open_index = make_action(
            window,
            self.tr("Open an area…"),
            "area",
            lambda: window.open_index(),
            keys=["Ctrl+Shift+O"],
        )
        self.open_encoder = make_action(
            window, self.tr("Open an encoder…"), "encoder", lambda: window.open_encoder()
        )
        self.export = make_action(
            window,
            self.tr("Export…"),
            "export",
            window.export,
            keys=["Ctrl+E"],
            tip=self.tr("Export the result as JSON or GeoJSON"),
        )
        self.remove = make_action(
            window,
            self.tr("Take the photo off the tray"),
            "trash",
            window.remove_photo,
            keys=["Ctrl+W"],
        )
        self.copy = make_action(
            window,
            self.tr("Copy coordinates"),
            "copy",
            window.copy_coordinates,
            keys=["Ctrl+Shift+C"],
        )
        self.compare = make_action(
            window,
            self.tr("Compare"),
            "compare",
            window.toggle_compare,
            tip=self.tr("Compare photo and tile (Space)"),
            checkable=True,
        )
        _name_key(self.compare, self.tr("Space"))
        self.overlay = make_action(
            window,
            self.tr("Heat maps"),
            "heat",
            lambda on: session.set_overlay(shown=on),
            keys=["H"],
            checkable=True,
        )
        self.overlay.setChecked(session.overlay_shown)
        self.stronger = make_action(
            window, self.tr("Stronger heat maps"), "opacity", lambda: _fade(window, 0.1), keys=["]"]
        )
        self.weaker = make_action(
            window, self.tr("Weaker heat maps"), "opacity", lambda: _fade(window, -0.1), keys=["["]
        )
        self.following = make_action(
            window, self.tr("Next candidate"), "next", lambda: session.step(1), keys=["Alt+Right"]
        )
        self.previous = make_action(
            window,
            self.tr("Previous candidate"),
            "previous",
            lambda: session.step(-1),
            keys=["Alt+Left"],
        )
        _name_key(self.following, "→")
        _name_key(self.previous, "←")
        self.locate = make_action(
            window,
            self.tr("Locate photos"),
            "locate",
            lambda: window.show_workspace(LOCATE),
            keys=["Ctrl+1"],
        )
        self.library = make_action(
            window,
            self.tr("Indexes and encoders"),
            "library",
            lambda: window.show_workspace(LIBRARY),
            keys=["Ctrl+2"],
        )
        self.train = make_action(
            window,
            self.tr("Train an encoder"),
            "train",
            lambda: window.show_workspace(TRAIN),
            keys=["Ctrl+3"],
        )
        self.settings = make_action(
            window, self.tr("Settings"), "settings", window.show_settings, keys=["Ctrl+,"]
        )
        self.keys = make_action(window, self.tr("Keys"), "keyboard", self.show_keys, keys=["F1"])
        self.guide = make_action(window, self.tr("Guide"), "guide", self.show_guide)
        self.licences = make_action(window, self.tr("Licences"), "info", self.show_licences)
        self.quit = make_action(window, self.tr("Quit"), "close", window.close, keys=["Ctrl+Q"])
        for rank in range(1, 10):
            shortcut = QShortcut(QKeySequence(str(rank)), window)
            shortcut.activated.connect(lambda rank=rank: session.select(rank))
        QShortcut(QKeySequence("Escape"), window).activated.connect(window.escape)
        QShortcut(QKeySequence("F10"), window).activated.connect(
            lambda: window.header.menu_button.showMenu()
        )

    def fill(self, menu: QMenu) -> None:
        """Put them into the window's menu."""
        for group in (
            (self.open_photos, self.paste, self.open_index, self.open_encoder, self.export),
            (self.compare, self.overlay, self.stronger, self.weaker),
            (self.previous, self.following, self.copy, self.remove),
            (self.locate, self.library, self.train),
            (self.settings, self.guide, self.keys, self.licences, self.quit),
        ):
            menu.addActions(list(group))
            if group[-1] is not self.quit:
                menu.addSeparator()

    def show_guide(self) -> None:
        """The pages that say how to do things, and which version this is."""
        GuideDialog(self._window.session.jobs, self._window).open()

    def show_licences(self) -> None:
        """A page of everything the program contains, and on what terms."""
        LicencesDialog(self._window.session.jobs, self._window).open()

    def show_keys(self) -> None:
        """A page of all keys."""
        rows = [
            (action.shortcut().toString(), action.text().partition("\t")[0].rstrip("…"))
            for action in (
                self.open_photos,
                self.paste,
                self.open_index,
                self.export,
                self.overlay,
                self.weaker,
                self.stronger,
                self.copy,
                self.remove,
                self.locate,
                self.library,
                self.train,
                self.settings,
            )
        ]
        rows += [
            ("1 … 9", self.tr("Candidate of that rank")),
            ("←  →", self.tr("Previous, next candidate (with Alt: wherever the keyboard is)")),
            (self.tr("Space"), self.tr("Compare photo and tile, and back")),
            ("+  −  0", self.tr("On the photo: zoom in, zoom out, fit")),
            (self.tr("Delete"), self.tr("On the tray: take the photo away")),
            (self.tr("Esc"), self.tr("Dismiss a notice, end comparing, stop the work")),
            ("F10", self.tr("Menu")),
        ]
        AboutDialog(self.tr("Keys"), rows, self._window).open()


def _name_key(action: QAction, key: str) -> None:
    """Name a key in the menu that is no shortcut of the action: the window takes it where no part of it wants it."""
    words = action.text()
    action.setText(f"{words}\t{key}")
    action.setIconText(words)


def _fade(window: MainWindow, by: float) -> None:
    window.session.set_overlay(shown=True, opacity=window.session.overlay_opacity + by)
