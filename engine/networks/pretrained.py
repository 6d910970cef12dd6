"""Weights that others trained for something else (ImageNet, mostly), as a start.

A backbone's file says with :func:`register_pretrained` how its published weights are laid into it; the trainer hands
:func:`load_pretrained` a whole network and the weights, and every backbone inside that takes such weights gets them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from torch import Tensor, nn

from engine.errors import TrainingError

State = Mapping[str, Tensor]
M = TypeVar("M", bound=nn.Module)

_LOADERS: dict[type[nn.Module], Callable[[Any, State], None]] = {}


def register_pretrained(
    kind: type[M],
) -> Callable[[Callable[[M, State], None]], Callable[[M, State], None]]:
    """Decorate a function that lays published weights into a module of this class or one derived from it.

    It takes the module and the published state dict (prefixes such as ``module.`` already taken off), brings position
    embeddings to the module's size, leaves out what the module has no use for (a classifier), and raises ValueError
    for weights that are not for this module.
    """

    def keep(loader: Callable[[M, State], None]) -> Callable[[M, State], None]:
        _LOADERS[kind] = loader
        return loader

    return keep


def _loader(module: nn.Module) -> Callable[[Any, State], None] | None:
    """What was registered for the nearest class."""
    return next((_LOADERS[kind] for kind in type(module).__mro__ if kind in _LOADERS), None)


def load_pretrained(model: nn.Module, state: State) -> tuple[str, ...]:
    """Start ``model`` from published weights.

    Returns:
        The names of the submodules that took them (a network of two branches: two).

    Raises:
        TrainingError: no submodule takes such weights, or they do not fit.
    """
    taken: list[str] = []
    for name, module in model.named_modules():
        loader = _loader(module)
        if loader is None or any(parent == "" or name.startswith(f"{parent}.") for parent in taken):
            continue
        try:
            loader(module, state)
        except (ValueError, KeyError, RuntimeError) as error:
            raise TrainingError(
                f'the pretrained weights do not fit "{name or type(module).__name__}": {error}',
                None,
                "Take the weights that were published for this backbone, or train without any",
            ) from error
        taken.append(name)
    if not taken:
        raise TrainingError("this network has no backbone that starts from published weights")
    return tuple(taken)


def keep_known(module: nn.Module, state: State, *, unused: tuple[str, ...] = ()) -> None:
    """Load ``state`` into ``module``, strictly but for keys that begin with one of ``unused``."""
    module.load_state_dict(
        {name: value for name, value in state.items() if not name.startswith(unused or ("\0",))}
    )
