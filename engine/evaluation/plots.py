"""Curves drawn as a picture, one panel each, side by side: as SVG that needs no fonts of its own, or as PNG.

Both are the same list of lines and words, so they show the same.
"""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal
from xml.sax.saxutils import escape

from PIL import Image, ImageDraw, ImageFont

if TYPE_CHECKING:
    from engine.evaluation.curves import Curve

WIDTH, HEIGHT = 460, 320
"""Of a panel, in units of an SVG's pixel."""

_LEFT, _RIGHT, _TOP, _BOTTOM = 56, 16, 34, 46
_INK, _LINE, _RULE = "#222222", "#1f6fb2", "#dddddd"
_FONT = 12
_SHARP, _SMOOTH = 2, 3
"""A PNG has so many pixels a unit, and is drawn so much larger before it is reduced."""

Point = tuple[float, float]


@dataclass(frozen=True)
class _Line:
    points: tuple[Point, ...]
    colour: str
    width: float = 1.0


@dataclass(frozen=True)
class _Words:
    """A text whose baseline is at ``at``; ``anchor`` as SVG's ``text-anchor``."""

    at: Point
    text: str
    anchor: Literal["start", "middle", "end"] = "middle"
    bold: bool = False


_Shape = _Line | _Words


def curves_svg(curves: Sequence[Curve], title: str) -> str:
    """The drawing as an SVG document."""
    width = _width(curves)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{HEIGHT}" '
        f'viewBox="0 0 {width} {HEIGHT}" font-family="sans-serif" font-size="{_FONT}" fill="{_INK}">',
        f"<title>{escape(title)}</title>",
        f'<rect width="{width}" height="{HEIGHT}" fill="white"/>',
    ]
    for shape in _drawing(curves, title):
        if isinstance(shape, _Line):
            points = " ".join(f"{x:.1f},{y:.1f}" for x, y in shape.points)
            parts.append(
                f'<polyline points="{points}" fill="none" stroke="{shape.colour}" stroke-width="{shape.width:g}"/>'
            )
        else:
            weight = ' font-weight="bold"' if shape.bold else ""
            parts.append(
                f'<text x="{shape.at[0]:.1f}" y="{shape.at[1]:.1f}" text-anchor="{shape.anchor}"{weight}>'
                f"{escape(shape.text)}</text>"
            )
    return "\n".join([*parts, "</svg>"]) + "\n"


def curves_png(curves: Sequence[Curve], title: str) -> bytes:
    """The drawing as a PNG file, two pixels a unit."""
    scale = _SHARP * _SMOOTH
    large = Image.new("RGB", (_width(curves) * scale, HEIGHT * scale), "white")
    draw, font = ImageDraw.Draw(large), ImageFont.load_default(_FONT * scale)
    anchors = {"start": "ls", "middle": "ms", "end": "rs"}
    for shape in _drawing(curves, title):
        if isinstance(shape, _Line):
            points = [(x * scale, y * scale) for x, y in shape.points]
            draw.line(points, shape.colour, round(shape.width * scale), joint="curve")
        else:
            at = (shape.at[0] * scale, shape.at[1] * scale)
            stroke = scale // 4 if shape.bold else 0
            draw.text(at, shape.text, _INK, font, anchors[shape.anchor], stroke_width=stroke)
    out = io.BytesIO()
    large.reduce(_SMOOTH).save(out, "PNG", optimize=True)
    return out.getvalue()


def _width(curves: Sequence[Curve]) -> int:
    return WIDTH * max(1, len(curves))


def _drawing(curves: Sequence[Curve], title: str) -> list[_Shape]:
    shapes: list[_Shape] = [_Words((_LEFT, 20), title, "start", bold=True)]
    for number, curve in enumerate(curves):
        shapes += _panel(curve, number * WIDTH)
    return shapes


def _panel(curve: Curve, offset: float) -> list[_Shape]:
    left, right = offset + _LEFT, offset + WIDTH - _RIGHT
    top, bottom = float(_TOP), float(HEIGHT - _BOTTOM)
    low, high = float(curve.x[0]), float(curve.x[-1])

    def across(x: float) -> float:
        if curve.logarithmic and high > low:
            share = math.log(x / low) / math.log(high / low)
        else:
            share = (x - low) / (high - low) if high > low else 0.0
        return left + share * (right - left)

    def down(recall: float) -> float:
        return bottom - recall * (bottom - top)

    shapes: list[_Shape] = []
    for percent in range(0, 101, 20):
        y = down(percent / 100)
        shapes.append(_Line(((left, y), (right, y)), _RULE))
        shapes.append(_Words((left - 6, y + 4), f"{percent} %", "end"))
    for x in _ticks(low, high, curve.logarithmic):
        at = across(x)
        shapes.append(_Line(((at, top), (at, bottom)), _RULE))
        shapes.append(_Words((at, bottom + 16), f"{x:,.10g}"))
    points = tuple(
        (across(float(x)), down(float(r))) for x, r in zip(curve.x, curve.recall, strict=True)
    )
    if len(points) == 1:  # one reference alone: a point would not be seen
        points = (points[0], (right, points[0][1]))
    return [
        *shapes,
        _Line(points, _LINE, 2.0),
        _Words(((left + right) / 2, bottom + 36), curve.label),
    ]


def _ticks(low: float, high: float, logarithmic: bool) -> list[float]:
    if logarithmic and low > 0:
        powers = range(math.ceil(math.log10(low) - 1e-9), math.floor(math.log10(high) + 1e-9) + 1)
        return [10.0**power for power in powers]
    step = 10 ** math.floor(math.log10(max(high - low, 1e-9)))
    if (high - low) / step < 4:
        step /= 2
    first = math.ceil(low / step)
    return [step * i for i in range(first, math.floor(high / step + 1e-9) + 1)]
