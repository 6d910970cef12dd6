"""The Qt style sheet, made from the theme's tokens."""

from __future__ import annotations

from string import Template
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from app.theme import Tokens

_TEMPLATE = Template("""
QWidget { font-size: ${normal}pt; }
QMainWindow, QDialog { background: $window; }
QToolTip { background: $raised; color: $text; border: 1px solid $line_strong; padding: 4px 8px; }

QLabel[textSize="small"] { font-size: ${small}pt; }
QLabel[textSize="large"] { font-size: ${large}pt; }
QLabel[tone="muted"] { color: $muted; }
QLabel[tone="error"] { color: $error; }
QLabel[weight="bold"] { font-weight: 600; }

StateCard { background: $panel; }
QFrame[place="chrome"] { background: $window; }
QFrame[place="panel"] { background: $panel; }
QFrame[place="raised"] { background: $raised; border: 1px solid $line; border-radius: 6px; }
QFrame[place="notice"] { background: $raised; border: 1px solid $line_strong; border-radius: 6px; }
QFrame[place="notice-error"] { background: $error_soft; border: 1px solid $error; border-radius: 6px; }
QFrame[place="popup"] { background: $raised; border: 1px solid $line_strong; }
QFrame[line="below"] { border: none; border-bottom: 1px solid $line; }
QFrame[line="above"] { border: none; border-top: 1px solid $line; }
QFrame[line="right"] { border: none; border-right: 1px solid $line; }
QFrame[line="left"] { border: none; border-left: 1px solid $line; }
QFrame[rule="true"] { background: $line; border: none; }

QPushButton {
    background: $raised; color: $text; border: 1px solid $line_strong; border-radius: 4px;
    padding: 4px 12px; min-height: 20px;
}
QPushButton:hover { background: $hover; }
QPushButton:pressed { background: $line; }
QPushButton:focus { border: 2px solid $accent; padding: 3px 11px; }
QPushButton:disabled { color: $disabled; border-color: $line; background: $panel; }
QPushButton:checked { background: $accent_soft; border-color: $accent; }
QPushButton[kind="choice"] { text-align: left; }
QPushButton::menu-indicator {
    subcontrol-origin: padding; subcontrol-position: center right; right: 8px; width: 12px; height: 12px;
}
QPushButton[kind="primary"] { background: $accent; color: $on_accent; border-color: $accent; }
QPushButton[kind="primary"]:hover { background: $accent_hover; border-color: $accent_hover; }
QPushButton[kind="primary"]:focus { border: 2px solid $text; }
QPushButton[kind="primary"]:disabled { background: $line; color: $disabled; border-color: $line; }
QPushButton[kind="link"] {
    background: transparent; border: 1px solid transparent; color: $accent; padding: 4px;
}
QPushButton[kind="link"]:hover { text-decoration: underline; }
QPushButton[kind="link"]:focus { border: 1px solid $accent; }

QToolButton {
    background: transparent; color: $text; border: 1px solid transparent; border-radius: 4px; padding: 3px;
}
QToolButton:hover { background: $hover; }
QToolButton:pressed { background: $line; }
QToolButton:checked { background: $accent_soft; color: $text; border-color: transparent; }
QToolButton:checked:disabled { background: transparent; }
QToolButton:focus { border: 1px solid $accent; }
QToolButton:disabled { color: $disabled; }
QToolButton::menu-indicator { image: none; width: 0px; }
QToolButton[kind="header"] { padding: 4px 8px; }
QToolButton[kind="quiet"] { padding: 0; color: $muted; border: none; }
QToolButton[kind="link"] { padding: 0; color: $accent; border: none; }
QToolButton[kind="link"]:hover { background: transparent; text-decoration: underline; }
QToolButton[kind="link"]:focus { border: 1px solid $accent; }
QToolButton[kind="quiet"]:hover { background: transparent; text-decoration: underline; }
QToolButton[kind="quiet"]:focus { border: 1px solid $accent; }
QToolButton[kind="rail"] {
    padding: 8px 2px 6px 2px; border-radius: 4px; font-size: ${small}pt;
}
QToolButton[kind="rail"]:checked { background: $accent_soft; border-left: 3px solid $accent; }
QToolButton[kind="segment"] { border: 1px solid $line_strong; border-radius: 0; padding: 3px 8px; background: $raised; }
QToolButton[kind="segment"][place="first"] { border-top-left-radius: 4px; border-bottom-left-radius: 4px; }
QToolButton[kind="segment"][place="last"] {
    border-top-right-radius: 4px; border-bottom-right-radius: 4px; border-left: none;
}
QToolButton[kind="segment"][place="middle"] { border-left: none; }
QToolButton[kind="segment"]:checked { background: $accent_soft; }
QToolButton[kind="segment"]:focus { border: 1px solid $accent; }
QToolButton[kind="segment"]:hover:!checked { background: $hover; }

QLineEdit, QSpinBox, QDoubleSpinBox {
    background: $raised; color: $text; border: 1px solid $line_strong; border-radius: 4px; padding: 3px 6px;
    selection-background-color: $accent; selection-color: $on_accent;
}
QLineEdit:focus, QSpinBox:focus, QDoubleSpinBox:focus { border: 2px solid $accent; padding: 2px 5px; }
QLineEdit[kind="text"] { background: transparent; border: 1px solid transparent; padding: 0; }
QLineEdit[kind="text"]:focus { border: 1px solid $accent; padding: 0; }
QLineEdit:disabled, QSpinBox:disabled, QDoubleSpinBox:disabled {
    color: $disabled; background: $panel; border-color: $line;
}
QAbstractSpinBox QLineEdit, QAbstractSpinBox QLineEdit:focus {
    border: none; padding: 0 6px; margin: 0; background: transparent; border-radius: 0;
}
/* No buttons to press: of no height. Their widths are the room beside the number, which no padding gives here. */
QAbstractSpinBox::up-button {
    subcontrol-origin: border; subcontrol-position: top right; width: 7px; height: 0px; border: none;
}
QAbstractSpinBox::down-button {
    subcontrol-origin: border; subcontrol-position: bottom left; width: 7px; height: 0px; border: none;
}
QRadioButton, QCheckBox { spacing: 8px; padding: 3px; border: 1px solid transparent; border-radius: 4px; }
QRadioButton:focus, QCheckBox:focus { border-color: $accent; }
QRadioButton::indicator {
    width: 14px; height: 14px; border: 1px solid $line_strong; border-radius: 8px; background: $raised;
}
QRadioButton::indicator:hover { border-color: $accent; }
QRadioButton::indicator:checked {
    width: 6px; height: 6px; border: 5px solid $accent; border-radius: 8px; background: $on_accent;
}

QSlider { border: 1px solid transparent; border-radius: 4px; }
QSlider:focus { border-color: $accent; }
QSlider::groove:horizontal { height: 4px; background: $line_strong; border-radius: 2px; }
QSlider::sub-page:horizontal { background: $accent; border-radius: 2px; }
QSlider::handle:horizontal {
    width: 12px; height: 12px; margin: -5px 0; border-radius: 7px; background: $raised; border: 1px solid $line_strong;
}
QSlider::handle:horizontal:hover { border-color: $accent; }
QSlider::groove:horizontal:disabled, QSlider::sub-page:horizontal:disabled { background: $line; }

QMenu { background: $raised; border: 1px solid $line_strong; border-radius: 4px; padding: 4px; }
QMenu::item { padding: 6px 24px 6px 8px; border-radius: 4px; margin: 0; }
QMenu::item:selected { background: $accent_soft; color: $text; }
QMenu::item:disabled { color: $muted; background: transparent; }
QMenu::icon { padding-left: 8px; }
QMenu::indicator { width: 14px; height: 14px; margin-left: 6px; }
QMenu::separator { height: 1px; background: $line; margin: 4px 0; }

QScrollArea, QAbstractScrollArea { background: transparent; border: none; }
QScrollArea > QWidget > QWidget { background: transparent; }
QScrollBar:vertical { width: 10px; background: transparent; margin: 0; }
QScrollBar:horizontal { height: 10px; background: transparent; margin: 0; }
QScrollBar::handle { background: $line_strong; border-radius: 3px; margin: 2px; }
QScrollBar::handle:vertical { min-height: 24px; }
QScrollBar::handle:horizontal { min-width: 24px; }
QScrollBar::handle:hover { background: $muted; }
QScrollBar::add-line, QScrollBar::sub-line { width: 0; height: 0; }
QScrollBar::add-page, QScrollBar::sub-page { background: transparent; }

QProgressBar { background: $line; border: none; border-radius: 2px; max-height: 4px; min-height: 4px; }
QProgressBar::chunk { background: $accent; border-radius: 2px; }

.QListView, QComboBox QAbstractItemView, QAbstractItemView[place="popup"] {
    background: $raised; color: $text; border: 1px solid $line_strong; outline: none;
    selection-background-color: $accent_soft; selection-color: $text;
}
QSplitter::handle { background: $line; }
QSplitter::handle:hover { background: $accent; }
QListWidget { outline: none; }
QPlainTextEdit[kind="log"] {
    background: $well; color: $text; border: none; padding: 8px 12px;
    selection-background-color: $accent; selection-color: $on_accent;
}
QTableWidget {
    background: transparent; color: $text; border: none; outline: none; gridline-color: $line;
    selection-background-color: $accent_soft; selection-color: $text;
}
QTableWidget::item { padding: 4px 8px; border-bottom: 1px solid $line; }
QHeaderView { background: transparent; }
QHeaderView::section {
    background: transparent; color: $muted; border: none; border-bottom: 1px solid $line_strong;
    padding: 4px 8px 4px 11px;
}
""")


def style_sheet(tokens: Tokens, sizes: tuple[float, float, float]) -> str:
    """The whole application's style sheet for one theme and one set of type sizes (points)."""
    small, normal, large = sizes
    colours = {name: getattr(tokens, name) for name in tokens.__dataclass_fields__}
    return _TEMPLATE.substitute(colours, small=small, normal=normal, large=large)
