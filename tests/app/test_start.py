"""The window stands before anything heavy is imported."""

from __future__ import annotations

import subprocess
import sys

from app.main import parse
from tests.conftest import ROOT

HEAVY = ("numpy", "onnxruntime", "faiss", "rasterio", "folium", "PIL", "torch", "pyqtgraph")


def test_importing_the_window_imports_nothing_heavy() -> None:
    code = f"import sys, app.main, app.main_window; print([m for m in {HEAVY} if m in sys.modules])"
    run = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert run.stdout.strip() == "[]"


def test_the_command_line() -> None:
    options = parse(["--demo", "--encoder", "a.encoder", "x.jpg", "y.jpg"])
    assert options.demo and str(options.encoder) == "a.encoder"
    assert [str(path) for path in options.photos] == ["x.jpg", "y.jpg"]
