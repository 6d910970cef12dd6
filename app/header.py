"""The header: what answers, on what, and that nothing leaves the machine."""

from __future__ import annotations

from pathlib import Path

from PySide6.QtCore import QSize, Qt, Signal
from PySide6.QtGui import QAction, QActionGroup, QResizeEvent
from PySide6.QtWidgets import QFrame, QHBoxLayout, QMenu, QSizePolicy, QToolButton

from app.bench import Bench, Load, Slot
from app.icons import icon
from app.intake import name_of
from app.theme import STEP, line_height
from app.widgets import IconLabel, label, tool_button

WIDEST, LEAST = (
    200,
    116,
)  # pixels of a name that is shown, and of a chooser where there is little room
ARROW = "  ▾"


class Chooser(QToolButton):
    """A name with a menu under it."""

    def __init__(self, caption: str, icon_name: str) -> None:
        super().__init__()
        self._caption = caption
        self._name = ""
        self.setProperty("kind", "header")
        self.setIcon(icon(icon_name))
        self.setIconSize(QSize(18, 18))
        self.setToolButtonStyle(Qt.ToolButtonStyle.ToolButtonTextBesideIcon)
        self.setPopupMode(QToolButton.ToolButtonPopupMode.InstantPopup)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Preferred)
        self.setMaximumWidth(320)
        self.setMenu(QMenu(self))

    def show_name(self, name: str) -> None:
        """What is chosen now."""
        self._name = name
        self._fit()
        self.updateGeometry()
        self.setToolTip(f"{self._caption}: {name}")
        self.setAccessibleName(f"{self._caption}: {name}")

    def sizeHint(self) -> QSize:
        hint, metrics = super().sizeHint(), self.fontMetrics()
        longer = self._shortened(WIDEST)
        more = metrics.horizontalAdvance(longer) - metrics.horizontalAdvance(self.text())
        return QSize(hint.width() + more, hint.height())

    def minimumSizeHint(self) -> QSize:
        hint = self.sizeHint()
        return QSize(min(hint.width(), LEAST), hint.height())

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        self._fit()

    def _fit(self) -> None:
        """As much of the name as there is room for."""
        short = self.sizeHint().width() - self.width() if self.isVisible() else 0
        shown = self._shortened(WIDEST)
        if short > 0:
            whole = self.fontMetrics().horizontalAdvance(shown.removesuffix(ARROW))
            shown = self._shortened(max(whole - short, 0))
        self.setText(shown)

    def _shortened(self, room: int) -> str:
        short = self.fontMetrics().elidedText(self._name, Qt.TextElideMode.ElideMiddle, room)
        return f"{short}{ARROW}"


class Header(QFrame):
    """Watches the bench."""

    encoder_asked = Signal(object)  # a Path to open, or None for a dialog
    index_asked = Signal(object)
    about_asked = Signal(str)  # "encoder" or "index"

    def __init__(self, bench: Bench, open_photos: QAction, paste: QAction, menu: QMenu) -> None:
        super().__init__()
        self._bench = bench
        self._recent: tuple[tuple[str, ...], tuple[str, ...]] = ((), ())
        self._demo: tuple[Path, Path] | None = None
        self.setProperty("place", "chrome")
        self.setProperty("line", "below")
        self.setFixedHeight(line_height() + 7 * STEP)
        self.area = Chooser(self.tr("Area"), "area")
        self.encoder = Chooser(self.tr("Encoder"), "encoder")
        self._chip = IconLabel("cpu", 18)
        self.device = label(muted=True)
        self._lock = lock = IconLabel("lock", 16)
        self.offline = offline = label(muted=True)
        self.set_asked("")
        menu_button = QToolButton()
        menu_button.setIcon(icon("menu"))
        menu_button.setIconSize(QSize(18, 18))
        menu_button.setMenu(menu)
        menu_button.setPopupMode(QToolButton.ToolButtonPopupMode.InstantPopup)
        menu_button.setAccessibleName(self.tr("Menu"))
        menu_button.setToolTip(self.tr("Menu (F10)"))
        menu_button.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.menu_button = menu_button
        row = QHBoxLayout(self)
        row.setContentsMargins(2 * STEP, 0, 2 * STEP, 0)
        row.setSpacing(STEP)
        row.addWidget(self.area)
        row.addWidget(self.encoder)
        row.addSpacing(2 * STEP)
        row.addWidget(self._chip)
        row.addWidget(self.device)
        row.addSpacing(3 * STEP)
        row.addWidget(lock)
        row.addWidget(offline)
        row.addStretch(1)
        row.addWidget(tool_button(open_photos, text=True, kind="header"))
        row.addWidget(tool_button(paste, text=True, kind="header"))
        row.addWidget(menu_button)
        bench.changed.connect(self.refresh)
        self.refresh()

    def set_asked(self, hosts: str) -> None:
        """Which servers are being asked for imagery, by the user's leave; "": the network is not used."""
        self.offline.setText(self.tr("Asking {0}").format(hosts) if hosts else self.tr("Offline"))
        words = self.tr("Nothing leaves this machine: Nadir uses no network.")
        if hosts:
            words = self.tr("An index is being built of imagery from {0}, as you allowed.")
        self._lock.set_icon("info" if hosts else "lock", "accent" if hosts else "muted")
        for part in (self._lock, self.offline):
            part.setToolTip(words.format(hosts))
            part.setAccessibleName(words.format(hosts))

    def set_choices(
        self,
        encoders: tuple[str, ...],
        indexes: tuple[str, ...],
        demo: tuple[Path, Path] | None,
    ) -> None:
        """What the menus offer beside what is open."""
        self._recent = (encoders, indexes)
        self._demo = demo
        self.refresh()

    def refresh(self) -> None:
        """Show what is open."""
        bench = self._bench
        self.area.show_name(self._state(bench.index, self.tr("No area")))
        self.encoder.show_name(self._state(bench.encoder, self.tr("No encoder")))
        encoder = bench.encoder.value
        gpu = encoder is not None and encoder.device != "CPU"
        self._chip.set_icon("gpu" if gpu else "cpu", "muted")
        self.device.setText(encoder.device if encoder is not None else "–")
        tip = self.tr("Photos are encoded on the graphics card.")
        if not gpu:
            tip = self.tr("No graphics card is used; this processor does the work.")
        self.device.setToolTip(tip)
        self._fill(self.area, "index", bench.index, self._recent[1], 1)
        self._fill(self.encoder, "encoder", bench.encoder, self._recent[0], 0)

    def _state(self, slot: Slot, none: str) -> str:  # type: ignore[type-arg]
        if slot.load == Load.LOADING:
            return self.tr("Opening {0}…").format(name_of(slot.path) if slot.path else "")
        return slot.name or none

    def _fill(
        self,
        chooser: Chooser,
        what: str,
        slot: Slot,
        recent: tuple[str, ...],
        demo: int,  # type: ignore[type-arg]
    ) -> None:
        menu = chooser.menu()
        assert menu is not None
        menu.clear()
        asked = self.index_asked if what == "index" else self.encoder_asked
        paths = [Path(entry) for entry in recent]
        if self._demo is not None and self._demo[demo] not in paths:
            paths.insert(0, self._demo[demo])
        if slot.path is not None and slot.path not in paths:
            paths.insert(0, slot.path)
        group = QActionGroup(menu)
        for path in paths:
            entry = menu.addAction(name_of(path))
            entry.setToolTip(str(path))
            entry.setCheckable(True)
            entry.setChecked(path == slot.path)
            group.addAction(entry)
            entry.triggered.connect(lambda _=False, path=path: asked.emit(path))
        if paths:
            menu.addSeparator()
        opens = self.tr("Open an area…") if what == "index" else self.tr("Open an encoder…")
        menu.addAction(icon("open"), opens).triggered.connect(lambda _=False: asked.emit(None))
        about = self.tr("About this area") if what == "index" else self.tr("About this encoder")
        entry = menu.addAction(icon("info"), about)
        entry.setEnabled(slot.value is not None)
        entry.triggered.connect(lambda _=False: self.about_asked.emit(what))
