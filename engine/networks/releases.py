"""Whose weights are these? Published checkpoints, recognised by the names and shapes of their parameters.

Every method's file registers a :class:`Release` for each form in which its authors publish weights. ``nadir import``
asks them all.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from engine.encoder import Branch

Shapes = Mapping[str, tuple[int, ...]]
"""Parameter and buffer names of a checkpoint with their shapes, prefixes such as ``module.`` already taken off."""
State = dict[str, Tensor]
Size = tuple[int, int]


@dataclass(frozen=True)
class Found:
    """A checkpoint that a release recognised: what to build for it.

    Args:
        network: a registered network's name, with its ``options``.
        variant: what people call it ("SAIG-S with SMD").
        query_size, reference_size: [H, W] that its authors use, as far as the weights tell; the user may override
            them.
        choices: options that the weights do not tell, each with the values that it may have: the user says which. A
            pooling without parameters leaves no trace, for instance.
        fov_deg: what of a turn the photos showed that the weights were trained with, as far as they tell.
        trained_on: the dataset, where the weights tell.
    """

    network: str
    variant: str
    query_size: Size
    reference_size: Size
    options: Mapping[str, Any] = field(default_factory=dict)
    choices: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    fov_deg: float = 360.0
    trained_on: str = ""


@dataclass(frozen=True)
class Preprocessing:
    """What goes into the card beside the graphs: the official preprocessing of both sides.

    ``query`` and ``reference`` are card branches (graph names and hashes are filled in by the import).
    """

    query: Branch
    reference: Branch
    tile_extents_m: tuple[float, ...]
    stride_m: float
    query_subshifts: int = 1
    tile_up: str = "north"
    data: str = ""
    licence: str = ""
    note: str = ""


@dataclass(frozen=True)
class Release:
    """One form in which a project publishes weights.

    Args:
        project: for people: method, authors' repository ("SAIG, yanghongji2007/SAIG").
        expects: which parameter names it is known by, for the message about an unknown file.
        recognise: names and shapes to what to build; None: not ours. It must not guess: two releases must never
            both recognise one checkpoint.
        preprocess: the official preprocessing for what was found, at given sizes.
        adapt: the checkpoint's tensors under the names and layouts that the built network's ``load_state_dict``
            takes with ``strict=True``; ``sizes`` are (query, reference), for position embeddings that must be resized
            the way the authors' code does. Default: as they are.
        part: not None: these weights are only a part (an aggregation, a backbone), and this says what is missing, so
            that the file is refused with a reason.
    """

    project: str
    expects: str
    recognise: Callable[[Shapes], Found | None]
    preprocess: Callable[[Found], Preprocessing]
    adapt: Callable[[State, Found], State] = lambda state, found: state
    part: str | None = None


_RELEASES: list[Release] = []


def register_release(release: Release) -> Release:
    """Let ``nadir import`` know of a release."""
    _RELEASES.append(release)
    return release


def releases() -> tuple[Release, ...]:
    """All that are registered."""
    return tuple(_RELEASES)
