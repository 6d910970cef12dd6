"""Providers that fail: the answer still comes, from the CPU, with a notice."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import onnxruntime
import pytest

from engine.encoder.session import CPU, CUDA, GraphSession, available_providers, make_runner
from engine.errors import EncoderError
from tests.linear_encoder import HEIGHT, WIDTH, linear_card, linear_graph


@pytest.fixture(scope="module")
def graph():
    return linear_graph(linear_card())


@pytest.fixture(scope="module")
def batch():
    return np.random.default_rng(0).standard_normal((2, 3, HEIGHT, WIDTH)).astype(np.float32)


class BreaksAfter:
    """A real session that stands for a GPU: it runs ``good`` times, then fails as CUDA does."""

    def __init__(self, graph, good):
        self._session = make_runner(graph, CPU, 1)
        self._good = good

    def run(self, output_names, input_feed):
        if self._good == 0:
            raise RuntimeError("CUDA failure 2: out of memory ; GPU=0 ; hostname=there\nmore lines")
        self._good -= 1
        return self._session.run(output_names, input_feed)

    def get_providers(self):
        return self._session.get_providers()

    def get_inputs(self):
        return self._session.get_inputs()

    def get_outputs(self):
        return self._session.get_outputs()


def test_cpu(graph, batch):
    session = GraphSession(graph, providers=(CPU,))
    (values,), seconds = session.run(batch, ["descriptor"])
    assert session.device == "CPU" and session.notices == []
    assert values.shape == (2, 384) and seconds > 0


def test_the_cpu_is_always_there():
    assert available_providers()[-1] == CPU


@pytest.mark.skipif(CUDA in onnxruntime.get_available_providers(), reason="here CUDA may work")
def test_a_provider_that_cannot_start(graph, batch):
    session = GraphSession(graph, providers=(CUDA, CPU))
    assert session.device == "CPU"
    assert len(session.notices) == 1 and session.notices[0].startswith(
        "CUDA is present but cannot be used"
    )
    assert session.run(batch, ["descriptor"])[0][0].shape == (2, 384)


def test_a_provider_that_fails_in_a_run(graph, batch):
    def factory(content, provider, threads):
        return (
            BreaksAfter(content, 1) if provider == CUDA else make_runner(content, provider, threads)
        )

    session = GraphSession(graph, providers=(CUDA, CPU), factory=factory)
    assert session.device == "CUDA"
    (first,), _ = session.run(batch, ["descriptor"])
    assert session.notices == []
    (second,), _ = session.run(batch, ["descriptor"])
    assert session.device == "CPU"
    np.testing.assert_allclose(first, second, atol=1e-5)
    assert session.notices == [
        "CUDA failed while encoding (CUDA failure 2: out of memory ; GPU=0 ; hostname=there); continued on CPU."
    ]


def test_nothing_works(graph, batch):
    def factory(content, provider, threads):
        return BreaksAfter(content, 0)

    session = GraphSession(graph, providers=(CUDA, CPU), factory=factory)
    with pytest.raises(EncoderError, match="cannot be run"):
        session.run(batch, ["descriptor"])


def test_threads_give_the_same(graph, batch):
    values = [
        GraphSession(graph, threads=n, providers=(CPU,)).run(batch, ["descriptor"])[0][0]
        for n in (1, 2)
    ]
    np.testing.assert_allclose(values[0], values[1], atol=1e-6)


def test_onnxruntime_keeps_to_itself(graph, tmp_path):
    """Its official builds keep an identifier and report to their makers unless they are told not to."""
    file = tmp_path / "graph.onnx"
    file.write_bytes(graph)
    home = tmp_path / "home"
    home.mkdir()
    words = {"CI", "ORT_DISABLE_TELEMETRY", "ORT_RUNNING_UNIT_TESTS"}
    environment = {key: value for key, value in os.environ.items() if key not in words}
    for key in ("HOME", "TMPDIR", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "LOCALAPPDATA", "TEMP"):
        environment[key] = str(home)
    program = (
        "import sys; from pathlib import Path\n"
        "from engine.encoder.session import GraphSession\n"
        "GraphSession(Path(sys.argv[1]).read_bytes(), threads=1)\n"
    )
    subprocess.run([sys.executable, "-c", program, str(file)], env=environment, check=True)
    assert [str(path) for path in home.rglob("*") if path.is_file()] == []
