"""Networks as ONNX graphs against eager PyTorch: one image at a time, two threads, one run.

``python -m tests.benchmarks.bench_networks [--threads N] [--rounds N] [--json FILE]``

Every round measures each form once, in turn, so that whatever else the machine does meets all of them; what is
compared are the fastest and the median rounds. Eager PyTorch runs in both memory layouts and the better one counts.

Recall is a stand-in, for no trained weights lie here: among crops of the demo's imagery, a network with random weights
looks for the crop of which it is given a copy, a little shifted, recoloured and noisy. What 8 bits cost a trained
encoder is in the card that ``nadir export --precision int8`` writes.
"""

from __future__ import annotations

import argparse
import copy
import json
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import rasterio
import torch
from numpy.typing import NDArray
from torch import nn

from engine.networks import build_network
from engine.networks.graphs.half import store_half
from engine.networks.precision import to_int8
from engine.networks.to_onnx import branch_to_onnx
from engine.shipped import shipped_index

SIZE = (128, 512)
CROPS = 120
TARGETS = {
    "SAIG-S": {"fp32": 1.4, "int8": 2.2},
    "ConvNeXt-T (FRGeo)": {"fp32": 1.2, "int8": 2.2},
}

Images = NDArray[np.float32]


@dataclass
class Row:
    """One form of one network. Milliseconds for an image; ``times`` is against eager PyTorch."""

    network: str
    form: str
    fastest_ms: float
    median_ms: float
    times: float
    times_median: float
    megabytes: float
    recall: float | None = None


def main(argv: list[str] | None = None) -> int:
    """Measure and print; 1 when a target is missed."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.bench_networks")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args(argv)
    torch.set_num_threads(args.threads)
    references, queries = crops()
    rows: list[Row] = []
    for name, branch in networks(references[::8]).items():
        found = measure(name, branch, references, queries, args.threads, args.rounds)
        print(table(found), flush=True)
        rows += found
    if args.json:
        args.json.write_text(json.dumps([asdict(row) for row in rows], indent=2) + "\n")
    return 0 if all(met(row) for row in rows) else 1


def networks(images: Images) -> dict[str, nn.Module]:
    """The query branches, with random weights of the size that training leaves."""
    torch.manual_seed(1)
    saig = build_network("saig", {"query_size": SIZE, "reference_size": (256, 256)}).query
    frgeo = build_network("frgeo", {"layer_scale": 0.3}).query
    settle_norms(saig, images)
    return {"SAIG-S": saig.eval(), "ConvNeXt-T (FRGeo)": frgeo.eval()}


def settle_norms(branch: nn.Module, images: Images) -> None:
    """Batch norms that know the images, as after training; without it, all images look the same to them."""
    norms = [module for module in branch.modules() if isinstance(module, nn.BatchNorm2d)]
    for norm in norms:
        norm.momentum = None  # the plain mean of what passes
    with torch.no_grad():
        branch.train()(torch.from_numpy(images))


def crops() -> tuple[Images, Images]:
    """Crops of the demo's imagery, and altered copies: [CROPS, 3, H, W] each."""
    index = shipped_index()
    if index is None:
        raise SystemExit("this copy ships no imagery to cut crops from")
    with rasterio.open(next(index.glob("*.tif"))) as source:
        pixels = source.read([1, 2, 3])
    rng = np.random.default_rng(7)
    height, width = SIZE
    rows = rng.integers(8, pixels.shape[1] - height - 8, CROPS)
    columns = rng.integers(8, pixels.shape[2] - width - 8, CROPS)
    plain = np.stack(
        [pixels[:, r : r + height, c : c + width] for r, c in zip(rows, columns, strict=True)]
    )
    shifts = rng.integers(-2, 3, (CROPS, 2))
    moved = np.stack(
        [
            pixels[:, r + dr : r + dr + height, c + dc : c + dc + width]
            for r, c, (dr, dc) in zip(rows, columns, shifts, strict=True)
        ]
    )
    gain = rng.uniform(0.97, 1.03, (CROPS, 3, 1, 1))
    noisy = np.clip(moved * gain + rng.normal(0, 4, moved.shape), 0, 255)
    return tuple(((images / 255 - 0.45) / 0.25).astype(np.float32) for images in (plain, noisy))  # type: ignore[return-value]


def measure(
    name: str, branch: nn.Module, references: Images, queries: Images, threads: int, rounds: int
) -> list[Row]:
    """All forms of one network."""
    plain = branch_to_onnx(branch, (3, *SIZE))
    small = to_int8({"query.onnx": plain}, {"query.onnx": references[::10]}).graphs["query.onnx"]
    graphs = {"fp32": plain, "fp16": store_half(plain), "int8": small}
    sessions = {form: session_of(graph, threads) for form, graph in graphs.items()}
    image = queries[:1]
    runs: dict[str, Callable[[], Any]] = {
        f"eager, {label}": eager(branch, image, layout)
        for label, layout in (
            ("NCHW", torch.contiguous_format),
            ("channels-last", torch.channels_last),
        )
    }
    for form, session in sessions.items():
        runs[form] = lambda session=session: session.run(["descriptor"], {"image": image})
    times = alternate(runs, rounds)
    best = {
        kind: min(value for form, value in row.items() if "eager" in form)
        for kind, row in times.items()
    }
    rows: list[Row] = []
    for form in runs:
        fastest, median = times["fastest"][form], times["median"][form]
        graph = graphs.get(form)
        rows.append(
            Row(
                name,
                form,
                fastest,
                median,
                best["fastest"] / fastest,
                best["median"] / median,
                (len(graph) if graph else parameter_bytes(branch)) / 1e6,
                recall(sessions[form], references, queries) if graph else None,
            )
        )
    return rows


def eager(branch: nn.Module, image: Images, layout: torch.memory_format) -> Callable[[], Any]:
    """A run of the network itself, its weights and input in one memory layout."""
    module = copy.deepcopy(branch).to(memory_format=layout)  # pyright: ignore[reportCallIssue]
    x = torch.from_numpy(image).contiguous(memory_format=layout)

    def run() -> Any:
        with torch.inference_mode():
            return module(x)

    return run


def alternate(runs: dict[str, Callable[[], Any]], rounds: int) -> dict[str, dict[str, float]]:
    """Fastest and median milliseconds of each, measured in turn."""
    for run in runs.values():
        run()
        run()
    seen: dict[str, list[float]] = {form: [] for form in runs}
    for _ in range(rounds):
        for form, run in runs.items():
            run()  # the one before has left the caches to itself
            start = time.perf_counter()
            run()
            run()
            seen[form].append((time.perf_counter() - start) * 500)
    return {
        "fastest": {form: min(values) for form, values in seen.items()},
        "median": {form: float(np.median(values)) for form, values in seen.items()},
    }


def session_of(graph: bytes, threads: int) -> onnxruntime.InferenceSession:
    """As the program makes them (:mod:`engine.encoder.session`)."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])


def recall(session: onnxruntime.InferenceSession, references: Images, queries: Images) -> float:
    """Share of queries whose own crop is the nearest."""
    one, other = (
        np.concatenate(
            [
                np.asarray(session.run(["descriptor"], {"image": images[i : i + 8]})[0])
                for i in range(0, CROPS, 8)
            ]
        )
        for images in (queries, references)
    )
    return float(((one @ other.T).argmax(1) == np.arange(CROPS)).mean())


def parameter_bytes(branch: nn.Module) -> int:
    """Of all weights, as they are."""
    return sum(value.numel() * value.element_size() for value in branch.parameters())


def met(row: Row) -> bool:
    """Whether the row reaches its target, where it has one."""
    return row.times >= TARGETS[row.network].get(row.form, 0.0)


def table(rows: list[Row]) -> str:
    """For people."""
    lines = [f"{'network':20} {'form':22} {'ms':>7} {'median':>7} {'times':>6} {'MB':>7}  recall"]
    for row in rows:
        target = TARGETS[row.network].get(row.form)
        aim = "" if target is None else f"  (target {target:g}: {'met' if met(row) else 'MISSED'})"
        found = "" if row.recall is None else f"{100 * row.recall:6.1f} %"
        lines.append(
            f"{row.network:20} {row.form:22} {row.fastest_ms:7.1f} {row.median_ms:7.1f} {row.times:6.2f} "
            f"{row.megabytes:7.1f}  {found}{aim}"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
