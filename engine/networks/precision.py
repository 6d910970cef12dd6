"""An encoder's graphs in fewer bits, and what that costs in recall."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnxruntime
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from engine.networks.dual import DualEncoder
from engine.networks.graphs.edit import Graph
from engine.networks.graphs.int8 import Layer, Ranges, layers_of, observe, quantise
from engine.networks.to_onnx import run_graph

Graphs = Mapping[str, bytes]
"""ONNX graphs by the names of their files."""
Images = NDArray[np.float32]
Evaluate = Callable[[Graphs], float]

ALLOWED_LOSS = 0.01
"""Recall that 8 bits may cost: one point."""
CALIBRATION_IMAGES = 32
_CHECKED = 8


@dataclass(frozen=True)
class Quantised:
    """Graphs in 8 bits.

    Args:
        before, after: recall of the float32 graphs and of these, 0..1; None where nobody could measure.
        kept: names of layers that stayed float32 so that the loss stays allowed.
    """

    graphs: Graphs
    before: float | None
    after: float | None
    kept: tuple[str, ...] = ()


def to_int8(
    graphs: Graphs,
    images: Mapping[str, Images],
    evaluate: Evaluate | None = None,
    *,
    before: float | None = None,
    allowed_loss: float = ALLOWED_LOSS,
) -> Quantised:
    """Quantise an encoder's graphs, leaving as many layers float32 as the recall asks for.

    All layers are tried first. Where that costs more than ``allowed_loss``, the layers are ranked by how far each
    alone moves the descriptors, and the worst one, two, four, ... of each graph stay float32.

    Args:
        graphs: float32 graphs.
        images: pictures for each graph, normalised as it reads them, to find ranges on.
        evaluate: recall (0..1) of an encoder with these graphs.
        before: its answer for ``graphs``, where it is known already.
    """
    ranges = {name: best_ranges(graph, images[name]) for name, graph in graphs.items()}
    if before is None and evaluate:
        before = evaluate(graphs)
    ranked: dict[str, list[str]] = {}
    count = 0
    while True:
        kept = {name: ranked.get(name, [])[:count] for name in graphs}
        small = {name: quantise(graphs[name], ranges[name], kept[name]) for name in graphs}
        after = evaluate(small) if evaluate else None
        done = before is None or after is None or before - after <= allowed_loss
        if done or count >= max((len(names) for names in ranked.values()), default=1):
            return Quantised(
                small, before, after, tuple(k for names in kept.values() for k in names)
            )
        if not ranked:
            ranked = {n: worst_first(graphs[n], images[n], ranges[n]) for n in graphs}
        count = max(1, 2 * count)


def best_ranges(graph: bytes, images: Images) -> Ranges:
    """The ranges, among those by several rules of cutting off outliers, under which descriptors move the least."""
    parsed = Graph(graph)
    candidates = observe(parsed, layers_of(parsed), images[:CALIBRATION_IMAGES])
    checked = images[:_CHECKED]
    wanted = run_graph(graph, checked, ["descriptor"])[0]
    return min(candidates, key=lambda ranges: distance(quantise(graph, ranges), checked, wanted))


def worst_first(graph: bytes, images: Images, ranges: Ranges) -> list[str]:
    """Names of the layers that can be quantised, the one first that moves the descriptors the most on its own."""
    layers: list[Layer] = layers_of(Graph(graph))
    names = [layer.name for layer in layers]
    checked = images[: _CHECKED // 2]
    wanted = run_graph(graph, checked, ["descriptor"])[0]
    moved = {
        name: distance(quantise(graph, ranges, [n for n in names if n != name]), checked, wanted)
        for name in names
    }
    return sorted(names, key=lambda name: -moved[name])


def distance(graph: bytes, images: Images, wanted: NDArray[np.float32]) -> float:
    """One minus the mean cosine between a graph's descriptors and those wanted."""
    return 1.0 - float((run_graph(graph, images, ["descriptor"])[0] * wanted).sum(axis=1).mean())


class GraphBranch(nn.Module):
    """A graph where a branch is expected, so that what measures a network can measure its graphs.

    Args:
        graph: the branch as ONNX.
        keep: how many of the images that pass through to keep in ``seen``; a sample spread over all of them.
    """

    def __init__(self, graph: bytes, keep: int = 0) -> None:
        super().__init__()
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4
        options.intra_op_num_threads = torch.get_num_threads()
        self._session = onnxruntime.InferenceSession(
            graph, options, providers=["CPUExecutionProvider"]
        )
        self._keep = keep
        self._random = np.random.default_rng(5)
        self._passed = 0
        self.seen: list[NDArray[np.float32]] = []
        # Those who run branches ask a parameter for the device.
        self.device = nn.Parameter(torch.zeros(()), requires_grad=False)

    def forward(self, x: Tensor) -> Tensor:
        """Descriptors [N, D] of norm 1."""
        images = np.ascontiguousarray(x.float().numpy())
        self._sample(images)
        answers: Any = self._session.run(["descriptor"], {"image": images})
        return torch.from_numpy(answers[0])

    def _sample(self, images: NDArray[np.float32]) -> None:
        for image in images if self._keep else ():
            self._passed += 1
            if len(self.seen) < self._keep:
                self.seen.append(image.copy())
            else:
                place = int(self._random.integers(self._passed))
                if place < self._keep:
                    self.seen[place] = image.copy()


def graph_model(query: bytes, reference: bytes, keep: int = 0) -> DualEncoder:
    """A dual encoder that runs graphs."""
    return DualEncoder(GraphBranch(query, keep), GraphBranch(reference, keep)).eval()
