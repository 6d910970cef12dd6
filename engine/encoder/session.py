"""Running a graph with onnxruntime: on the GPU where that works, else on the CPU, and saying which.

A provider that is installed may still fail: at creation (no driver, wrong CUDA) or in the middle of a run (memory,
a lost device). Both end on the CPU with a notice and a right answer, never with an error.
"""

from __future__ import annotations

import contextlib
import io
import os
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from engine.errors import EncoderError
from engine.shipped import GPU_TROUBLE

CPU = "CPUExecutionProvider"
CUDA = "CUDAExecutionProvider"
DEVICE_NAMES = {CPU: "CPU", CUDA: "CUDA"}
PREFERRED = (CUDA, CPU)


class Runner(Protocol):
    """What is needed of an onnxruntime session."""

    def run(self, output_names: Sequence[str], input_feed: dict[str, Any]) -> Sequence[Any]: ...
    def get_providers(self) -> Sequence[str]: ...
    def get_inputs(self) -> Sequence[Any]: ...
    def get_outputs(self) -> Sequence[Any]: ...


Factory = Callable[[bytes, str, int], Runner]


def available_providers() -> tuple[str, ...]:
    """The providers worth trying on this machine, best first; the CPU is always the last."""
    present = set(onnxruntime.get_available_providers())
    return tuple(name for name in PREFERRED if name in present or name == CPU)


def make_runner(graph: bytes, provider: str, threads: int) -> Runner:
    """An onnxruntime session of ``graph`` on one provider; ``threads`` 0 leaves the number to onnxruntime."""
    onnxruntime.disable_telemetry_events()  # Windows' own; elsewhere see engine/__init__.py
    if provider not in onnxruntime.get_available_providers():
        raise RuntimeError(f"this onnxruntime has no {provider}")
    onnxruntime.set_default_logger_severity(4)  # a provider that cannot start becomes a notice
    if provider == CUDA:
        _load_cuda()
    options = onnxruntime.SessionOptions()
    options.log_severity_level = (
        4  # failures come back as exceptions and become notices; no chatter on stderr
    )
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    # Spinning threads would take the cores from faiss and from the window between two runs.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    providers = [provider] if provider == CPU else [provider, CPU]
    session = onnxruntime.InferenceSession(graph, options, providers=providers)
    if provider not in session.get_providers():  # onnxruntime falls back without a word
        raise RuntimeError(f"{provider} could not be started")
    return session


def _load_cuda() -> None:
    """Load the CUDA libraries that pip has put beside onnxruntime; what the system has is found without."""
    load = getattr(onnxruntime, "preload_dlls", None)
    if load is not None:
        # It prints what it does not find; that the provider fails then is told by a notice.
        with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(OSError, RuntimeError):
            load()


class GraphSession:
    """One graph, ready to run; it moves to the next provider when one fails.

    Safe to call from several threads. ``notices`` says in plain words what went wrong on the way.
    """

    def __init__(
        self,
        graph: bytes,
        *,
        threads: int = 0,
        providers: Sequence[str] | None = None,
        factory: Factory = make_runner,
    ) -> None:
        trouble = os.environ.get(GPU_TROUBLE)
        self.notices: list[str] = [f"{trouble.rstrip('.')}."] if trouble else []
        self._graph = graph
        self._threads = threads
        self._factory = factory
        self._left = list(providers if providers is not None else available_providers())
        self._lock = threading.Lock()
        self._runner, self.provider = self._start()
        if not self._left:
            self._graph = (
                b""  # nothing will be started from it again; it may be hundreds of megabytes
            )
        self._input = self.inputs[0][0] if self.inputs else ""

    @property
    def device(self) -> str:
        """Where it runs, for people: "CPU" or "CUDA"."""
        return DEVICE_NAMES.get(self.provider, self.provider.removesuffix("ExecutionProvider"))

    @property
    def inputs(self) -> list[tuple[str, list[Any]]]:
        """Name and shape of every input; a free dimension is a text or None."""
        return [(item.name, list(item.shape)) for item in self._runner.get_inputs()]

    @property
    def outputs(self) -> dict[str, list[Any]]:
        """Shapes of the outputs by name, as above."""
        return {item.name: list(item.shape) for item in self._runner.get_outputs()}

    def run(
        self, batch: NDArray[np.float32], outputs: Sequence[str]
    ) -> tuple[list[NDArray[np.float32]], float]:
        """Run the graph on [N, 3, H, W]; the named outputs, and the seconds that onnxruntime took.

        Raises:
            EncoderError: when the last provider fails too.
        """
        feed = {self._input: batch}
        while True:
            runner = self._runner
            start = time.perf_counter()
            try:
                values = runner.run(outputs, feed)
            except Exception as error:
                self._fall_back(runner, error)
                continue
            return [np.asarray(value, np.float32) for value in values], time.perf_counter() - start

    def _fall_back(self, failed: Runner, error: Exception) -> None:
        with self._lock:
            if self._runner is not failed:
                return  # another thread has moved on already
            if not self._left:
                raise EncoderError(
                    f"the encoder's graph cannot be run ({first_line(error)})"
                ) from error
            name = self.device
            self._runner, self.provider = self._start()
            self.notices.append(
                f"{name} failed while encoding ({first_line(error)}); continued on {self.device}."
            )

    def _start(self) -> tuple[Runner, str]:
        failures: list[str] = []
        while self._left:
            provider = self._left.pop(0)
            try:
                runner = self._factory(self._graph, provider, self._threads)
            except Exception as error:
                failures.append(first_line(error))
                if provider == CPU:
                    break
                label = DEVICE_NAMES.get(provider, provider)
                self.notices.append(f"{label} is present but cannot be used ({first_line(error)}).")
                continue
            return runner, provider
        raise EncoderError(
            f"the encoder's graph cannot be loaded ({failures[-1] if failures else 'no provider'})",
            None,
            "Get the encoder again from its source",
        )


def first_line(error: BaseException, limit: int = 160) -> str:
    """The first line of an exception's text, short enough for a notice."""
    text = str(error).strip() or type(error).__name__
    line = text.splitlines()[0].strip().rstrip(".")
    return line if len(line) <= limit else line[: limit - 1] + "…"
