#!/usr/bin/env python3
"""The pictures of README and guide, taken of the window as it is: ``.venv/bin/python packaging/make_screenshots.py``.

On a screen in memory, with real keys. Those of the Library and of a training take more than keys, and are made by hand.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "packaging"))
sys.dont_write_bytecode = True
SIZE = (1360, 860)
SAMPLE = ROOT / "resources" / "samples" / "1 panorama.jpg"
OUT = ROOT / "resources" / "screenshots"
STEPS = (("located", None, 6.0), ("compare", "space", 2.5))
"""The picture's name, the keys that lead to it from the one before, seconds until it stands still."""


def main() -> int:
    """Take them."""
    from bootstrap.display import screen_in_memory
    from bootstrap.system import sandbox_obstacle, this_system

    with screen_in_memory(f"{SIZE[0]}x{SIZE[1]}x24") as screen:
        if screen is None:
            print("Xvfb is needed.", file=sys.stderr)
            return 1
        environ = {**os.environ, "DISPLAY": screen, "QT_QPA_PLATFORM": "xcb"}
        if sandbox_obstacle(this_system()):
            environ["QTWEBENGINE_CHROMIUM_FLAGS"] = "--no-sandbox"
        command = [sys.executable, str(Path(__file__).resolve()), "--inside"]
        return subprocess.run(command, env=environ, check=False).returncode


def take() -> int:
    """Start the window, lead it from picture to picture."""
    from PySide6.QtGui import QGuiApplication

    from smoke.x11 import Display

    application = QGuiApplication([])
    home = Path(os.environ.get("TMPDIR", "/tmp")) / f"nadir-screenshots-{os.getpid()}"
    home.mkdir()
    environ = {**os.environ, "HOME": str(home), "XDG_CONFIG_HOME": str(home / "config")}
    words = [sys.executable, "-m", "app", "--demo", str(SAMPLE)]
    window = subprocess.Popen(words, cwd=ROOT, env=environ)
    display = Display(os.environ["DISPLAY"])
    try:
        for name, keys, wait in STEPS:
            for place in display.windows():
                display.focus(place)
            if keys is not None:
                display.key(keys)
            time.sleep(wait)
            screen = application.primaryScreen()
            screen.grabWindow(0).save(str(OUT / f"{name}.png"))
            print(OUT / f"{name}.png")
    finally:
        window.terminate()
        window.wait(20)
        subprocess.run(["rm", "-r", str(home)], check=False)
    return 0


if __name__ == "__main__":
    sys.exit(take() if "--inside" in sys.argv else main())
