"""Results as one HTML page that stands alone: no script, nothing fetched, fit for print and for an archive."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape

from engine import __version__
from engine.errors import printable
from engine.geo import LocalFrame
from engine.localize.result import Candidate, Result
from engine.localize.words import headline, order_note, position, ranked_otherwise, verdict

_SIDE, _MARGIN = 340, 28  # of the plan, pixels
_STYLE = """
:root{color-scheme:light dark;--line:#8884;--accent:#1f6feb}
body{font:15px/1.5 system-ui,sans-serif;max-width:66rem;margin:2rem auto;padding:0 1rem}
h1{font-size:1.2rem;margin:2.5rem 0 .25rem;overflow-wrap:anywhere}
section+section{border-top:1px solid var(--line)}
.says{font-size:1.1rem;margin:.25rem 0 1rem}
.beside{display:flex;flex-wrap:wrap;gap:1.5rem;align-items:flex-start}
table{border-collapse:collapse;font-variant-numeric:tabular-nums}
th,td{padding:.2rem .7rem .2rem 0;text-align:right;white-space:nowrap}
th{font-weight:600;border-bottom:1px solid var(--line)}
td:nth-child(2),th:nth-child(2){text-align:left;user-select:all}
dl{display:grid;grid-template-columns:max-content 1fr;gap:.1rem 1rem;font-size:.85rem}
dt{opacity:.7}dd{margin:0;overflow-wrap:anywhere}
svg{border:1px solid var(--line);border-radius:4px}
@media print{section{break-inside:avoid}}
"""


def to_html(results: Sequence[Result]) -> str:
    """A section a photo: what can be said of it, a plan of the places to scale, a table, and what made the answer."""
    title = results[0].photo_name if len(results) == 1 else f"{len(results)} photos"
    policy = "default-src 'none'; style-src 'unsafe-inline'"
    body = "\n".join(_section(result) for result in results)
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
        '<meta name="viewport" content="width=device-width">'
        f"<title>{_safe(title)} · Nadir</title><style>{_STYLE}</style></head>\n<body>\n{body}\n"
        f"<footer><p><small>Made by Nadir {_safe(__version__)}. A result is a hypothesis: check it before "
        "you act on it.</small></p></footer>\n</body></html>\n"
    )


def _section(result: Result) -> str:
    parts = [
        f"<h1>{_safe(result.photo_name)}</h1>",
        f'<p class="says">{_safe(headline(result))}</p>',
    ]
    if result.candidates:
        parts.append(f'<div class="beside">{_plan(result)}{_table(result)}</div>')
    notes = [f"{note[:1].upper()}{note[1:]}." for note in (order_note(result),) if note]
    parts += [f"<p>{_safe(notice)}</p>" for notice in (*notes, *result.notices)]
    return "<section>\n" + "\n".join([*parts, _facts(result)]) + "\n</section>"


def _table(result: Result) -> str:
    chances = any(c.probability is not None for c in result.candidates)
    heads = [
        "",
        "position",
        "heading",
        "score",
        *(["support"] if ranked_otherwise(result) else []),
        *(["probability"] if chances else []),
        "from first",
    ]
    otherwise = ranked_otherwise(result)
    rows = [
        "<tr>"
        + "".join(f"<td>{_safe(cell)}</td>" for cell in _row(candidate, chances, otherwise))
        + "</tr>"
        for candidate in result.candidates
    ]
    head = "".join(f"<th>{name}</th>" for name in heads)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table>"


def _row(candidate: Candidate, chances: bool, otherwise: bool) -> list[str]:
    turned = candidate.heading_deg
    chance = _percent(candidate.probability)
    return [
        str(candidate.rank),
        position(candidate.lat, candidate.lon),
        "–" if turned is None else f"{round(turned) % 360}°",
        f"{candidate.score:.3f}",
        *([f"{candidate.support:.3f}"] if otherwise else []),
        *([chance] if chances else []),
        "" if candidate.rank == 1 else f"{candidate.distance_from_first_m:,.0f} m",
    ]


def _percent(probability: float | None) -> str:
    if probability is None:
        return "–"
    if 0 < probability < 0.001:
        return "<0.1 %"
    return ">99.9 %" if 0.999 < probability < 1 else f"{100 * probability:.1f} %"


def _plan(result: Result) -> str:
    """The places to scale, north up, with their ranks, headings, and the credible circle where one is promised."""
    first = result.candidates[0]
    frame = LocalFrame(first.lat, first.lon)
    places = [tuple(map(float, frame.to_local(c.lat, c.lon))) for c in result.candidates]
    radius = 0.0
    if verdict(result) == "located" and result.posterior is not None:
        radius = result.posterior.radius_m or 0.0
    east = [x for x, _ in places] + [-radius, radius]
    north = [y for _, y in places] + [-radius, radius]
    span = max(max(east) - min(east), max(north) - min(north), 4 * radius, 20.0)
    middle = (max(east) + min(east)) / 2, (max(north) + min(north)) / 2
    scale = (_SIDE - 2 * _MARGIN) / span

    def at(x: float, y: float) -> tuple[float, float]:
        return _SIDE / 2 + (x - middle[0]) * scale, _SIDE / 2 - (y - middle[1]) * scale

    drawn: list[str] = []
    if radius:
        x, y = at(0, 0)
        drawn.append(
            f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius * scale:.1f}" fill="var(--accent)" fill-opacity=".18"/>'
        )
    for candidate, place in reversed(list(zip(result.candidates, places, strict=True))):
        drawn.append(_mark(candidate, *at(*place)))
    bar_m = 10 ** math.floor(math.log10(span / 3))
    bar_m *= max(step for step in (1, 2, 5) if step * bar_m <= span / 2.5)
    drawn.append(
        f'<path d="M{_SIDE - 12 - bar_m * scale:.1f} {_SIDE - 12}h{bar_m * scale:.1f}" stroke="currentColor" '
        f'stroke-width="2"/><text x="{_SIDE - 12}" y="{_SIDE - 18}" font-size="11" text-anchor="end" '
        f'fill="currentColor">{bar_m:,.0f} m</text>'
        f'<text x="{_SIDE - 12}" y="20" font-size="12" text-anchor="end" fill="currentColor">N ↑</text>'
    )
    return (
        f'<svg width="{_SIDE}" height="{_SIDE}" viewBox="0 0 {_SIDE} {_SIDE}" role="img" '
        f'aria-label="Plan of the places, north up">{"".join(drawn)}</svg>'
    )


def _mark(candidate: Candidate, x: float, y: float) -> str:
    look = ""
    if candidate.heading_deg is not None:
        turn = math.radians(candidate.heading_deg)
        tip = x + 20 * math.sin(turn), y - 20 * math.cos(turn)
        look = f'<path d="M{x:.1f} {y:.1f}L{tip[0]:.1f} {tip[1]:.1f}" stroke="var(--accent)" stroke-width="3"/>'
    return (
        f'{look}<circle cx="{x:.1f}" cy="{y:.1f}" r="9" fill="var(--accent)"/><text x="{x:.1f}" y="{y + 4:.1f}" '
        f'font-size="11" text-anchor="middle" fill="#fff">{candidate.rank}</text>'
    )


def _facts(result: Result) -> str:
    plan, facts = result.plan, result.facts
    said = "to be found" if plan.heading_deg is None else f"{plan.heading_deg:.0f}°, given"
    if not plan.knows_heading:
        said = "not answered by this encoder"
    what = "photos of the street" if result.of_photos else f"tiles of {result.extent_m:g} m"
    rows = [
        ("Photo", f"{facts.width} × {facts.height}, {plan.kind}, {plan.fov_deg:.0f}° wide"),
        ("Heading", said),
        ("Taken", facts.taken),
        ("Camera", facts.camera),
        ("SHA-256", result.photo_sha256),
        (
            "Searched",
            f"{plan.tiles:,} {what} in {result.timings.total:.2f} s",
        ),
        ("Index", f"{result.index.name}, {result.index.hash}"),
        ("Encoder", f"{result.encoder.name}, {result.encoder.hash}"),
        ("Imagery", str(result.index.about.get("attribution", ""))),
    ]
    shown = (f"<dt>{name}</dt><dd>{_safe(text)}</dd>" for name, text in rows if text)
    return f"<dl>{''.join(shown)}</dl>"


def _safe(text: str) -> str:
    return escape(printable(text))
