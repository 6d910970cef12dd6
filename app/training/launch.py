"""Starting, stopping, pausing, going on: what the buttons of the Train workspace do to a run. No Qt here."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import time
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from app.training import processes
from app.training.interpreter import environment, folder_to_run_in
from app.training.runs import (
    CHECKPOINT,
    ERRORS,
    PAUSE,
    STOP,
    Launch,
    Run,
    ask,
    take_back,
    write_launch,
)
from engine.errors import TrainingError

TOWNS = "towns"  # the folder of rendered towns that runs share


@dataclass(frozen=True)
class Plan:
    """A run as the user set it up.

    Args:
        recipe: a shipped recipe's name, or the path of a file.
        data: a folder; None: what the recipe says is rendered into the runs' shared folder.
        devices: one, or several GPUs for a process each.
        minutes: a budget; None: the recipe's own steps.
    """

    name: str
    root: Path
    recipe: str
    data: Path | None
    devices: tuple[str, ...]
    minutes: float | None
    python: Path

    @property
    def folder(self) -> Path:
        return self.root / self.name

    @property
    def data_folder(self) -> Path:
        """Where the trainer finds its data."""
        return self.data if self.data is not None else self.root / TOWNS


def train_command(folder: Path, launch: Launch, data: Path, *, resume: bool) -> list[str]:
    """What is run."""
    gpus = [name for name in launch.devices if name != "cpu"]
    command = [launch.python]
    if len(gpus) > 1:
        command += ["-m", "torch.distributed.run", "--standalone"]
        command += ["--nproc-per-node", str(len(gpus))]
    command += ["-m", "engine", "train", "--recipe", launch.recipe]
    command += ["--data", str(data), "--out", str(folder)]
    command += ["--device", "cuda" if len(gpus) > 1 else launch.devices[0]]
    if launch.minutes is not None:
        command += ["--minutes", f"{launch.minutes:g}"]
    return [*command, "--resume"] if resume else command


def begin(plan: Plan) -> Run:
    """Start a run in a new folder.

    Raises:
        TrainingError: the folder cannot be made, or the process not be started.
    """
    folder = plan.folder
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if any(folder.iterdir()):
            raise TrainingError(
                "something stands there already", folder, "Give the run another name"
            )
        recipe = plan.recipe
        if Path(recipe).is_file():
            # The run keeps its recipe, so that it is resumed with what it began with.
            recipe = str(shutil.copyfile(recipe, folder / Path(recipe).name))
    except OSError as error:
        raise TrainingError(
            f"the run's folder cannot be made ({error.strerror})", folder, "Choose another folder"
        ) from error
    launch = Launch(
        recipe=recipe,
        data=str(plan.data_folder),
        devices=plan.devices,
        minutes=plan.minutes,
        python=str(plan.python),
        created=datetime.now().astimezone().isoformat(timespec="seconds"),
    )
    return _start(Run(folder, launch), resume=False)


def resume(run: Run, python: Path | None = None) -> Run:
    """Go on with a run that ended; from its checkpoint, or from the start where it never wrote one."""
    assert run.launch is not None
    if run.alive:
        raise TrainingError("is still at work", run.folder, "Stop it first")
    launch = run.launch if python is None else replace(run.launch, python=str(python))
    return _start(Run(run.folder, launch), resume=(run.folder / CHECKPOINT).is_file())


def _start(run: Run, *, resume: bool) -> Run:
    launch = run.launch
    assert launch is not None
    for what in (STOP, PAUSE):
        take_back(run, what)
    token = secrets.token_hex(8)
    added = environment(token)
    gpus = [name.rpartition(":")[2] for name in launch.devices if name.startswith("cuda:")]
    if len(gpus) > 1:
        added["CUDA_VISIBLE_DEVICES"] = ",".join(gpus)
    errors = run.folder / ERRORS
    try:
        errors.write_bytes(b"")
        process = processes.start(
            train_command(run.folder, launch, Path(launch.data), resume=resume),
            folder=folder_to_run_in(),
            environment=added,
            errors=errors,
        )
    except OSError as error:
        raise TrainingError(
            f"cannot be started ({error.strerror})", launch.python, "Choose another Python"
        ) from error
    mark = processes.mark_of(process.pid)
    started = replace(launch, pid=process.pid, mark=mark, token=token)
    write_launch(run.folder, started)
    begun = Run(run.folder, started)
    begun.process = process
    begun.take(begun.look())
    # What the last sitting said last is old news until this one speaks.
    begun.story.phase = begun.story.problem = begun.story.remedy = ""
    return begun


def stop(run: Run) -> None:
    """Ask for a checkpoint and the end."""
    assert run.launch is not None
    take_back(run, PAUSE)
    ask(run, STOP)
    if len(run.launch.devices) < 2:
        processes.interrupt(run.launch.pid, run.launch.mark)


def pause(run: Run) -> None:
    """Ask it to hold its place."""
    ask(run, PAUSE)


def go_on(run: Run) -> None:
    """Let a paused run go on."""
    take_back(run, PAUSE)


def end_now(run: Run) -> None:
    """End the run's whole family at once; its last checkpoint stays.

    Raises:
        TrainingError: something of it would not end.
    """
    assert run.launch is not None
    ask_quietly(run)
    if not processes.end(run.launch.token, run.launch.pid, run.launch.mark):
        raise TrainingError("some of its processes would not end", run.folder, "Try again")


def ask_quietly(run: Run) -> None:
    """Note that the end was wanted, where the disk takes it."""
    with contextlib.suppress(TrainingError):
        ask(run, STOP)


def wait_gone(run: Run, timeout_s: float) -> bool:
    """Wait until nothing of a run is left; for tests and for the window's end."""
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        if run.process is not None:
            run.process.poll()  # what has ended is let go of
        launch = run.launch
        if launch is None or not processes.family(launch.token, launch.pid, launch.mark):
            return True
        time.sleep(0.05)
    return False


def delete(run: Run) -> None:
    """Delete a run's folder with all it holds."""
    if run.alive:
        raise TrainingError("is still at work", run.folder, "Stop it first")
    try:
        shutil.rmtree(run.folder)
    except OSError as error:
        raise TrainingError(
            f"could not be deleted ({os.strerror(error.errno or 0)})", run.folder
        ) from error
