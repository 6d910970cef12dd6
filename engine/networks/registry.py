"""Networks by name, so that a recipe can ask for one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from engine.errors import TrainingError
from engine.networks.dual import DualEncoder

Builder = Callable[[Mapping[str, Any]], DualEncoder]
_BUILDERS: dict[str, Builder] = {}


def register_network(name: str) -> Callable[[Builder], Builder]:
    """Decorate a function that builds a network from the options a recipe gives."""

    def keep(builder: Builder) -> Builder:
        _BUILDERS[name] = builder
        return builder

    return keep


def build_network(name: str, options: Mapping[str, Any]) -> DualEncoder:
    """Build the network ``name``.

    Raises:
        TrainingError: for a name or an option that nobody knows.
    """
    if name not in _BUILDERS:
        known = ", ".join(sorted(_BUILDERS))
        raise TrainingError(f'there is no network "{name}"', None, f"Known are: {known}")
    try:
        return _BUILDERS[name](options)
    except (TypeError, ValueError, RuntimeError, ArithmeticError, LookupError) as error:
        raise TrainingError(f'the network "{name}" cannot be built: {error}') from error
