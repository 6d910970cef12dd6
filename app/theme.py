"""How Nadir looks: tokens for light and dark, the palette and style sheet made of them, and following the system.

Neutral greys around the pictures, one accent, red for errors only. Spacing in steps of 4 px, three type sizes,
tabular figures.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from PySide6.QtCore import QObject, Qt, Signal
from PySide6.QtGui import QColor, QFont, QFontMetrics, QGuiApplication, QPalette
from PySide6.QtWidgets import QApplication, QWidget

from app.style_sheet import style_sheet

Mode = Literal["system", "light", "dark"]

# The grid: every distance is a multiple of STEP.
STEP = 4
RADIUS = 4


@dataclass(frozen=True)
class Tokens:
    """The colours of one theme, by what they are for."""

    dark: bool
    window: str  # the chrome: header, rail, status line
    panel: str  # panels that hold things
    raised: str  # cards and inputs on a panel
    well: str  # the ground behind pictures
    hover: str
    line: str
    line_strong: str
    text: str
    muted: str  # second-rank text, still at least 4.5:1 on window, panel and raised
    disabled: str
    accent: str
    accent_hover: str
    on_accent: str
    accent_soft: str  # a selected row's ground
    error: str
    error_soft: str

    def colour(self, name: str, alpha: int = 255) -> QColor:
        """One token as a QColor."""
        colour = QColor(getattr(self, name))
        colour.setAlpha(alpha)
        return colour


LIGHT = Tokens(
    dark=False,
    window="#efeff1",
    panel="#f7f7f8",
    raised="#ffffff",
    well="#dcdce0",
    hover="#e3e3e7",
    line="#d5d5da",
    line_strong="#a3a3ad",
    text="#1b1b1f",
    muted="#585862",
    disabled="#9b9ba5",
    accent="#0b62c4",
    accent_hover="#0955aa",
    on_accent="#ffffff",
    accent_soft="#d9e8fa",
    error="#b3261e",
    error_soft="#fae6e4",
)
DARK = Tokens(
    dark=True,
    window="#1d1d20",
    panel="#242428",
    raised="#2d2d32",
    well="#131315",
    hover="#36363c",
    line="#3a3a41",
    line_strong="#64646e",
    text="#ededf0",
    muted="#acacb6",
    disabled="#6c6c76",
    accent="#62aeff",
    accent_hover="#86c1ff",
    on_accent="#07182a",
    accent_soft="#213a55",
    error="#ff8b82",
    error_soft="#482a29",
)


def tokens_of(widget: QWidget) -> Tokens:
    """The tokens a widget is shown with; read from its palette, so that painting needs no global.

    The accent tells the themes apart: style sheets, which alter other roles, leave it alone.
    """
    accent = widget.palette().color(QPalette.ColorRole.Accent)
    return DARK if accent == QColor(DARK.accent) else LIGHT


def font_sizes(base: QFont) -> tuple[float, float, float]:
    """Small, normal and large, in points, from the system's own font size."""
    points = base.pointSizeF() if base.pointSizeF() > 0 else 10.0
    return round(points * 0.9, 1), points, round(points * 1.4, 1)


def scaled_font(
    widget: QWidget, size: Literal["small", "normal", "large"], *, bold: bool = False
) -> QFont:
    """The application's font in one of the three sizes."""
    font = QFont(QApplication.font())
    small, normal, large = font_sizes(font)
    font.setPointSizeF({"small": small, "normal": normal, "large": large}[size])
    font.setBold(bold)
    return font


def line_height(size: Literal["small", "normal", "large"] = "normal") -> int:
    """The height of a line of text in one of the three sizes, pixels: what fixed heights are made of."""
    font = QFont(QApplication.font())
    small, normal, large = font_sizes(font)
    font.setPointSizeF({"small": small, "normal": normal, "large": large}[size])
    return QFontMetrics(font).height()


def palette_of(tokens: Tokens) -> QPalette:
    """A full palette, so that every stock control fits in."""
    palette = QPalette()
    role = QPalette.ColorRole
    for name, value in (
        (role.Window, tokens.window),
        (role.WindowText, tokens.text),
        (role.Base, tokens.raised),
        (role.AlternateBase, tokens.panel),
        (role.ToolTipBase, tokens.raised),
        (role.ToolTipText, tokens.text),
        (role.Text, tokens.text),
        (role.Button, tokens.raised),
        (role.ButtonText, tokens.text),
        (role.BrightText, tokens.error),
        (role.Link, tokens.accent),
        (role.LinkVisited, tokens.accent),
        (role.Highlight, tokens.accent),
        (role.HighlightedText, tokens.on_accent),
        (role.Accent, tokens.accent),
        (role.PlaceholderText, tokens.muted),
        (role.Light, tokens.hover),
        (role.Midlight, tokens.hover),
        (role.Mid, tokens.line),
        (role.Dark, tokens.line_strong),
        (role.Shadow, "#000000"),
    ):
        palette.setColor(name, QColor(value))
    for name in (role.WindowText, role.Text, role.ButtonText, role.HighlightedText):
        palette.setColor(QPalette.ColorGroup.Disabled, name, QColor(tokens.disabled))
    palette.setColor(QPalette.ColorGroup.Disabled, role.Highlight, QColor(tokens.line))
    return palette


class Theme(QObject):
    """Applies light or dark to the whole application, and follows the system when told to."""

    changed = Signal()

    def __init__(self, application: QApplication, mode: Mode = "system") -> None:
        super().__init__(application)
        self._application = application
        self._mode: Mode = mode
        self._dark: bool | None = None
        application.setStyle("Fusion")
        font = QFont(application.font())
        font.setFeature(QFont.Tag("tnum"), 1)
        application.setFont(font)
        QGuiApplication.styleHints().colorSchemeChanged.connect(self._refresh)
        self.set_mode(mode)

    @property
    def mode(self) -> Mode:
        """What the user chose."""
        return self._mode

    @property
    def tokens(self) -> Tokens:
        """The tokens shown now."""
        return DARK if self._dark else LIGHT

    def set_mode(self, mode: Mode) -> None:
        """Choose light, dark, or whatever the system shows."""
        self._mode = mode
        hints = QGuiApplication.styleHints()
        scheme = {"light": Qt.ColorScheme.Light, "dark": Qt.ColorScheme.Dark}.get(mode)
        if scheme is None:
            hints.unsetColorScheme()
        else:
            hints.setColorScheme(scheme)
        self._refresh()

    def _refresh(self) -> None:
        if self._mode == "system":
            dark = QGuiApplication.styleHints().colorScheme() == Qt.ColorScheme.Dark
        else:
            dark = self._mode == "dark"
        if dark == self._dark:
            return
        self._dark = dark
        tokens = self.tokens
        self._application.setPalette(palette_of(tokens))
        self._application.setStyleSheet(style_sheet(tokens, font_sizes(self._application.font())))
        self.changed.emit()
