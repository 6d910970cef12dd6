"""Whose weights are these? The answer, or what was expected and what was found instead."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from engine.errors import EncoderError
from engine.networks.checkpoints import State
from engine.networks.releases import Found, Release, releases

_SHOWN = 8
_LONGEST = 120
"""Characters of a parameter's name that are shown."""


@dataclass(frozen=True)
class Recognised:
    """A checkpoint with its owner."""

    release: Release
    found: Found


class UnknownWeightsError(EncoderError):
    """Weights that no known project published, or of which only a part is here.

    Args:
        found: what the file holds, a line each.
        expected: project and the names it is known by, for everything that could have been read.
    """

    def __init__(
        self,
        problem: str,
        path: Path | None,
        remedy: str,
        found: Iterable[str] = (),
        expected: Iterable[tuple[str, str]] = (),
    ) -> None:
        super().__init__(problem, path, remedy)
        self.found = list(found)
        self.expected = list(expected)


def recognise(
    state: State, path: Path | None = None, known: Iterable[Release] | None = None
) -> Recognised:
    """Ask every release (default: all that are registered) whether the weights are its own.

    Raises:
        UnknownWeightsError: nobody's, more than one's, or only a part.
    """
    known = tuple(releases() if known is None else known)
    shapes = {name: tuple(value.shape) for name, value in state.items()}
    answers = [(release, release.recognise(shapes)) for release in known]
    matches = [Recognised(release, found) for release, found in answers if found is not None]
    lines = describe(shapes)
    if not matches:
        raise UnknownWeightsError(
            f"these are no weights that Nadir knows; the file holds {_count(shapes)}, such as {lines[0]}"
            if lines
            else "the file holds no weights",
            path,
            "Compare what was expected with what was found",
            lines,
            sorted({(release.project, release.expects) for release in known}),
        )
    if len(matches) > 1:
        names = "; ".join(f"{m.release.project}: {m.found.variant}" for m in matches)
        raise UnknownWeightsError(
            f"these weights fit more than one network ({names})",
            path,
            "Ask the file's source which it is",
            lines,
            [(m.release.project, m.release.expects) for m in matches],
        )
    match = matches[0]
    if match.release.part is not None:
        raise UnknownWeightsError(
            f"these weights are only a part of an encoder ({match.found.variant}): {match.release.part}",
            path,
            "Get the whole model's weights",
            lines,
            [(match.release.project, match.release.expects)],
        )
    return match


def describe(shapes: Mapping[str, tuple[int, ...]]) -> list[str]:
    """The first and the last few names of a checkpoint with their shapes, a line each."""
    lines = [f"{_short(name)} {list(shape)}" for name, shape in shapes.items()]
    if len(lines) <= _SHOWN:
        return lines
    return [*lines[: _SHOWN // 2], f"({len(lines) - _SHOWN} more)", *lines[-_SHOWN // 2 :]]


def _short(name: str) -> str:
    return name if len(name) <= _LONGEST else f"{name[: _LONGEST - 1]}…"


def _count(shapes: Mapping[str, tuple[int, ...]]) -> str:
    return "one tensor" if len(shapes) == 1 else f"{len(shapes)} tensors"
