"""What tests need before Qt starts: a platform that works here, the map's URL scheme, no sandbox for root."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager


def prepare_qt() -> str:
    """Choose a platform; returns why no window can be made here, or "".

    Without a display the `offscreen` platform draws into memory, which serves every test but those of the
    window system itself.
    """
    if sys.platform.startswith("linux") and not (
        os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
    ):
        os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
    # Chromium refuses to run for root with its sandbox; tests often do, the program never asks for this.
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        flags = os.environ.get("QTWEBENGINE_CHROMIUM_FLAGS", "")
        if "--no-sandbox" not in flags:
            os.environ["QTWEBENGINE_CHROMIUM_FLAGS"] = f"{flags} --no-sandbox".strip()
    try:
        from PySide6 import QtWidgets  # noqa: F401
    except ImportError as error:
        return f"Qt cannot be loaded here: {error}"
    from app.map.scheme import register_scheme

    register_scheme()
    return ""


@contextmanager
def no_leaked_threads(grace_s: float = 5.0) -> Iterator[None]:
    """Fail where threads of ours outlive the block."""
    before = set(threading.enumerate())
    yield
    deadline = time.monotonic() + grace_s
    left: list[threading.Thread] = []
    while time.monotonic() < deadline:
        left = [t for t in threading.enumerate() if t not in before and t.is_alive()]
        if not left:
            return
        time.sleep(0.02)
    names = ", ".join(thread.name for thread in left)
    raise AssertionError(f"threads outlived the test: {names}")
