"""The form of a new index: its steps and where they stand; what they do is the page's."""

from __future__ import annotations

from PySide6.QtCore import Qt
from PySide6.QtWidgets import (
    QCheckBox,
    QDoubleSpinBox,
    QFrame,
    QHBoxLayout,
    QLineEdit,
    QPushButton,
    QScrollArea,
    QSpinBox,
    QToolButton,
    QVBoxLayout,
    QWidget,
)

from app.icons import icon
from app.library.card import Card
from app.library.flow import flow_of
from app.library.new_pictures import PicturesRow
from app.theme import STEP
from app.training.parts import Choice, Field
from app.widgets import Elided, Segments, label

ALL, DRAWN, AROUND, FILE = "all", "drawn", "around", "file"
BOX, POLYGON = "box", "polygon"


class NewForm(QWidget):
    """Steps from the imagery to the name, and at the foot what it will take and the button that starts it."""

    def __init__(self) -> None:
        super().__init__()
        self._make_imagery()
        self._make_area()
        self._make_more()
        self._make_foot()
        for box in (self.across, self.stride, self.zoom):
            box.lineEdit().setTextMargins(4, 0, 4, 0)
        self._lay_out()

    # Making -----------------------------------------------------------------------------------------------------

    def _make_imagery(self) -> None:
        self.file = QPushButton(self.tr("Choose a file…"))
        self.file.setToolTip(
            self.tr(
                "A GeoTIFF, VRT or MBTiles file, a table of pictures, or a server's description"
            )
        )
        self.folder = QPushButton(self.tr("Choose a folder…"))
        self.folder.setToolTip(
            self.tr("A folder of GeoTIFFs, of z/x/y tiles, or of pictures whose places are known")
        )
        self.server = QPushButton(self.tr("A server…"))
        self.server.setCheckable(True)
        self.server.setToolTip(
            self.tr("Fetch imagery from a map server once; you are asked before anything is sent")
        )
        self.address = QLineEdit()
        self.address.setPlaceholderText("https://example.org/{z}/{x}/{y}.jpg")
        self.address.setAccessibleName(self.tr("Address of the server"))
        self.use_address = QPushButton(self.tr("Use"))
        self.address_file = QPushButton(self.tr("From a file…"))
        self.address_row = QWidget()
        column = QVBoxLayout(self.address_row)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(2 * STEP)
        column.addWidget(self.address)
        column.addWidget(flow_of(self.use_address, self.address_file, spacing=2 * STEP))
        self.address_row.hide()
        self.server.toggled.connect(self.address_row.setVisible)
        self.source = Elided(self.tr("None chosen. You can also drop it here."))
        self.source.setProperty("tone", "muted")
        self.facts = Card()
        self.pictures = PicturesRow()
        self.fault = label(wrap=True, selectable=True)
        self.fault.setProperty("tone", "error")
        self.fault.hide()
        self.zoom = QSpinBox()
        self.zoom.setRange(0, 24)
        self.zoom.setAccessibleName(self.tr("Zoom level"))
        self.zoom_words = label(size="small", muted=True, wrap=True)
        self.zoom_row = QWidget()
        row = QHBoxLayout(self.zoom_row)
        row.setContentsMargins(0, 0, 0, 0)
        row.setSpacing(2 * STEP)
        row.addWidget(label(self.tr("Zoom level"), muted=True))
        row.addWidget(self.zoom)
        row.addWidget(self.zoom_words, 1)
        self.zoom_row.hide()
        self.encoder = Choice(self.tr("Encoder"))
        self.encoder_words = label(size="small", muted=True, wrap=True)

    def _make_area(self) -> None:
        self.area = Segments(
            self.tr("Area"),
            (
                (ALL, self.tr("All"), ""),
                (DRAWN, self.tr("Draw"), ""),
                (AROUND, self.tr("Around"), ""),
                (FILE, self.tr("File"), ""),
            ),
        )
        self.area.show_value(ALL)
        self.box = self._tool(self.tr("Box"), self.tr("Drag a box on the map"))
        self.polygon = self._tool(
            self.tr("Polygon"),
            self.tr("Click the corners on the map; a double click or Enter closes it"),
        )
        self.view = QPushButton(self.tr("What the map shows"))
        self.draw_row = flow_of(self.box, self.polygon, self.view, spacing=2 * STEP)
        self.draw_row.hide()
        self.place = QLineEdit()
        self.place.setPlaceholderText(self.tr("Latitude, longitude"))
        self.place.setAccessibleName(self.tr("Latitude, longitude of the middle"))
        self.across = QDoubleSpinBox()
        self.across.setRange(0.05, 1000.0)
        self.across.setDecimals(2)
        self.across.setValue(1.0)
        self.across.setSuffix(self.tr(" km across"))
        self.across.setAccessibleName(self.tr("Kilometres across"))
        self.around_row = QWidget()
        column = QVBoxLayout(self.around_row)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(2 * STEP)
        column.addWidget(self.place)
        column.addWidget(self.across)
        self.around_row.hide()
        self.area_file = QPushButton(self.tr("Choose a GeoJSON file…"))
        self.area_file.hide()
        self.area_words = label(size="small", muted=True, wrap=True)

    def _tool(self, text: str, tip: str) -> QPushButton:
        button = QPushButton(text)
        button.setCheckable(True)
        button.setToolTip(tip)
        return button

    def _make_more(self) -> None:
        self.more = QToolButton()
        self.more.setText(self.tr("More"))
        self.more.setCheckable(True)
        self.more.setArrowType(Qt.ArrowType.RightArrow)
        self.more.setToolButtonStyle(Qt.ToolButtonStyle.ToolButtonTextBesideIcon)
        self.more.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.more.toggled.connect(self._toggle_more)
        self.extents = QLineEdit()
        self.extents.setAccessibleName(self.tr("Tiles' sides in metres"))
        self.stride = QDoubleSpinBox()
        self.stride.setRange(0.0, 10_000.0)
        self.stride.setDecimals(1)
        self.stride.setSpecialValueText(self.tr("As the encoder advises"))
        self.stride.setSuffix(self.tr(" m"))
        self.stride.setAccessibleName(self.tr("Metres between tiles"))
        self.layout_choice = Choice(self.tr("How vectors are kept"))
        self.more_box = QWidget()
        column = QVBoxLayout(self.more_box)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(3 * STEP)
        column.addWidget(
            Field(
                self.tr("A tile's side, metres (several with commas)"),
                self.extents,
            )
        )
        column.addWidget(Field(self.tr("Between tiles"), self.stride))
        column.addWidget(Field(self.tr("How vectors are kept"), self.layout_choice))
        self.more_box.hide()
        self.name = QLineEdit()
        self.name.setAccessibleName(self.tr("Name of the index"))
        self.name.setMaxLength(100)
        self.home = Elided()
        self.home.setProperty("tone", "muted")
        self.home.setProperty("textSize", "small")

    def _toggle_more(self, shown: bool) -> None:
        self.more.setArrowType(Qt.ArrowType.DownArrow if shown else Qt.ArrowType.RightArrow)
        self.more_box.setVisible(shown)

    def _make_foot(self) -> None:
        self.consent = Consent()
        self.problem = label(wrap=True)
        self.problem.setProperty("tone", "error")
        self.problem.hide()
        self.estimate = label(bold=True, wrap=True)
        self.details = label(size="small", muted=True, wrap=True)
        self.start = QPushButton(self.tr("Build the index"))
        self.start.setProperty("kind", "primary")

    def _lay_out(self) -> None:
        form = QWidget()
        form.setMaximumWidth(640)
        fields = QVBoxLayout(form)
        fields.setContentsMargins(5 * STEP, 4 * STEP, 5 * STEP, 4 * STEP)
        fields.setSpacing(3 * STEP)
        fields.addWidget(label(self.tr("New index"), size="large", bold=True))
        fields.addWidget(
            label(
                self.tr("An index makes an area of your own imagery searchable."),
                muted=True,
                wrap=True,
            )
        )
        choose = flow_of(self.file, self.folder, self.server, spacing=2 * STEP)
        fields.addWidget(
            _step(
                self.tr("1 · Imagery"),
                choose,
                self.address_row,
                self.source,
                self.fault,
                self.pictures,
                self.facts,
                self.zoom_row,
            )
        )
        fields.addWidget(_step(self.tr("2 · Encoder"), self.encoder, self.encoder_words))
        area = QWidget()
        row = QHBoxLayout(area)
        row.setContentsMargins(0, 0, 0, 0)
        row.addWidget(self.area)
        row.addStretch(1)
        fields.addWidget(
            _step(
                self.tr("3 · Area"),
                area,
                self.draw_row,
                self.around_row,
                self.area_file,
                self.area_words,
            )
        )
        fields.addWidget(_step(self.tr("4 · Name"), self.name, self.home))
        fields.addWidget(self.consent)
        fields.addWidget(self.more, 0, Qt.AlignmentFlag.AlignLeft)
        fields.addWidget(self.more_box)
        fields.addStretch(1)
        inside = QWidget()
        middle = QHBoxLayout(inside)
        middle.setContentsMargins(0, 0, 0, 0)
        middle.addWidget(form, 1)
        middle.addStretch(0)
        self.scrolled = QScrollArea()
        self.scrolled.setWidgetResizable(True)
        self.scrolled.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.scrolled.setWidget(inside)
        foot = QFrame()
        foot.setProperty("place", "panel")
        foot.setProperty("line", "above")
        last = QVBoxLayout(foot)
        last.setContentsMargins(5 * STEP, 3 * STEP, 5 * STEP, 3 * STEP)
        last.setSpacing(2 * STEP)
        for part in (self.problem, self.estimate, self.details, self.start):
            last.addWidget(part)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(0)
        column.addWidget(self.scrolled, 1)
        column.addWidget(foot)


def _step(title: str, *parts: QWidget) -> QWidget:
    held = QWidget()
    column = QVBoxLayout(held)
    column.setContentsMargins(0, STEP, 0, STEP)
    column.setSpacing(2 * STEP)
    column.addWidget(label(title, bold=True))
    for part in parts:
        column.addWidget(part)
    return held


class Consent(QFrame):
    """What fetching from a server means, and the user's word that it may be done."""

    def __init__(self) -> None:
        super().__init__()
        self.setProperty("place", "raised")
        self._host = ""
        head = QHBoxLayout()
        head.setSpacing(2 * STEP)
        self._icon = QToolButton()
        self._icon.setIcon(icon("lock"))
        self._icon.setEnabled(False)
        self._icon.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self.headline = label(bold=True, wrap=True)
        head.addWidget(self._icon)
        head.addWidget(self.headline, 1)
        self.text = label(wrap=True, selectable=True)
        self.allow = QCheckBox()
        column = QVBoxLayout(self)
        column.setContentsMargins(3 * STEP, 2 * STEP, 3 * STEP, 2 * STEP)
        column.setSpacing(STEP)
        column.addLayout(head)
        column.addWidget(self.text)
        column.addWidget(self.allow)
        self.hide()

    def ask(self, host: str, text: str, *, first: bool = False) -> None:
        """Ask for one server; another server, or another amount, is asked for anew.

        Args:
            first: whether it is only to be asked what it has.
        """
        if (host, text) != (self._host, self.text.text()):
            self.allow.setChecked(False)
        self._host = host
        headline = self.tr("This asks {0}") if first else self.tr("This fetches imagery from {0}")
        self.headline.setText(headline.format(host))
        self.text.setText(text)
        self.allow.setText(
            self.tr("Ask it what it has") if first else self.tr("Allow these requests")
        )
        self.show()

    def put_away(self) -> None:
        """Nothing is asked for."""
        self._host = ""
        self.allow.setChecked(False)
        self.hide()

    @property
    def given(self) -> bool:
        """Whether the user has allowed it."""
        return bool(self._host) and self.allow.isChecked()
