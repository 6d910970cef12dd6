"""A dialog of pages: their names in a list at the left, the one that is read at the right."""

from __future__ import annotations

from PySide6.QtCore import QCoreApplication, Qt
from PySide6.QtWidgets import (
    QDialog,
    QHBoxLayout,
    QListWidget,
    QPushButton,
    QVBoxLayout,
    QWidget,
)

from app.theme import STEP
from app.widgets import label

translate = QCoreApplication.translate
LIST_WIDE = 240


class PagesDialog(QDialog):
    """The frame of it; who uses it fills ``names`` and shows what is chosen in ``text``.

    Args:
        title: of the window, and above both.
        what: what the list holds, for those who hear it.
        text: the widget that shows a page.
        note: small words at the foot.
    """

    def __init__(
        self, title: str, what: str, text: QWidget, parent: QWidget, note: str = ""
    ) -> None:
        super().__init__(parent)
        self.setWindowTitle(title)
        self.names = QListWidget()
        self.names.setAccessibleName(what)
        self.names.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.names.setFixedWidth(LIST_WIDE)
        self.names.setSpacing(2)
        both = QHBoxLayout()
        both.setSpacing(3 * STEP)
        both.addWidget(self.names)
        both.addWidget(text, 1)
        close = QPushButton(translate("Pages", "Close"))
        close.setDefault(True)
        close.clicked.connect(self.accept)
        foot = QHBoxLayout()
        foot.addWidget(label(note, muted=True))
        foot.addStretch()
        foot.addWidget(close)
        column = QVBoxLayout(self)
        column.setContentsMargins(5 * STEP, 5 * STEP, 5 * STEP, 4 * STEP)
        column.setSpacing(4 * STEP)
        column.addWidget(label(title, size="large", bold=True))
        column.addLayout(both, 1)
        column.addLayout(foot)
        screen = self.screen().availableGeometry()
        self.resize(min(960, screen.width() * 9 // 10), min(640, screen.height() * 9 // 10))

    def fill(self, names: list[str]) -> None:
        """List the pages, and choose the first."""
        self.names.addItems(names)
        self.names.setCurrentRow(0)
