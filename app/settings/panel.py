"""The settings that exist: theme, heat maps, words beside the icons, the Python that trains."""

from __future__ import annotations

from typing import cast

from PySide6.QtCore import Qt
from PySide6.QtWidgets import (
    QCheckBox,
    QFileDialog,
    QFrame,
    QGridLayout,
    QHBoxLayout,
    QPushButton,
    QSlider,
    QWidget,
)

from app.session import Session
from app.settings.preferences import PreferenceStore
from app.theme import STEP, Mode, Theme
from app.widgets import Elided, Segments, label


class SettingsPanel(QFrame):
    """A small window of its own beside the rail; changes hold at once."""

    def __init__(
        self, session: Session, store: PreferenceStore, theme: Theme, parent: QWidget
    ) -> None:
        super().__init__(parent, Qt.WindowType.Popup)
        self._session, self._store, self._theme = session, store, theme
        self.setProperty("place", "popup")
        self.setAccessibleName(self.tr("Settings"))
        self.theme = Segments(
            self.tr("Theme"),
            (
                ("system", self.tr("System"), "system"),
                ("light", self.tr("Light"), "sun"),
                ("dark", self.tr("Dark"), "moon"),
            ),
        )
        self.theme.chosen.connect(self._theme_chosen)
        self.overlay = QCheckBox(self.tr("Show heat maps"))
        self.overlay.toggled.connect(lambda on: session.set_overlay(shown=on))
        self.opacity = QSlider(Qt.Orientation.Horizontal)
        self.opacity.setRange(0, 100)
        self.opacity.setPageStep(10)
        self.opacity.setAccessibleName(self.tr("Opacity of the heat maps"))
        self.opacity.valueChanged.connect(lambda value: session.set_overlay(opacity=value / 100))
        self.words = QCheckBox(self.tr("Words under the icons of the rail"))
        self.words.toggled.connect(lambda on: store.change(rail_text=on))
        grid = QGridLayout(self)
        grid.setContentsMargins(4 * STEP, 4 * STEP, 4 * STEP, 4 * STEP)
        grid.setHorizontalSpacing(4 * STEP)
        grid.setVerticalSpacing(3 * STEP)
        grid.addWidget(label(self.tr("Settings"), bold=True), 0, 0, 1, 2)
        grid.addWidget(label(self.tr("Theme"), muted=True), 1, 0)
        grid.addWidget(self.theme, 1, 1, Qt.AlignmentFlag.AlignLeft)
        grid.addWidget(label(self.tr("Heat maps"), muted=True), 2, 0)
        grid.addWidget(self.overlay, 2, 1)
        grid.addWidget(label(self.tr("Opacity"), muted=True), 3, 0)
        grid.addWidget(self.opacity, 3, 1)
        grid.addWidget(label(self.tr("Rail"), muted=True), 4, 0)
        grid.addWidget(self.words, 4, 1)
        self.python = Elided()
        self.python.setMinimumWidth(160)
        self.python.setMaximumWidth(260)
        self.choose_python = QPushButton(self.tr("Choose…"))
        self.choose_python.setAccessibleName(self.tr("Choose the Python that trains"))
        self.choose_python.clicked.connect(self._choose_python)
        self.own_python = QPushButton(self.tr("Look for one"))
        self.own_python.clicked.connect(lambda: store.change(python=""))
        trains = QHBoxLayout()
        trains.setSpacing(2 * STEP)
        trains.addWidget(self.python, 1)
        trains.addWidget(self.own_python)
        trains.addWidget(self.choose_python)
        grid.addWidget(label(self.tr("Trains with"), muted=True), 5, 0)
        grid.addLayout(trains, 5, 1)
        self.library = Elided()
        self.library.setMinimumWidth(160)
        self.library.setMaximumWidth(260)
        self.choose_library = QPushButton(self.tr("Choose…"))
        self.choose_library.setAccessibleName(self.tr("Choose where indexes and encoders are kept"))
        self.choose_library.clicked.connect(self._choose_library)
        self.own_library = QPushButton(self.tr("Its own folder"))
        self.own_library.clicked.connect(lambda: store.change(library=""))
        keeps = QHBoxLayout()
        keeps.setSpacing(2 * STEP)
        keeps.addWidget(self.library, 1)
        keeps.addWidget(self.own_library)
        keeps.addWidget(self.choose_library)
        grid.addWidget(label(self.tr("Library"), muted=True), 6, 0)
        grid.addLayout(keeps, 6, 1)
        store.changed.connect(self.refresh)
        session.overlay_changed.connect(self.refresh)
        self.refresh()

    def refresh(self) -> None:
        """Show what is in force."""
        self.theme.show_value(self._theme.mode)
        for box, value in (
            (self.overlay, self._session.overlay_shown),
            (self.words, self._store.now.rail_text),
        ):
            box.blockSignals(True)
            box.setChecked(value)
            box.blockSignals(False)
        self.opacity.blockSignals(True)
        self.opacity.setValue(round(self._session.overlay_opacity * 100))
        self.opacity.blockSignals(False)
        self.opacity.setEnabled(self._session.overlay_shown)
        python = self._store.now.python
        self.python.setText(python or self.tr("The first Python that has PyTorch"))
        self.own_python.setVisible(bool(python))
        library = self._store.now.library
        self.library.setText(library or self.tr("The program's own folder"))
        self.own_library.setVisible(bool(library))

    def _choose_library(self) -> None:
        name = QFileDialog.getExistingDirectory(
            self.parentWidget(), self.tr("Choose where indexes and encoders are kept")
        )
        if name:
            self._store.change(library=name)

    def _choose_python(self) -> None:
        name, _ = QFileDialog.getOpenFileName(
            self.parentWidget(), self.tr("Choose the Python that trains, such as .venv/bin/python")
        )
        if name:
            self._store.change(python=name)

    def _theme_chosen(self, mode: str) -> None:
        self._theme.set_mode(cast(Mode, mode))
        self._store.change(theme=mode)
