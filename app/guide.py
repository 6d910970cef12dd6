"""The guide that comes with the program, to read without a network."""

from __future__ import annotations

import re
from dataclasses import dataclass

from PySide6.QtCore import QCoreApplication, QUrl
from PySide6.QtGui import QPalette, QTextCursor, QTextFrameFormat, QTextLength, QTextTable
from PySide6.QtWidgets import QTextBrowser, QWidget

from app.jobs import Jobs
from app.pages_dialog import PagesDialog
from app.resources import resource
from app.theme import STEP
from engine import __version__
from engine.errors import NadirError
from engine.progress import Report

translate = QCoreApplication.translate
FOLDER, FIRST = "guide", "README.md"


@dataclass(frozen=True)
class Page:
    """A page of the guide: its file's name, its title, its text in Markdown."""

    name: str
    title: str
    text: str


def read_guide(report: Report) -> list[Page]:
    """The pages, in the order in which the first one names them; the first one itself is only that list.

    Raises:
        NadirError: this copy has no guide.
    """
    folder = resource(FOLDER)
    report(0, 0, "")
    try:
        contents = (folder / FIRST).read_text("utf-8")
        names = list(dict.fromkeys(re.findall(r"\]\((\w+\.md)\)", contents)))
        texts = {name: _without_pictures((folder / name).read_text("utf-8")) for name in names}
    except (OSError, ValueError) as error:
        raise NadirError("the guide cannot be read", folder, "Install Nadir again") from error
    return [Page(name, _title(text), text) for name, text in texts.items()]


def _without_pictures(text: str) -> str:
    """They show the window, which whoever reads this has before them; the installed program does not carry them."""
    return re.sub(r"^!\[[^]]*\]\([^)]*\)\n\n", "", text, flags=re.MULTILINE)


def _title(text: str) -> str:
    return text.partition("\n")[0].lstrip("# ")


class GuideDialog(PagesDialog):
    """The pages of the guide, and which version of the program this is."""

    def __init__(self, jobs: Jobs, parent: QWidget) -> None:
        self.text = QTextBrowser()
        self.text.setAccessibleName(translate("Guide", "Page"))
        self.text.setOpenLinks(False)
        self.text.anchorClicked.connect(self._follow)
        version = translate("Guide", "Nadir {0}").format(__version__)
        super().__init__(
            translate("Guide", "Guide"), translate("Guide", "Pages"), self.text, parent, version
        )
        self._pages: list[Page] = []
        self.names.currentRowChanged.connect(self._show)
        jobs.start(
            translate("Guide", "Reading the guide"),
            read_guide,
            done=self._have,
            failed=lambda error: self.text.setPlainText(str(error)),
            lane="view",
            quiet=True,
        )

    def _have(self, pages: list[Page]) -> None:
        self._pages = pages
        self.fill([page.title for page in pages])

    def _show(self, row: int) -> None:
        if 0 <= row < len(self._pages):
            self.text.setMarkdown(self._pages[row].text)
            self._rule_tables()
            self.text.moveCursor(QTextCursor.MoveOperation.Start)

    def _follow(self, link: QUrl) -> None:
        """Go to another page. Nothing else is opened: what lies outside is for a browser."""
        names = [page.name for page in self._pages]
        if link.path() in names:
            self.names.setCurrentRow(names.index(link.path()))

    def _rule_tables(self) -> None:
        """Thin lines and room in tables, which Markdown's own have neither of."""
        for frame in self.text.document().rootFrame().childFrames():
            if isinstance(frame, QTextTable):
                shape = frame.format().toTableFormat()
                shape.setBorderCollapse(True)
                shape.setBorder(1)
                shape.setBorderStyle(QTextFrameFormat.BorderStyle.BorderStyle_Solid)
                shape.setBorderBrush(self.palette().brush(QPalette.ColorRole.Mid))
                shape.setCellPadding(1.5 * STEP)
                shape.setWidth(QTextLength(QTextLength.Type.PercentageLength, 100))
                frame.setFormat(shape)
