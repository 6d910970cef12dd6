"""The events of a training for TensorBoard, for those who have it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from engine.errors import TrainingError
from engine.training.events import Emit

FOLDER = "tensorboard"


def with_board(emit: Emit, out: Path) -> Emit:
    """An ``emit`` that also writes all numbers of ``step`` and ``validation`` below ``out/tensorboard``.

    Raises:
        TrainingError: when TensorBoard is not installed.
    """
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise TrainingError(
            "TensorBoard is not installed", None, "Install it: pip install tensorboard"
        ) from error
    writer = SummaryWriter(str(out / FOLDER))

    def tell(event: str, **values: Any) -> None:
        emit(event, **values)
        for name, value in scalars(event, values):
            writer.add_scalar(name, value, values["step"])
        if event in ("validation", "checkpoint", "done", "stopped", "error"):
            writer.flush()

    return tell


def scalars(event: str, values: dict[str, Any]) -> list[tuple[str, float]]:
    """The numbers of an event under the names of their curves: ``train/loss``, ``360 known/R@1<25m``."""
    if event == "step":
        named = {f"train/{k}": v for k, v in values.items() if k not in ("step", "elapsed_s")}
    elif event == "validation":
        named = {
            f"{kind}/{k}": v for kind, all_ in values["queries"].items() for k, v in all_.items()
        }
    else:
        named = {}
    return [(k, float(v)) for k, v in named.items() if isinstance(v, int | float)]
