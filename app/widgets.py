"""Small parts that the panels share: labels in the three sizes, buttons, segments, rank circles, state cards."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

from PySide6.QtCore import QPointF, QRect, QRectF, QSize, Qt, Signal
from PySide6.QtGui import QAction, QKeySequence, QPainter, QPen, QResizeEvent
from PySide6.QtWidgets import (
    QBoxLayout,
    QButtonGroup,
    QFrame,
    QHBoxLayout,
    QLabel,
    QPushButton,
    QSizePolicy,
    QStyle,
    QStyleOptionViewItem,
    QToolButton,
    QVBoxLayout,
    QWidget,
)

from app.icons import icon, paint_icon
from app.theme import STEP, Tokens, scaled_font, tokens_of

Size = Literal["small", "normal", "large"]
ICON = 18


def label(
    text: str = "",
    *,
    size: Size = "normal",
    muted: bool = False,
    bold: bool = False,
    wrap: bool = False,
    selectable: bool = False,
) -> QLabel:
    """A label in one of the three sizes."""
    made = QLabel(text)
    made.setProperty("textSize", size)
    if muted:
        made.setProperty("tone", "muted")
    if bold:
        made.setProperty("weight", "bold")
    made.setWordWrap(wrap)
    made.setTextFormat(Qt.TextFormat.PlainText)
    if selectable:
        made.setTextInteractionFlags(
            Qt.TextInteractionFlag.TextSelectableByMouse
            | Qt.TextInteractionFlag.TextSelectableByKeyboard
        )
        made.setCursor(Qt.CursorShape.IBeamCursor)
    return made


class Elided(QLabel):
    """One line that loses its middle when it is too long, with the whole text as tool tip."""

    def __init__(
        self, text: str = "", mode: Qt.TextElideMode = Qt.TextElideMode.ElideMiddle
    ) -> None:
        super().__init__()
        self._whole = text
        self._mode = mode
        self.setTextFormat(Qt.TextFormat.PlainText)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Preferred)
        self.setMinimumWidth(24)
        self._fit()

    def setText(self, text: str) -> None:
        """Show another text."""
        self._whole = text
        self.setAccessibleName(text)
        self._fit()
        self.updateGeometry()

    def whole(self) -> str:
        """The text without the cut."""
        return self._whole

    def sizeHint(self) -> QSize:
        width = self.fontMetrics().horizontalAdvance(self._whole) + 2
        return QSize(width, super().sizeHint().height())

    def minimumSizeHint(self) -> QSize:
        return QSize(24, super().minimumSizeHint().height())

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        self._fit()

    def _fit(self) -> None:
        shown = self.fontMetrics().elidedText(self._whole, self._mode, max(self.width(), 24))
        super().setText(shown)
        self.setToolTip(self._whole if shown != self._whole else "")


class ElidedButton(QToolButton):
    """A button whose text loses its end when it is too long."""

    MARGINS = 3 * STEP  # beside the icon and the text

    def __init__(self) -> None:
        super().__init__()
        self._whole = ""
        self.setToolButtonStyle(Qt.ToolButtonStyle.ToolButtonTextBesideIcon)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred)

    def set_whole(self, text: str) -> None:
        """Show another text."""
        self._whole = text
        self.setAccessibleName(text)
        self._fit()

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        self._fit()

    def _fit(self) -> None:
        icon = 0 if self.icon().isNull() else self.iconSize().width()
        room = max(self.width() - icon - self.MARGINS, 24)
        fitted = self.fontMetrics().elidedText(self._whole, Qt.TextElideMode.ElideRight, room)
        if fitted != self.text():
            self.setText(fitted)


def tool_button(
    action: QAction, *, text: bool = False, kind: str = "", size: int = ICON
) -> QToolButton:
    """A button for an action, with its shortcut in the tool tip."""
    button = QToolButton()
    button.setDefaultAction(action)
    button.setIconSize(QSize(size, size))
    style = Qt.ToolButtonStyle
    button.setToolButtonStyle(style.ToolButtonTextBesideIcon if text else style.ToolButtonIconOnly)
    if kind:
        button.setProperty("kind", kind)
    name = action.text().partition("\t")[0].replace("&", "")  # after the tab: the key, for menus
    button.setAccessibleName(name)
    button.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
    return button


def make_action(
    parent: QWidget,
    text: str,
    icon_name: str,
    call: Callable[..., object],
    *,
    keys: Sequence[str] = (),
    tip: str = "",
    checkable: bool = False,
) -> QAction:
    """An action with its shortcut told in its tool tip."""
    action = QAction(icon(icon_name), text, parent)
    action.setShortcuts([QKeySequence(key) for key in keys])
    action.setCheckable(checkable)
    words = tip or text.replace("&", "").rstrip("…")
    shown = f" ({action.shortcut().toString()})" if keys else ""
    action.setToolTip(f"{words}{shown}")
    action.triggered.connect(call)
    return action


class Segments(QWidget):
    """A few exclusive choices in a row."""

    chosen = Signal(str)

    def __init__(self, name: str, choices: Sequence[tuple[str, str, str]]) -> None:
        """``choices``: (value, text, icon name or "")."""
        super().__init__()
        self.setAccessibleName(name)
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.setSpacing(0)
        self._group = QButtonGroup(self)
        self._buttons: dict[str, QToolButton] = {}
        for at, (value, text, icon_name) in enumerate(choices):
            button = QToolButton()
            button.setText(text)
            button.setCheckable(True)
            button.setAccessibleName(f"{name}: {text}")
            button.setToolTip(text)
            button.setProperty("kind", "segment")
            place = "first" if at == 0 else "last" if at == len(choices) - 1 else "middle"
            button.setProperty("place", place)
            button.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
            wide = button.fontMetrics().horizontalAdvance(text) + 6 * STEP
            if not icon_name:
                button.setMinimumWidth(wide)
            else:
                button.setIcon(icon(icon_name))
                button.setIconSize(QSize(16, 16))
                button.setToolButtonStyle(Qt.ToolButtonStyle.ToolButtonTextBesideIcon)
            button.clicked.connect(lambda _=False, value=value: self.chosen.emit(value))
            self._group.addButton(button)
            self._buttons[value] = button
            row.addWidget(button)

    def show_value(self, value: str) -> None:
        """Mark one choice without telling anybody."""
        self._buttons[value].setChecked(True)

    def show_none(self) -> None:
        """Mark no choice: nothing was chosen yet."""
        self._group.setExclusive(False)
        for button in self._buttons.values():
            button.setChecked(False)
        self._group.setExclusive(True)

    def set_words(self, shown: bool) -> None:
        """Words beside the icons, or icons alone where there is no room."""
        style = Qt.ToolButtonStyle
        for button in self._buttons.values():
            button.setToolButtonStyle(
                style.ToolButtonTextBesideIcon if shown else style.ToolButtonIconOnly
            )

    def button(self, value: str) -> QToolButton:
        """The button of one choice."""
        return self._buttons[value]


def paint_row_ground(painter: QPainter, option: QStyleOptionViewItem, tokens: Tokens) -> None:
    """What lies under a line of a list: chosen, under the mouse, or held by the keyboard."""
    box: QRect = option.rect  # type: ignore[attr-defined]
    state = option.state  # type: ignore[attr-defined]
    if state & QStyle.StateFlag.State_Selected:
        painter.fillRect(box, tokens.colour("accent_soft"))
        painter.fillRect(QRect(box.left(), box.top(), 3, box.height()), tokens.colour("accent"))
    elif state & QStyle.StateFlag.State_MouseOver:
        painter.fillRect(box, tokens.colour("hover"))
    if state & QStyle.StateFlag.State_HasFocus:
        painter.setPen(QPen(tokens.colour("accent"), 1))
        painter.drawRect(box.adjusted(0, 0, -1, -1))


def paint_rank(
    painter: QPainter,
    centre: QPointF,
    rank: int,
    tokens: Tokens,
    *,
    selected: bool,
    widget: QWidget,
) -> None:
    """The numbered circle that means a candidate wherever it stands."""
    painter.save()
    painter.setRenderHint(QPainter.RenderHint.Antialiasing)
    radius = 11.0
    painter.setPen(QPen(tokens.colour("on_accent" if selected else "line_strong"), 1.5))
    painter.setBrush(tokens.colour("accent" if selected else "raised"))
    painter.drawEllipse(centre, radius, radius)
    painter.setFont(scaled_font(widget, "small", bold=True))
    painter.setPen(tokens.colour("on_accent" if selected else "text"))
    box = QRectF(centre.x() - radius, centre.y() - radius, 2 * radius, 2 * radius)
    painter.drawText(box, Qt.AlignmentFlag.AlignCenter, str(rank))
    painter.restore()


class IconLabel(QWidget):
    """An icon in a quiet colour."""

    def __init__(self, name: str, size: int, token: str = "muted") -> None:
        super().__init__()
        self._name = name
        self._token = token
        self.setFixedSize(size, size)

    def set_icon(self, name: str, token: str) -> None:
        """Show another one."""
        self._name, self._token = name, token
        self.update()

    def paintEvent(self, event: object) -> None:
        painter = QPainter(self)
        paint_icon(painter, QRectF(self.rect()), self._name, tokens_of(self).colour(self._token))
        painter.end()


class StateCard(QWidget):
    """What a panel shows when it has nothing to show: what is the matter and what to do."""

    def __init__(self) -> None:
        super().__init__()
        self.setAttribute(Qt.WidgetAttribute.WA_StyledBackground)
        column = QVBoxLayout(self)
        column.setContentsMargins(4 * STEP, 4 * STEP, 4 * STEP, 4 * STEP)
        column.setSpacing(2 * STEP)
        column.addStretch(1)
        self._icon = IconLabel("photo", 40)
        column.addWidget(self._icon, 0, Qt.AlignmentFlag.AlignHCenter)
        self._headline = label(bold=True, wrap=True)
        self._headline.setAlignment(Qt.AlignmentFlag.AlignHCenter)
        self._text = label(muted=True, wrap=True, selectable=True)
        self._text.setAlignment(Qt.AlignmentFlag.AlignHCenter)
        column.addWidget(self._headline)
        column.addWidget(self._text)
        self._buttons = QBoxLayout(QBoxLayout.Direction.LeftToRight)
        self._buttons.setSpacing(2 * STEP)
        column.addSpacing(STEP)
        column.addLayout(self._buttons)
        column.addStretch(2)

    def say(
        self,
        icon_name: str,
        headline: str,
        text: str = "",
        buttons: Sequence[tuple[str, Callable[[], object]]] = (),
        *,
        error: bool = False,
    ) -> None:
        """Show a state; the first button is the primary one."""
        self._icon.set_icon(icon_name, "error" if error else "muted")
        self._headline.setText(headline)
        self._text.setText(text)
        self._text.setVisible(bool(text))
        while self._buttons.count():
            entry = self._buttons.takeAt(0)
            widget = entry.widget() if entry is not None else None
            if widget is not None:
                widget.deleteLater()
        self._buttons.addStretch(1)
        for at, (words, call) in enumerate(buttons):
            button = QPushButton(words)
            if at == 0:
                button.setProperty("kind", "primary")
            button.clicked.connect(lambda _=False, call=call: call())
            self._buttons.addWidget(button)
        self._buttons.addStretch(1)
        self._arrange()

    def _arrange(self) -> None:
        """Buttons beside each other where there is room, else below each other."""
        items = [self._buttons.itemAt(i) for i in range(self._buttons.count())]
        buttons = [item.widget() for item in items if item is not None]
        wide = sum(button.sizeHint().width() + 2 * STEP for button in buttons if button is not None)
        direction = QBoxLayout.Direction
        room = self.width() - 8 * STEP
        self._buttons.setDirection(direction.LeftToRight if wide <= room else direction.TopToBottom)

    def minimumSizeHint(self) -> QSize:
        return QSize(160, 120)

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        self._arrange()


def rule(vertical: bool = False) -> QFrame:
    """A hairline."""
    line = QFrame()
    line.setProperty("rule", "true")
    if vertical:
        line.setFixedWidth(1)
    else:
        line.setFixedHeight(1)
    return line


def restyle(widget: QWidget) -> None:
    """Make the style sheet look at a property that changed."""
    widget.style().unpolish(widget)
    widget.style().polish(widget)
    widget.update()
