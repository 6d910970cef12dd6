"""The terms of everything that is in the frozen program: collected, judged, written for the program to show.

What is inside is read from the program itself, not from a list that somebody would have to keep.
"""

from __future__ import annotations

import gzip
import importlib.metadata as metadata
import json
import re
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

from freeze.system import copyright_of, package_of
from freeze.vendored import Vendored, titled, vendored, version_numbered, version_said

TEXTS = Path(__file__).resolve().parents[1] / "licences"
_TEXT_OF = {
    "LGPL-3.0-only": "LGPL-3",
    "LGPL-2.1-or-later": "LGPL-2.1",
    "LGPL-2.1-only": "LGPL-2.1",
    "Apache-2.0": "Apache-2.0",
}
_TEXT_OF |= {"BSD-3-Clause": "BSD", "MPL-2.0": "MPL-2.0"}
_QT_NOTICE = """\
Nadir uses Qt {version} and Qt for Python under the terms of the GNU Lesser General Public License, version 3. Their
libraries are files of their own in the program's folder (PySide6, shiboken6) and are linked dynamically: you may put
your own builds of the same version in their place, and you may examine how Nadir works with them. The data file of ICU
beside them is shortened to the languages that are used; the full one may be put in its place too. Qt's sources are at
https://download.qt.io/official_releases/qt/ and https://code.qt.io, those of Qt for Python at
https://code.qt.io/cgit/pyside/pyside-setup.git. Only modules that Qt offers under the LGPL are included.

Qt and Qt WebEngine, which contains Chromium, have code of others inside under licences of its own: see the parts "Code
of others in Qt" and "Chromium (in Qt WebEngine)".
"""
_OF_DEBIAN = """\
What follows is how Debian states the terms of its own build, word for word; what it tells of debian/*, of tests and of
tools is not in this program."""
_CHROMIUM = """\
Qt WebEngine contains Chromium {version}. Below stand, word for word, the terms of everything in Qt WebEngine
6.4.2 (with Chromium 102) and in Chromium 156, as Debian 12 collects them: one is older and one newer than what is here,
of which Debian 12 has no collection; and the LGPL 2.1, under which FFmpeg and parts of Blink are. The sources are those
of Qt WebEngine, at https://download.qt.io/official_releases/qt/. What is told of debian/*, of tests and of tools is not
in this program.


QT WEBENGINE 6.4.2

{engine}

CHROMIUM 156

{chromium}

GNU LESSER GENERAL PUBLIC LICENSE 2.1

{lgpl}"""


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
    found, unknown = libraries(folder)
    parts += found
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


def libraries(folder: Path) -> tuple[list[Part], list[str]]:
    """The libraries in the program, copies of another version by themselves, and the files nothing is known of."""
    unknown: list[str] = []
    copies: dict[tuple[Path, str], list[Path]] = {}
    known: dict[str, Vendored] = {}
    found: dict[tuple[str, str], Part] = {}
    for path in sorted(folder.rglob("*")):
        if path.is_symlink() or not re.search(r"\.(so|dylib|dll)\b", path.name):
            continue
        if not _is_apart(path.relative_to(folder)):
            continue
        told = vendored(path.name)
        if told is not None:
            known[told.title] = told
            copies.setdefault((path.parent, told.title), []).append(path)
        elif (owner := package_of(path.name)) is not None:
            words = copyright_of(owner.name)
            part = Part(owner.name, owner.version, owner.licence, "system", "", words)
            found.setdefault((part.name, part.version), part)
        else:
            unknown.append(path.name)
    for (_, title), paths in copies.items():
        told = known[title]
        number = _version(title, paths, folder)
        home = f"https://{told.home}"
        part = Part(title, number, told.licence, "library", home, _text_of_library(told))
        found.setdefault((title, number), part)
    return [*found.values(), *_inside_qt(folder)], unknown


def _version(title: str, paths: list[Path], folder: Path) -> str:
    """The version of a library that may lie in several files of one folder in the program's."""
    said = next((v for path in paths if (v := version_said(title, path))), "")
    if paths[0].parent == folder:  # from the building system
        owner = package_of(paths[0].name)
        if owner is not None and re.sub(r"^\d+:", "", owner.version).startswith(said):
            return owner.version
    if said:
        return said
    named = _of_wheel(paths[0].relative_to(folder).parts[0]).get(title)
    if named is not None:
        return named
    first = sorted(paths, key=lambda path: title.lower() not in path.name.lower())
    return next((n for path in first if (n := version_numbered(title, path.name))), "")


def _of_wheel(top: str) -> dict[str, str]:
    """The versions of libraries, by title, that the bills of materials in the wheel of a folder tell."""
    told: dict[str, str] = {}
    owner = metadata.packages_distributions().get(top, [top.removesuffix(".libs")])[0]
    try:
        files = metadata.distribution(owner).files or ()
    except (metadata.PackageNotFoundError, ValueError):
        return told
    # auditwheel's last: it tells of what came along with a library.
    for file in sorted(files, key=str, reverse=True):
        if not re.search(r"\.dist-info/sboms/[^/]+\.json$", file.as_posix()):
            continue
        bill = json.loads(Path(str(file.locate())).read_text("utf-8"))
        for component in bill.get("components", ()):
            for name in str(component.get("name", "")).split(" / "):
                known, number = titled(name), component.get("version")
                if known is not None and number:
                    told.setdefault(known.title, str(number))
    return told


def _text_of_library(known: Vendored) -> str:
    own = known.text
    words = f"Copyright: {known.holders}\n\n"
    if "IJG" in known.licence:
        words += "This software is based in part on the work of the Independent JPEG Group.\n\n"
    if own.startswith("Format: https://www.debian.org/"):
        words += f"{_OF_DEBIAN}\n\n"
    # A text of its own stands for licences that every project words with its own name.
    general = known.licence if not own else re.sub(r"\b(MIT|BSD-[23]-Clause)\b", "", known.licence)
    return f"{words}{own}\n\n{standard_text(general)}".strip()


def _inside_qt(folder: Path) -> list[Part]:
    """Code of others that is linked into Qt's own libraries, above all the browser engine."""
    parts = []
    if next(folder.rglob("*Qt*Core*"), None) is not None:
        words = f"{_OF_DEBIAN} It is of Qt 6.4.2.\n\n{_packed('qtbase-6.4.2')}"
        home = "https://doc.qt.io/qt-6/licenses-used-in-qt.html"
        licence = "BSD-3-Clause, MIT and others"
        parts.append(Part("Code of others in Qt", _qts_version(), licence, "library", home, words))
    engines = [
        path
        for path in sorted(folder.rglob("*WebEngineCore*"))
        if path.is_file() and not path.is_symlink() and "Qt" in path.name
    ]
    number = next((v for path in engines if (v := version_said("Chromium", path))), "")
    if engines:
        parts.append(
            Part(
                "Chromium (in Qt WebEngine)",
                number,
                "BSD-3-Clause AND others (LGPL-2.1-or-later for FFmpeg and parts of Blink)",
                "library",
                "https://doc.qt.io/qt-6/qtwebengine-licensing.html",
                _CHROMIUM.format(
                    version=number or "of a version not told",
                    engine=_packed("qtwebengine-6.4.2"),
                    chromium=_packed("chromium-156"),
                    lgpl=standard_text("LGPL-2.1-or-later"),
                ),
            )
        )
    return parts


def _qts_version() -> str:
    try:
        return metadata.version("PySide6_Essentials")
    except metadata.PackageNotFoundError:
        return ""


def _packed(name: str) -> str:
    return gzip.decompress((TEXTS / f"{name}.copyright.gz").read_bytes()).decode("utf-8")


def standard_text(licence: str) -> str:
    """The texts of licences that come with this project, by their SPDX names; empty where there is none."""
    files = [
        TEXTS / f"{_TEXT_OF.get(name, name)}.txt"
        for name in re.split(r"\s+(?:AND|WITH)\s+", licence.strip())
        if name
    ]
    return "\n\n".join(file.read_text("utf-8") for file in files if file.is_file())


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
