"""The program's own URL scheme, ``nadir:``, from which the map page takes everything it loads.

Qt wants it registered before the application object exists: the program calls :func:`register_scheme` first thing.
"""

from __future__ import annotations

import os
import sys

SCHEME = "nadir"
HOST = "app"
ROOT = f"{SCHEME}://{HOST}/"
PAGE_URL = f"{ROOT}map.html"


# For Chromium itself, beneath the page and the interceptor: it finds no host, so that not even a connection is opened
# ahead of a request, and sends no datagrams of its own.
_CLOSED_IN = (
    '--host-resolver-rules="MAP * ~NOTFOUND"',
    "--force-webrtc-ip-handling-policy=disable_non_proxied_udp",
)


def register_scheme() -> str:
    """Make ``nadir:`` known to Qt WebEngine; call before the QApplication is made. Calling again does nothing.

    Returns:
        "" when the map can be shown as far as can be told now, else why not, in one sentence.
    """
    problem = why_no_map()
    if problem:
        return problem
    flags = os.environ.get("QTWEBENGINE_CHROMIUM_FLAGS", "")
    added = [flag for flag in _CLOSED_IN if flag not in flags]
    os.environ["QTWEBENGINE_CHROMIUM_FLAGS"] = " ".join([flags, *added]).strip()
    # Qt WebEngine shares OpenGL contexts between windows, which the import arranges only before the application.
    import PySide6.QtWebEngineWidgets  # noqa: F401
    from PySide6.QtWebEngineCore import QWebEngineUrlScheme

    name = SCHEME.encode()
    if QWebEngineUrlScheme.schemeByName(name).name() == name:
        return ""
    scheme = QWebEngineUrlScheme(name)
    scheme.setSyntax(QWebEngineUrlScheme.Syntax.Host)
    flag = QWebEngineUrlScheme.Flag
    # Secure: a trustworthy origin. CORS: a real origin, so that the page's images come from "self". Not local: local
    # pages share one permission with file: URLs, and this page is to have none.
    scheme.setFlags(flag.SecureScheme | flag.CorsEnabled)
    QWebEngineUrlScheme.registerScheme(scheme)
    return ""


def is_registered() -> bool:
    """Whether :func:`register_scheme` has done its work."""
    from PySide6.QtWebEngineCore import QWebEngineUrlScheme

    return QWebEngineUrlScheme.schemeByName(SCHEME.encode()).name() == SCHEME.encode()


def why_no_map() -> str:
    """Why Qt WebEngine cannot run here, as far as can be told without starting it; "" when nothing speaks against it.

    What is caught here would otherwise end the whole program: Chromium leaves the process when it is root and
    still has its sandbox.
    """
    try:
        import PySide6.QtWebEngineCore
        import PySide6.QtWebEngineWidgets  # noqa: F401
    except ImportError as error:
        return f"Qt WebEngine could not be loaded ({error}). `nadir doctor` says which system library to install."
    if _sandbox_refuses_root():
        return (
            "Qt WebEngine does not run for the user root. Start Nadir as an ordinary user, or set "
            "QTWEBENGINE_DISABLE_SANDBOX=1 in the environment: the map page loads nothing from outside the program."
        )
    return ""


def _sandbox_refuses_root() -> bool:
    if not sys.platform.startswith("linux") or os.geteuid() != 0:
        return False
    flags = os.environ.get("QTWEBENGINE_CHROMIUM_FLAGS", "").split()
    return "--no-sandbox" not in flags and os.environ.get("QTWEBENGINE_DISABLE_SANDBOX", "0") in (
        "",
        "0",
    )
