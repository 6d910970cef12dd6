"""The icon in all sizes and formats, made of ``resources/icons/nadir.svg``. Needs PySide6 and Pillow."""

from __future__ import annotations

import os
from pathlib import Path

SIZES = (16, 22, 24, 32, 48, 64, 128, 256, 512)  # of the hicolor theme
_ICO = (16, 24, 32, 48, 64, 128, 256)
KINDS = ("nadir", "application-x-nadir-encoder", "application-x-nadir-index")


def make_icons(svg: Path, folder: Path) -> None:
    """Write ``SIZExSIZE.png``, ``nadir.ico`` (Windows) and ``nadir.icns`` (macOS) into ``folder``."""
    os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
    from PIL import Image
    from PySide6.QtCore import QByteArray
    from PySide6.QtGui import QGuiApplication, QImage, QPainter
    from PySide6.QtSvg import QSvgRenderer

    folder.mkdir(parents=True, exist_ok=True)
    application = QGuiApplication.instance() or QGuiApplication([])
    renderer = QSvgRenderer(QByteArray(svg.read_bytes()))
    if not renderer.isValid():
        raise ValueError(f"{svg} is no picture")
    for size in sorted({*SIZES, 1024}):
        image = QImage(size, size, QImage.Format.Format_ARGB32)
        image.fill(0)
        painter = QPainter(image)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        renderer.render(painter)
        painter.end()
        image.save(str(folder / f"{size}x{size}.png"))
    del application
    pictures = {size: Image.open(folder / f"{size}x{size}.png") for size in (*SIZES, 1024)}
    pictures[256].save(
        folder / "nadir.ico",
        sizes=[(s, s) for s in _ICO],
        append_images=[pictures[s] for s in _ICO if s != 256],
    )
    pictures[1024].save(
        folder / "nadir.icns", append_images=[pictures[s] for s in (16, 32, 64, 128, 256, 512)]
    )
