"""What the Library workspace says: sizes, counts, places, checks, and how a build stands."""

from __future__ import annotations

import re
from datetime import datetime

from PySide6.QtCore import QCoreApplication, QDate, QLocale

from app.library.builds import Build, State
from app.training.words import complaint, duration, whole_percent
from engine.geo import Bounds
from engine.library import Check, Item

translate = QCoreApplication.translate
_RESUME = re.compile(
    r"(,? and|\.)? ?continue with:? nadir index build .*--resume( --allow \S+)*", re.IGNORECASE
)

_FILE = re.compile(r"[^\s:]*[./\\]\w|[^:]*\.\w{1,12}: ")  # "a.tif is", "c:\\a.tif", "my area.tif: "


def size(bytes_: float) -> str:
    """A size on disk: 12 kB, 3.4 MB, 1.2 GB."""
    value, unit = bytes_ / 1e3, translate("Library", "{0} kB")
    if bytes_ >= 0.95e9:
        value, unit = bytes_ / 1e9, translate("Library", "{0} GB")
    elif bytes_ >= 0.95e6:
        value, unit = bytes_ / 1e6, translate("Library", "{0} MB")
    else:
        return unit.format(f"{max(1, round(value)):,}").replace(" ", "\N{NO-BREAK SPACE}")
    text = f"{value:.1f}" if value < 100 else f"{value:,.0f}"
    return unit.format(text).replace(" ", "\N{NO-BREAK SPACE}")


def metres(value: float) -> str:
    """A distance on the ground: 0.25 m, 40 m, 12 km."""
    if value >= 2000:
        km = value / 1000
        return translate("Library", "{0} km").format(f"{km:.3g}" if km < 1000 else f"{km:,.0f}")
    return translate("Library", "{0} m").format(f"{value:.3g}" if value < 1000 else f"{value:,.0f}")


def resolution(value: float) -> str:
    """Ground resolution: 25 cm a pixel, 1.2 m a pixel, 58 km a pixel."""
    if value < 0.995:
        return translate("Library", "{0} cm a pixel").format(f"{100 * value:.3g}")
    if value >= 999.5:
        return translate("Library", "{0} km a pixel").format(f"{value / 1000:.3g}")
    return translate("Library", "{0} m a pixel").format(f"{value:.3g}")


def lasting(seconds: float) -> str:
    """A time as people say it, never broken at the end of a line."""
    return duration(seconds).replace(" ", "\N{NO-BREAK SPACE}")


def area(square_metres: float) -> str:
    """An area on the ground: 3.2 ha, 12 km²."""
    if square_metres < 1e6:
        hectares = square_metres / 1e4
        return translate("Library", "{0} ha").format(
            f"{hectares:.2g}" if hectares < 10 else f"{hectares:.0f}"
        )
    km2 = square_metres / 1e6
    return translate("Library", "{0} km²").format(f"{km2:.1f}" if km2 < 100 else f"{km2:,.0f}")


def position(lat: float, lon: float) -> str:
    """A position: 48.87012° S, 123.39023° W; no line ends within its parts."""
    ns = translate("Library", "S") if lat < 0 else translate("Library", "N")
    ew = translate("Library", "W") if lon < 0 else translate("Library", "E")
    unbroken = "\N{NO-BREAK SPACE}"
    return f"{abs(lat):.5f}°{unbroken}{ns}, {abs(lon):.5f}°{unbroken}{ew}"


def corners(box: Bounds) -> str:
    """A box by its corners, south-west to north-east."""
    return f"{position(box.south, box.west)} –\n{position(box.north, box.east)}"


def when(iso: str) -> str:
    """A moment, as the user's own language writes it."""
    try:
        moment = datetime.fromisoformat(iso).astimezone()
    except ValueError:
        return iso
    date = QDate(moment.year, moment.month, moment.day)
    day = QLocale().toString(date, QLocale.FormatType.ShortFormat)
    return f"{day} {moment:%H:%M}"


def kind_name(item: Item) -> str:
    """What an item is, in a word or two."""
    if item.kind == "encoder":
        return translate("Library", "Encoder")
    if item.manifest is not None and item.manifest.kind == "street":
        return translate("Library", "Index of street photos")
    return translate("Library", "Index")


def in_short(item: Item, build: Build | None = None) -> str:
    """An item in one line, for the list."""
    if build is not None and build.state != State.DONE:
        return build_in_short(build)
    if item.error is not None:
        return translate("Library", "Broken")
    if item.unfinished:
        return translate("Library", "Not finished")
    if item.manifest is not None:
        count = translate("Library", "{0} tiles").format(f"{item.manifest.count:,}")
        if item.manifest.kind == "street":
            count = translate("Library", "{0} photos").format(f"{item.manifest.count:,}")
        return f"{count} · {size(item.bytes)}"
    if item.card is not None:
        return " · ".join(part for part in (item.card.architecture, size(item.bytes)) if part)
    return ""


def check_words(check: Check | None, hash_: str) -> str:
    """What is known of an item's files."""
    if check is None:
        return translate(
            "Library", "Not checked yet. Verify compares every file with its checksum."
        )
    moment = when(check.when)
    if check.hash != hash_:
        return translate("Library", "Changed since it was checked, {0}.").format(moment)
    if check.good:
        return translate("Library", "Every file was as it was made, {0}.").format(moment)
    return translate("Library", "Damage was found, {0}:").format(moment)


# Builds -----------------------------------------------------------------------------------------------------------


def state_name(state: State) -> str:
    """A state in a word or two."""
    return {
        State.STARTING: translate("Library", "Starting"),
        State.WORKING: translate("Library", "Building"),
        State.PAUSING: translate("Library", "Pausing"),
        State.PAUSED: translate("Library", "Paused"),
        State.BROKEN_OFF: translate("Library", "Broken off"),
        State.FAILED: translate("Library", "Failed"),
        State.DONE: translate("Library", "Done"),
    }[state]


def build_in_short(build: Build) -> str:
    """A build in one line, for the list."""
    words = state_name(build.state)
    if build.story.share > 0 and build.state != State.FAILED:
        return f"{words} · {whole_percent(build.story.share)}"
    return words


def build_at_length(build: Build) -> str:
    """How a build stands, a line or two."""
    state, story = build.state, build.story
    if state == State.STARTING:
        return translate("Library", "The encoder and the imagery are being opened.")
    if state == State.PAUSING:
        return translate("Library", "What is begun is finished first.")
    if state == State.PAUSED:
        text = translate(
            "Library", "Paused. What is done is kept, also when the program is closed."
        )
        return f"{text} {_done(build)}".strip()
    if state == State.BROKEN_OFF:
        text = translate(
            "Library", "It was broken off: the machine restarted, or it was ended from outside."
        )
        return f"{text} {translate('Library', 'What is done is kept.')} {_done(build)}".strip()
    if state != State.WORKING:
        return ""
    parts = [_done(build).rstrip(".") if story.rows is not None else story.text]
    parts = [part for part in parts if part]
    if story.share > 0:  # not the share of the tiles: looking at the imagery and joining count too
        words = translate("Library", "{0} of the work")
        parts.append(words.format(whole_percent(story.share)))
    if story.seconds_left is not None:
        parts.append(translate("Library", "about {0} left").format(lasting(story.seconds_left)))
    return " · ".join(parts)


def _done(build: Build) -> str:
    story = build.story
    if story.rows is None:
        return ""
    words = translate("Library", "{0} of {1} tiles.")
    return words.format(*(f"{number:,}" for number in story.rows))


def can_go_on(build: Build) -> bool:
    """Whether going on may help where a build failed: after a full disk or a crash, not where its plan is wrong."""
    story = build.story
    return story.phase != "error" or not story.problem or bool(_RESUME.search(story.remedy))


def why_failed(build: Build) -> tuple[str, str]:
    """Why a build failed, and what to do."""
    story = build.story
    again = translate("Library", "What is done is kept; Resume goes on from there.")
    if story.phase == "error" and story.problem:
        remedy = _RESUME.sub("", story.remedy)  # said for the command line
        if "is kept" in story.problem:  # it need not be said twice
            again = translate("Library", "Resume goes on from there.")
        parts = [sentence(remedy), again if can_go_on(build) else ""]
        return sentence(story.problem), " ".join(part for part in parts if part)
    last = complaint(build.errors)
    headline = translate("Library", "The build ended without having said why.")
    return (sentence(last), again) if last else (headline, again)


def sentence(text: str) -> str:
    """A clause as a sentence. One that begins with a file keeps the file's name as it is."""
    text = text.strip()
    if not _FILE.match(text):
        text = text[:1].upper() + text[1:]
    return text if not text or text[-1] in ".!?…" else f"{text}."
