"""What the guided task says: of the imagery, of what a build will take, and of what a server will be asked."""

from __future__ import annotations

from PySide6.QtCore import QCoreApplication

from app.library.estimates import Outlook
from app.library.imagery import Facts
from app.library.sections import Row, Section
from app.library.words import corners, lasting, metres, resolution, sentence, size

translate = QCoreApplication.translate


def fact_sections(facts: Facts) -> list[Section]:
    """The facts of imagery, for its card."""
    unknown = translate("Library", "Not stated")
    rows = [Row(translate("Library", "Kind"), kind_words(facts))]
    if facts.host:
        rows.append(Row(translate("Library", "Server"), facts.host))
    if facts.places:
        rows.append(Row(translate("Library", "Pictures"), f"{facts.places:,}"))
    if facts.resolution_m:
        rows.append(Row(translate("Library", "Resolution"), resolution(facts.resolution_m)))
    if facts.zooms is not None:
        low, high = facts.zooms
        zooms = f"{low}" if low == high else translate("Library", "{0} to {1}").format(low, high)
        rows.append(Row(translate("Library", "Zoom levels"), zooms))
    if facts.spans_m is not None:
        words = translate("Library", "{0} × {1}")
        rows.append(Row(translate("Library", "Spans"), words.format(*map(metres, facts.spans_m))))
    if facts.pixels is not None:
        words = translate("Library", "{0} × {1} pixels")
        rows.append(
            Row(
                translate("Library", "Picture"),
                words.format(f"{facts.pixels[0]:,}", f"{facts.pixels[1]:,}"),
            )
        )
    if facts.bytes:
        text = size(facts.bytes)
        if facts.files > 1:
            text = translate("Library", "{0} in {1} files").format(text, f"{facts.files:,}")
        rows.append(Row(translate("Library", "Size"), text))
    if facts.crs:
        rows.append(Row(translate("Library", "Coordinates"), facts.crs))
    if facts.bounds is not None:
        rows.append(Row(translate("Library", "Corners"), corners(facts.bounds)))
    rows.append(Row(translate("Library", "From"), facts.attribution or unknown))
    rows.append(Row(translate("Library", "Licence"), facts.licence or unknown))
    if facts.terms:
        rows.append(Row(translate("Library", "Terms"), facts.terms))
    return [Section(facts.name, tuple(rows), tuple(map(sentence, facts.notes)))]


def kind_words(facts: Facts) -> str:
    """What it is."""
    if facts.pictures:
        if facts.street:
            return translate("Library", "Photos from the ground, each at its place")
        return translate("Library", "Aerial pictures, each at its place")
    return facts.kind


def outlook_words(outlook: Outlook) -> str:
    """What a build will take, in a line."""
    if not outlook.tiles:
        return translate("Library", "There is no tile in this area.")
    counted = translate("Library", "{0} tiles")
    if outlook.street:
        counted = translate("Library", "{0} photos")
    parts = [
        counted.format(f"{outlook.tiles:,}"),
        translate("Library", "about {0}").format(size(outlook.bytes)),
    ]
    if outlook.seconds is not None:
        parts.append(translate("Library", "about {0}").format(lasting(outlook.seconds)))
    return " · ".join(parts)


def outlook_details(outlook: Outlook, facts: Facts, extents_m: tuple[float, ...]) -> str:
    """What else is to be known before a start."""
    spans = facts.spans_m
    if not outlook.tiles and spans and extents_m and min(spans) < 2 * min(extents_m):
        words = translate(
            "Library",
            "Tiles of {0} find too little imagery: it spans {1} × {2}. "
            "Choose a smaller side under More, or larger imagery.",
        )
        return words.format(metres(min(extents_m)), *map(metres, spans))
    # What the imagery's own card says is not said twice.
    notes = [sentence(note) for note in outlook.notes if note not in facts.notes]
    if outlook.resolution_m:
        words = translate("Library", "At this zoom the imagery shows {0}.")
        notes.append(words.format(resolution(outlook.resolution_m)))
    return "\n".join(notes)


def ask_words() -> str:
    """What is asked of a server before anything else can be said."""
    return translate(
        "Library",
        "What it has, how fine and under which terms is only known once it was asked: one request. "
        "No imagery is fetched by that.",
    )


def consent_words(facts: Facts, outlook: Outlook) -> str:
    """What a server will be asked for, by whose leave."""
    words = translate(
        "Library",
        "About {0} requests, {1}, at least {2}. They tell the server which area you look at.",
    )
    lines = [
        words.format(f"{outlook.requests:,}", size(outlook.fetched_bytes), lasting(outlook.fetch_s))
    ]
    attribution = outlook.attribution or facts.attribution
    licence, terms = outlook.licence or facts.licence, outlook.terms or facts.terms
    whose = " · ".join(part for part in (attribution, licence) if part)
    if whose:
        lines.append(translate("Library", "Imagery: {0}").format(whose))
    terms = terms or translate("Library", "not stated. Make sure that you may fetch in bulk.")
    lines.append(translate("Library", "Terms: {0}").format(terms))
    return "\n".join(lines)
