"""The terms of everything that is in the frozen program: collected, judged, written for the program to show.

What is inside is read from the program itself, not from a list that somebody would have to keep.
"""

from __future__ import annotations

import importlib.metadata as metadata
import json
import re
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

from freeze.system import copyright_of, package_of
from freeze.vendored import vendored

TEXTS = Path(__file__).resolve().parents[1] / "licences"
_TEXT_OF = {
    "LGPL-3.0-only": "LGPL-3",
    "LGPL-2.1-or-later": "LGPL-2.1",
    "LGPL-2.1-only": "LGPL-2.1",
    "Apache-2.0": "Apache-2.0",
}
_TEXT_OF |= {"BSD-3-Clause": "BSD", "BSD-2-Clause": "BSD", "MPL-2.0": "MPL-2.0"}
_QT_NOTICE = """\
Nadir uses Qt {version} and Qt for Python under the terms of the GNU Lesser General Public License, version 3. Their
libraries are files of their own in the program's folder (PySide6, shiboken6) and are linked dynamically: you may put
your own builds of the same version in their place, and you may examine how Nadir works with them. The data file of ICU
beside them is shortened to the languages that are used; the full one may be put in its place too. Qt's sources are at
https://download.qt.io/official_releases/qt/ and https://code.qt.io, those of Qt for Python at
https://code.qt.io/cgit/pyside/pyside-setup.git. Only modules that Qt offers under the LGPL are included.

Qt WebEngine contains Chromium and other parts under licences of their own; Qt lists them at
https://doc.qt.io/qt-6/qtwebengine-licensing.html and https://doc.qt.io/qt-6/licenses-used-in-qt.html.
"""


@dataclass(frozen=True)
class Part:
    """Something that is inside the program, and its terms.

    Attributes:
        kind: ``program``, ``python``, ``library`` (inside a wheel), ``system`` (of the building system) or ``web``.
        licence: an SPDX expression where its makers give one, else their words.
        text: the whole licence, as far as it comes with it.
    """

    name: str
    version: str
    licence: str
    kind: str
    home: str = ""
    text: str = ""


class UnknownTermsError(Exception):
    """Something is in the program whose terms are not known, or do not allow that."""


def is_allowed(licence: str) -> bool:
    """Whether something on these terms may go into a program that is not GPL itself."""
    for choice in re.split(r"\s+OR\s+", licence.strip("() "), flags=re.IGNORECASE):
        strict = re.search(r"(?<!L)\bA?GPL|(?<!Lesser )General Public", choice)
        if choice and (strict is None or "exception" in choice.lower()):
            return True
    return False


def collect(folder: Path, modules: list[str], root: Path, version: str) -> list[Part]:
    """All parts of the program in ``folder`` (PyInstaller's ``_internal``).

    Args:
        modules: names of the Python modules packed into the program.
        root: the checkout.
        version: Nadir's.

    Raises:
        UnknownTermsError: for all that lacks terms, or is GPL alone, at once.
    """
    parts = [
        Part("Nadir", version, "MIT", "program", "", (root / "LICENSE").read_text("utf-8")),
        _python(),
        *_distributions(folder, modules),
        *_bootloader(),
        *_web(root),
    ]
    unknown = []
    seen: set[str] = set()
    for path in sorted(folder.rglob("*")):
        if path.is_symlink() or not re.search(r"\.(so|dylib|dll)\b", path.name):
            continue
        if not _is_apart(path.relative_to(folder)):
            continue
        part = _library(path)
        if part is None:
            unknown.append(path.name)
        elif part.name not in seen:
            seen.add(part.name)
            parts.append(part)
    unknown += [f"{part.name} ({part.licence})" for part in parts if not is_allowed(part.licence)]
    if unknown:
        raise UnknownTermsError(
            f"no terms that allow it are known for: {', '.join(unknown)}. "
            "Leave it out (freeze/prune.py) or tell of it (freeze/vendored.py)."
        )
    return parts


def _is_apart(inside: Path) -> bool:
    """Whether a library is one of its own: not an extension module, not one of Qt's or its distribution's."""
    name, top = inside.name, inside.parts[0]
    if re.search(r"\.(cpython-|abi3|cp\d|pyd)", name) or name.startswith(("libpython", "python3")):
        return False
    if top in ("PySide6", "shiboken6", "python3.11", "lib-dynload", "faiss", "onnxruntime"):
        return name.startswith(("libicu", "libxcb-", "libxkbcommon"))
    return True


def _library(path: Path) -> Part | None:
    known = vendored(path.name)
    if known is not None:
        text = f"Copyright: {known.holders}\n\n{standard_text(known.licence)}".strip()
        return Part(known.title, "", known.licence, "library", f"https://{known.home}", text)
    owner = package_of(path.name)
    if owner is None:
        return None
    return Part(owner.name, owner.version, owner.licence, "system", "", copyright_of(owner.name))


def standard_text(licence: str) -> str:
    """The text of a licence that comes with this project, by its SPDX name; empty where there is none."""
    for name in re.split(r"\s+AND\s+", licence):
        file = TEXTS / f"{_TEXT_OF.get(name, name)}.txt"
        if file.is_file():
            return file.read_text("utf-8")
    return ""


def _python() -> Part:
    for path in (
        *Path(sys.base_prefix).glob("lib/python3.*/LICENSE.txt"),
        *Path(sys.base_prefix).glob("LICENSE.txt"),
        Path(f"/usr/share/doc/python3.{sys.version_info.minor}/copyright"),
    ):
        if path.is_file():
            text = path.read_text("utf-8", errors="replace")
            break
    else:
        text = "https://docs.python.org/3/license.html"
    number = ".".join(map(str, sys.version_info[:3]))
    return Part("Python", number, "PSF-2.0", "program", "https://www.python.org", text)


def _bootloader() -> list[Part]:
    """PyInstaller's starter, which its exception to the GPL lets go with any program."""
    found = metadata.distribution("pyinstaller")
    licence = "GPL-2.0-or-later WITH Bootloader-exception"
    home = "https://pyinstaller.org"
    return [Part("PyInstaller's starter", found.version, licence, "program", home, _text_of(found))]


def _web(root: Path) -> list[Part]:
    folder = root / "resources" / "web" / "leaflet"
    script = (folder / "leaflet.js").read_text("utf-8", errors="replace")
    version = re.search(r"Leaflet (\d+\.\d+\.\d+)", script)
    text = (folder / "LICENSE").read_text("utf-8")
    number = version[1] if version else ""
    return [Part("Leaflet", number, "BSD-2-Clause", "web", "https://leafletjs.com", text)]


def _distributions(folder: Path, modules: list[str]) -> list[Part]:
    owners = metadata.packages_distributions()
    tops = {name.partition(".")[0] for name in modules}
    tops |= {path.name.partition(".")[0] for path in folder.iterdir()}
    names = {owner for top in tops for owner in owners.get(top, ())}
    names -= {"pyinstaller", "pyinstaller-hooks-contrib", "setuptools", "pip", "nadir"}
    parts = []
    for name in sorted(names, key=str.lower):
        found = metadata.distribution(name)
        licence, text = _licence_of(found), _text_of(found)
        if name.lower().startswith(("pyside6", "shiboken6")):
            licence = "LGPL-3.0-only"  # the one of its licences that is used here
            text = _QT_NOTICE.format(version=found.version)
            text += "".join((TEXTS / f"{n}.txt").read_text("utf-8") for n in ("LGPL-3", "GPL-3"))
        parts.append(Part(name, found.version, licence, "python", _home_of(found), text))
    return parts


def _licence_of(found: metadata.Distribution) -> str:
    told = _told(found, "License-Expression")
    if not told:
        classes = [
            c for c in found.metadata.get_all("Classifier") or () if c.startswith("License ::")
        ]
        told = " OR ".join(c.rpartition(" :: ")[2] for c in classes)
    first = _told(found, "License").strip().splitlines()
    return told or (first[0] if first else "")


def _text_of(found: metadata.Distribution) -> str:
    texts = []
    for file in found.files or ():
        if re.search(r"(^|/)(LICEN[CS]E|COPYING|NOTICE|THIRD|ThirdParty)[^/]*$", str(file)):
            path = Path(str(found.locate_file(file)))
            if path.is_file() and path.suffix not in (".py", ".pyc", ".so"):
                texts.append(path.read_text("utf-8", errors="replace").strip())
    return "\n\n".join(texts) or standard_text(
        _licence_of(found).replace("Apache 2.0", "Apache-2.0")
    )


def _home_of(found: metadata.Distribution) -> str:
    urls = [url.partition(", ") for url in found.metadata.get_all("Project-URL") or ()]
    named = {name.strip().lower(): url for name, _, url in urls}
    for name in ("homepage", "home", "source", "repository", "source code"):
        if name in named:
            return named[name]
    return _told(found, "Home-page") or (urls[0][2] if urls else "")


def _told(found: metadata.Distribution, field: str) -> str:
    return (found.metadata.get_all(field) or [""])[0]


def write(parts: list[Part], target: Path) -> None:
    """Write what the program's page of licences reads."""
    target.write_text(json.dumps([asdict(part) for part in parts], indent=1), "utf-8")
