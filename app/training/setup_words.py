"""What the form of a new run says of its data and of how long it will take."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from PySide6.QtCore import QCoreApplication

from app.training import work
from app.training.words import duration, gigabytes

translate = QCoreApplication.translate


def data_words(data: Mapping[str, Any], *, rendered: bool, pictured: bool = True) -> str:
    """What a check has found in the data.

    Args:
        data: the values of the probe's ``data`` event.
        rendered: the towns lie in the runs' own folder, and not in one that the user chose.
        pictured: some of the pairs are shown.
    """
    pairs, missing = int(data.get("pairs") or 0), int(data.get("pairs_to_render") or 0)
    parts = []
    if pairs:
        parts.append(translate("Training", "{0} pairs are there.").format(f"{pairs:,}"))
    if missing:
        words = (
            translate("Training", "{0} pairs in {1} towns are rendered first, about {2}.")
            if rendered
            else translate(
                "Training", "{0} pairs in {1} towns are rendered into this folder first, about {2}."
            )
        )
        parts.append(words.format(f"{missing:,}", data.get("to_render"), duration(_render_s(data))))
        other = int(data.get("other") or 0)
        if other:
            words = translate(
                "Training",
                "{0} towns of the same numbers were rendered for another recipe; they stay beside them.",
            )
            parts.append(words.format(other))
        if not pairs and pictured:
            parts.append(translate("Training", "These are from a small town of the same making."))
    if not data.get("validation") and not missing:
        parts.append(
            translate("Training", "There is nothing to validate on, so no recall will be shown.")
        )
    return " ".join(parts)


def rendering_words(data: Mapping[str, Any]) -> str:
    """How long the data is rendered before a training begins, as far as that is known at once; may be empty."""
    if not data.get("pairs_to_render"):
        return ""
    words = translate("Training", "Rendering the data takes about {0} first.")
    return words.format(duration(_render_s(data)))


def _render_s(data: Mapping[str, Any]) -> float:
    return float(data.get("render_s") or 0.0)


def measured_words(measured: work.Measured, processes: int) -> str:
    """How long a training will take."""
    words = translate("Training", "About {0}").format(duration(measured.seconds))
    if processes > 1:
        words = translate("Training", "About {0} on one GPU, less on {1}").format(
            duration(measured.seconds), processes
        )
    if measured.render_s > 1:
        words = translate("Training", "{0}, and {1} before that to render the data").format(
            words, duration(measured.render_s)
        )
    if measured.crowded:
        words = translate("Training", "{0}, while other programs keep the processor busy").format(
            words
        )
    return words


def memory_words(measured: work.Measured) -> str:
    """Whether it fits into the memory that is free."""
    words = (
        translate("Training", "Needs {0} of {1} free: it fits.")
        if measured.fits
        else translate(
            "Training", "Needs {0}, {1} are free: it does not fit. Take smaller batches."
        )
    )
    return words.format(gigabytes(measured.memory), gigabytes(measured.free))
