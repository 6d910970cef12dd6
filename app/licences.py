"""The page of licences: everything the program contains, who made it, on what terms.

The frozen program carries the list its build has collected. A checkout has no such list: there the libraries lie in
.venv with their own terms, and what stands in the page is read from them.
"""

from __future__ import annotations

import importlib.metadata
import json
from dataclasses import dataclass

from PySide6.QtCore import QCoreApplication
from PySide6.QtGui import QFontDatabase
from PySide6.QtWidgets import QPlainTextEdit, QWidget

from app.jobs import Jobs
from app.pages_dialog import PagesDialog
from app.resources import resource
from engine import __version__
from engine.errors import NadirError
from engine.progress import Report

translate = QCoreApplication.translate
LIST = "licences.json"
_CHECKOUT = (
    *("PySide6", "shiboken6", "numpy", "Pillow", "onnxruntime", "faiss-cpu", "rasterio", "folium"),
    *("branca", "Jinja2", "pyqtgraph"),
)


@dataclass(frozen=True)
class Terms:
    """A part of the program and its terms; ``text`` may be long."""

    name: str
    version: str
    licence: str
    home: str
    text: str

    @property
    def page(self) -> str:
        """All of it, as one reads it."""
        head = [f"{self.name} {self.version}".strip(), self.licence, self.home]
        return "\n".join(line for line in head if line) + f"\n\n{self.text}"


def read_terms(report: Report) -> list[Terms]:
    """Everything inside, Nadir first.

    Raises:
        NadirError: the frozen program's list is damaged.
    """
    path = resource(LIST)
    report(0, 0, "")
    if not path.is_file():
        return _of_the_checkout()
    try:
        raw = json.loads(path.read_text("utf-8"))
        return [
            Terms(*(str(part[key]) for key in ("name", "version", "licence", "home", "text")))
            for part in raw
        ]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise NadirError("the list of licences is damaged", path, "Install Nadir again") from error


def _of_the_checkout() -> list[Terms]:
    root = resource().parent
    found = [Terms("Nadir", __version__, "MIT", "", (root / "LICENSE").read_text("utf-8"))]
    leaflet = resource("web", "leaflet", "LICENSE")
    found.append(
        Terms("Leaflet", "", "BSD-2-Clause", "https://leafletjs.com", leaflet.read_text("utf-8"))
    )
    for name in _CHECKOUT:
        try:
            there = importlib.metadata.distribution(name)
        except importlib.metadata.PackageNotFoundError:
            continue
        about = there.metadata
        told = about.get_all("License-Expression") or about.get_all("License") or [""]
        lines = told[0].strip().splitlines()
        texts = [
            text
            for file in there.files or ()
            if "LICEN" in file.name.upper() and (text := there.read_text(_inside(str(file))))
        ]
        licence = lines[0] if lines else ""
        found.append(Terms(name, there.version, licence, "", "\n\n".join(texts)))
    return found


def _inside(file: str) -> str:
    """The name of a file of a distribution within its notes."""
    return file.partition(".dist-info/")[2]


class LicencesDialog(PagesDialog):
    """The parts of the program, and the terms of each."""

    def __init__(self, jobs: Jobs, parent: QWidget) -> None:
        self.text = QPlainTextEdit()
        self.text.setReadOnly(True)
        self.text.setAccessibleName(translate("Licences", "Terms"))
        self.text.setFont(QFontDatabase.systemFont(QFontDatabase.SystemFont.FixedFont))
        what = translate("Licences", "Parts of the program")
        super().__init__(translate("Licences", "Licences"), what, self.text, parent)
        self._terms: list[Terms] = []
        self.names.currentRowChanged.connect(self._show)
        jobs.start(
            translate("Licences", "Reading the licences"),
            read_terms,
            done=self._have,
            failed=lambda error: self.text.setPlainText(str(error)),
            lane="view",
            quiet=True,
        )

    def _have(self, terms: list[Terms]) -> None:
        self._terms = [*terms[:1], *sorted(terms[1:], key=lambda part: part.name.casefold())]
        self.fill([part.name for part in self._terms])

    def _show(self, row: int) -> None:
        if 0 <= row < len(self._terms):
            self.text.setPlainText(self._terms[row].page)
