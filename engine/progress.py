"""One hook for progress and cancelling.

Long work takes ``report: Report = silent`` and calls it as ``report(done, total, text)``, at least ten times a
second where it can. ``total`` is 0 while it is unknown. To cancel, the receiver raises
:class:`engine.errors.Cancelled` from the call; the work cleans up behind itself and lets it pass.
"""

from __future__ import annotations

from collections.abc import Callable

Report = Callable[[int, int, str], None]


def silent(done: int, total: int, text: str) -> None:
    """Report to nobody."""


def part(report: Report, start: float, stop: float, text: str = "") -> Report:
    """Let a piece of work report into the share ``start..stop`` (0..1) of a longer one."""

    def inner(done: int, total: int, own_text: str) -> None:
        share = done / total if total else 0.0
        report(round(1000 * (start + (stop - start) * share)), 1000, own_text or text)

    return inner
