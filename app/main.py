"""Starting the application: the window first, everything heavy behind it."""

from __future__ import annotations

import argparse
import logging
import signal
import sys
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from PySide6.QtCore import QCoreApplication, QLibraryInfo, QLocale, Qt, QTimer, QTranslator
from PySide6.QtWidgets import QApplication

from engine import __version__
from engine.shipped import shipped_encoder, shipped_index

if TYPE_CHECKING:
    from app.settings.preferences import Preferences

log = logging.getLogger(__name__)
SIZE = (1360, 860)


def parse(argv: list[str]) -> argparse.Namespace:
    """The command line of the window."""
    parser = argparse.ArgumentParser(
        prog="nadir", description="Find where a photo was taken, offline, from aerial imagery."
    )
    parser.add_argument(
        "photos", nargs="*", type=Path, help="photos to locate; an encoder or an area is opened"
    )
    parser.add_argument("--demo", action="store_true", help="open the demo, whatever was open last")
    parser.add_argument("--encoder", type=Path, metavar="DIR", help="the encoder to open")
    parser.add_argument("--index", type=Path, metavar="DIR", help="the area to open")
    parser.add_argument("--version", action="version", version=f"nadir {__version__}")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    """Run the window until it is closed; returns the exit code."""
    options = sort_arguments(parse(sys.argv[1:] if argv is None else argv))
    logging.basicConfig(level=logging.WARNING, format="%(name)s: %(message)s")
    from app.map.scheme import register_scheme

    register_scheme()
    QCoreApplication.setAttribute(Qt.ApplicationAttribute.AA_ShareOpenGLContexts)
    application = QApplication.instance() or QApplication([sys.argv[0]])
    assert isinstance(application, QApplication)
    application.setApplicationName("nadir")
    application.setApplicationDisplayName("Nadir")
    application.setDesktopFileName("nadir")
    application.setApplicationVersion(__version__)
    translate(application)
    window = make_window(application)
    window.restore(SIZE)
    window.show()
    signal.signal(signal.SIGINT, lambda *_: window.close())
    awake = QTimer()  # lets Python see the signal while Qt waits for events
    awake.start(250)
    awake.timeout.connect(lambda: None)
    QTimer.singleShot(0, lambda: begin(window, options))
    return application.exec()


def make_window(application: QApplication, preferences: Path | None = None):
    """The window with its session, not shown yet."""
    from app.main_window import MainWindow
    from app.session import Session
    from app.settings.preferences import PreferenceStore, default_path
    from app.theme import Theme

    session = Session()
    store = PreferenceStore(preferences or default_path(), session.jobs, session)
    theme = Theme(application, store.now.theme)
    session.overlay_shown, session.overlay_opacity = store.now.overlay, store.now.opacity
    window = MainWindow(session, store, theme)
    session.setParent(window)
    _catch(window)
    return window


def sort_arguments(options: argparse.Namespace) -> argparse.Namespace:
    """Tell encoders and areas from photos: file managers hand over whatever was opened with Nadir."""
    from app.intake import CARD, MANIFEST, sort_paths

    paths = []
    for path in options.photos:
        inner = next((path / name for name in (MANIFEST, CARD) if (path / name).is_file()), path)
        paths.append(inner.absolute())
    arrived = sort_paths(paths)
    options.photos = arrived.files
    options.encoder = options.encoder or next(iter(arrived.encoders), None)
    options.index = options.index or next(iter(arrived.indexes), None)
    return options


def begin(window, options: argparse.Namespace) -> None:
    """What happens once the window stands: open encoder and area, then the photos. What is named goes before what
    was open last time.
    """
    from app.intake import sort_paths

    now, bench = window.store.now, window.session.bench
    encoder, index = _opened_last(now, options.demo)
    if options.encoder is not None and options.index is None:
        # The demo's area is no memory: where it does not fit, nobody misses it.
        bench.open(options.encoder, None, remembered=index if now.index else None)
    elif options.index is not None and options.encoder is None:
        bench.open(None, options.index, remembered=encoder)
    elif options.encoder is not None:
        bench.open(options.encoder, options.index)
    elif encoder is not None or index is not None:
        bench.open(encoder, index)
    window.workspace.welcome.load_samples()
    if options.photos:
        window.take(sort_paths([path.absolute() for path in options.photos]))


def _opened_last(now: Preferences, demo: bool) -> tuple[Path | None, Path | None]:
    """The encoder and the index of last time; those that come with the program, the first time or where asked."""
    if demo or not (now.encoder or now.index):
        return shipped_encoder(), shipped_index()
    encoder = Path(now.encoder) if now.encoder else shipped_encoder()
    return encoder, Path(now.index) if now.index else None


def translate(application: QApplication) -> None:
    """Load the translations for the system's language, where there are any."""
    from app.resources import resource

    folders = (
        ("qtbase", QLibraryInfo.path(QLibraryInfo.LibraryPath.TranslationsPath)),
        ("nadir", str(resource("translations"))),
    )
    for name, folder in folders:
        translator = QTranslator(application)
        if translator.load(QLocale(), name, "_", folder):
            application.installTranslator(translator)


def _catch(window) -> None:
    """What fails in the window itself is logged and told, and does not end the program."""

    def hook(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        if issubclass(kind, KeyboardInterrupt):
            window.close()
            return
        log.error("in the window", exc_info=(kind, error, trace))
        words = QCoreApplication.translate("Main", "Nadir itself failed here ({0}: {1}).")
        remedy = QCoreApplication.translate("Main", "Please report this with the log.")
        window.session.notices.post("error", words.format(kind.__name__, error), remedy)

    sys.excepthook = hook
