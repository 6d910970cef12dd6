"""Everything the window can do, once: the menu, the buttons and the keys all use these."""

from __future__ import annotations

from typing import TYPE_CHECKING

from PySide6.QtGui import QKeySequence, QShortcut
from PySide6.QtWidgets import QMenu

from app.widgets import make_action

if TYPE_CHECKING:
    from app.main_window import MainWindow


class Actions:
    """Makes the actions of a main window and gives it their keys."""

    def __init__(self, window: MainWindow) -> None:
        tr, session = window.tr, window.session
        self.open_photos = make_action(
            window, tr("Open…"), "open", window.open_photos, keys=["Ctrl+O"], tip=tr("Open photos")
        )
        self.paste = make_action(
            window, tr("Paste"), "paste", window.paste, keys=["Ctrl+V"], tip=tr("Paste a photo")
        )
        self.open_index = make_action(
            window, tr("Open an area…"), "area", lambda: window.open_index(), keys=["Ctrl+Shift+O"]
        )
        self.open_encoder = make_action(
            window, tr("Open an encoder…"), "encoder", lambda: window.open_encoder()
        )
        self.export = make_action(
            window,
            tr("Export…"),
            "export",
            window.export,
            keys=["Ctrl+E"],
            tip=tr("Export the result as JSON or GeoJSON"),
        )
        self.remove = make_action(
            window, tr("Take the photo off the tray"), "trash", window.remove_photo, keys=["Ctrl+W"]
        )
        self.copy = make_action(
            window, tr("Copy coordinates"), "copy", window.copy_coordinates, keys=["Ctrl+Shift+C"]
        )
        self.compare = make_action(
            window,
            tr("Compare"),
            "compare",
            window.toggle_compare,
            tip=tr("Compare photo and tile (Space)"),
            checkable=True,
        )
        self.overlay = make_action(
            window,
            tr("Heat maps"),
            "heat",
            lambda on: session.set_overlay(shown=on),
            keys=["H"],
            checkable=True,
        )
        self.overlay.setChecked(session.overlay_shown)
        self.stronger = make_action(
            window, tr("Stronger heat maps"), "opacity", lambda: _fade(window, 0.1), keys=["]"]
        )
        self.weaker = make_action(
            window, tr("Weaker heat maps"), "opacity", lambda: _fade(window, -0.1), keys=["["]
        )
        self.following = make_action(
            window, tr("Next candidate"), "next", lambda: session.step(1), keys=["Alt+Right"]
        )
        self.previous = make_action(
            window,
            tr("Previous candidate"),
            "previous",
            lambda: session.step(-1),
            keys=["Alt+Left"],
        )
        self.settings = make_action(
            window, tr("Settings"), "settings", window.show_settings, keys=["Ctrl+,"]
        )
        self.keys = make_action(
            window, tr("Keys"), "keyboard", lambda: show_keys(window), keys=["F1"]
        )
        self.quit = make_action(window, tr("Quit"), "close", window.close, keys=["Ctrl+Q"])
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
            (self.settings, self.keys, self.quit),
        ):
            menu.addActions(list(group))
            if group[-1] is not self.quit:
                menu.addSeparator()


def _fade(window: MainWindow, by: float) -> None:
    window.session.set_overlay(shown=True, opacity=window.session.overlay_opacity + by)


def show_keys(window: MainWindow) -> None:
    """A page of all keys."""
    from app.about import AboutDialog

    actions, tr = window.actions_, window.tr
    rows = [
        (action.shortcut().toString(), action.text().rstrip("…"))
        for action in (
            actions.open_photos,
            actions.paste,
            actions.open_index,
            actions.export,
            actions.overlay,
            actions.weaker,
            actions.stronger,
            actions.previous,
            actions.following,
            actions.copy,
            actions.remove,
            actions.settings,
        )
    ]
    rows += [
        ("1 … 9", tr("Candidate of that rank")),
        (tr("Space"), tr("Compare photo and tile, and back")),
        ("← →", tr("While comparing: go through the candidates")),
        ("+  −  0", tr("On the photo: zoom in, zoom out, fit")),
        (tr("Delete"), tr("On the tray: take the photo away")),
        (tr("Esc"), tr("Dismiss a notice, end comparing, stop the work")),
        ("F10", tr("Menu")),
    ]
    AboutDialog(tr("Keys"), rows, window).open()
