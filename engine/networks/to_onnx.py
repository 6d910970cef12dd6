"""A branch as an ONNX graph, and the proof that it is the same.

``image`` float32 [N, 3, H, W] (a branch that reads several extents: [N, S, 3, H, W]), normalised as the card says, to
``descriptor`` [N, D] of norm 1 and, where the branch has evidence, ``features``.
"""

from __future__ import annotations

import copy
import tempfile
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np
import onnxruntime
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from engine.networks.dual import descriptors
from engine.networks.evidence import EvidentBranch
from engine.networks.graphs.simplify import simplify

OPSET = 20
"""The first with GELU as one operator (layer norm is one since 17)."""
TOLERANCE = 1e-4
"""How far a graph may be from its network, on descriptors of norm 1."""

Precision = Literal["fp32", "fp16", "int8"]


class _Outputs(nn.Module):
    """What is exported: the branch with its descriptor at norm 1, and its evidence."""

    def __init__(self, branch: nn.Module, features: bool) -> None:
        super().__init__()
        self.branch = branch
        self.features = features

    def forward(self, x: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        if self.features:
            descriptor, features = cast(EvidentBranch, self.branch).evidence(x)
            return descriptors(descriptor), features
        return descriptors(self.branch(x))


def has_evidence(branch: nn.Module) -> bool:
    """Whether a branch can say where its descriptor comes from."""
    return isinstance(branch, EvidentBranch) and branch.evidence_kind is not None


def branch_to_onnx(
    branch: nn.Module, input_shape: Sequence[int], *, features: bool | None = None
) -> bytes:
    """Export a branch in float32, for any batch size.

    Args:
        branch: its batch norms become part of the convolutions before them, its layer scales of the linear layers.
        input_shape: of one image: (3, H, W), or (S, 3, H, W).
        features: whether to put out the evidence; None: where the branch has it.
    """
    features = has_evidence(branch) if features is None else features
    if any(p.device.type != "cpu" or p.dtype != torch.float32 for p in branch.parameters()):
        branch = copy.deepcopy(branch).cpu().float()
    was_training = branch.training
    graph = _Outputs(branch, features).eval()
    names = _names(features)
    with (
        tempfile.TemporaryDirectory() as folder,
        torch.no_grad(),
        warnings.catch_warnings(),
    ):
        # The exporter by tracing gives the smaller and plainer graph here; that it is the older one is known.
        warnings.simplefilter("ignore")
        file = str(Path(folder) / "graph.onnx")
        torch.onnx.export(
            graph,
            (torch.zeros(2, *input_shape),),
            file,
            input_names=["image"],
            output_names=names,
            dynamic_axes={name: {0: "N"} for name in ("image", *names)},
            opset_version=OPSET,
            dynamo=False,
        )
        branch.train(was_training)
        return simplify(Path(file).read_bytes())


def noise(input_shape: Sequence[int], images: int = 2) -> NDArray[np.float32]:
    """Seeded inputs on which graphs and networks are compared: noise of several coarsenesses, one half unseen."""
    rng = np.random.default_rng(5)
    batch = rng.standard_normal((images, *input_shape)).astype(np.float32)
    height, width = input_shape[-2:]
    for size in (16, 64):
        coarse = (images, *input_shape[:-2], -(-height // size), -(-width // size))
        squares = rng.standard_normal(coarse).astype(np.float32)
        batch += np.kron(squares, np.ones((size, size), np.float32))[..., :height, :width]
    batch[0, ..., : width // 2] = 0.0
    return batch


def run_graph(graph: bytes, batch: NDArray[np.float32], names: Sequence[str]) -> list[Any]:
    """The named outputs of a graph on the CPU."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    return [np.asarray(value, np.float32) for value in session.run(list(names), {"image": batch})]


def parity(
    branch: nn.Module,
    graph: bytes,
    input_shape: Sequence[int],
    *,
    features: bool | None = None,
    images: int = 2,
) -> float:
    """The largest difference of any number between a branch's descriptors and evidence and its graph's.

    The descriptor is compared with the branch's own, not with what its evidence says it is. Attention and
    contributions are compared relative to the largest of them.
    """
    batch = noise(input_shape, images)
    names = _names(has_evidence(branch) if features is None else features)
    answers = run_graph(graph, batch, names)
    was_training = branch.training
    branch.eval()
    with torch.no_grad():
        x = torch.from_numpy(batch).to(next(branch.parameters()).device)
        worst = float(np.abs(answers[0] - descriptors(branch(x)).cpu().numpy()).max())
        if len(names) > 1:
            parts = cast(EvidentBranch, branch).evidence(x)[1].float().cpu().numpy()
            size = max(1.0, float(np.abs(parts).max()))
            worst = max(worst, float(np.abs(answers[1] - parts).max()) / size)
    branch.train(was_training)
    return worst


def _names(features: bool) -> list[str]:
    return ["descriptor", "features"] if features else ["descriptor"]
