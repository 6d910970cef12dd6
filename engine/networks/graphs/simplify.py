"""Making a traced graph as plain as the network is.

The exporter writes down every size that the Python code asked for, as nodes that compute it anew at each run, and
every scale as a multiplication of its own. onnxruntime fuses what it recognises (layer norms, GELU with its bias,
convolutions with what follows them), and it recognises more when these are gone.
"""

from __future__ import annotations

import numpy as np

from engine.networks.graphs.edit import Graph, shape_of, tidy


def simplify(content: bytes) -> bytes:
    """A traced graph without size arithmetic and with its scales inside the layers before them."""
    graph = Graph(content)
    del content
    fold_sizes(graph)
    graph = Graph(tidy(graph.model()))
    fold_scales(graph)
    return graph.model()


def fold_sizes(graph: Graph) -> None:
    """Compute everything that depends on the image's shape alone, as far as it is the same for any batch.

    What the batch changes stays, except in ``Reshape``, where one axis may be left to the runtime. Which values
    these are is not reasoned out but measured, on batches of one and two.
    """
    of_image, of_shape = {graph.input}, set[str]()
    for node in graph.nodes:
        if node.op_type == "Shape":
            of_shape.update(node.output)
        elif any(name in of_image for name in node.input):
            of_image.update(node.output)
        elif any(name in of_shape for name in node.input):
            of_shape.update(node.output)
    reshapes = [
        node
        for node in graph.nodes
        if node.op_type == "Reshape" and node.output[0] in of_image and node.input[1] in of_shape
    ]
    if not of_shape:
        return
    batches = [np.zeros((count, *graph.input_shape), np.float32) for count in (1, 2)]
    targets = [node.output[0] for node in reshapes]
    one, two = graph.run(sorted(of_shape), batches, shapes_of=targets)
    for node in reshapes:
        a, b = (values[shape_of(node.output[0])] for values in (one, two))
        changing = np.flatnonzero(a != b)
        if len(changing) <= 1:
            target = np.array(a, np.int64)
            target[changing] = -1
            node.input[1] = graph.constant("shape", target)
    fixed = {
        name
        for name in of_shape
        if one[name].shape == two[name].shape and np.array_equal(one[name], two[name])
    }
    graph.remove(
        [node for node in graph.nodes if len(node.output) == 1 and node.output[0] in fixed]
    )
    for name in fixed & {name for node in graph.nodes for name in [*node.input]}:
        graph.constants[name] = np.ascontiguousarray(one[name])


def fold_scales(graph: Graph) -> None:
    """``(x W + b) * g`` as ``x (W g) + (b g)``: ConvNeXt's and DINOv2's layer scale costs nothing then."""
    producers, consumers = graph.producers(), graph.consumers()
    for scale in [node for node in graph.nodes if node.op_type == "Mul"]:
        gains = [name for name in scale.input if name in graph.constants]
        if len(gains) != 1:
            continue
        gain = graph.constants[gains[0]]
        summed = next(name for name in scale.input if name != gains[0])
        add = producers.get(summed)
        if add is None or add.op_type != "Add" or not graph.only_consumer(summed, consumers):
            continue
        biases = [name for name in add.input if name in graph.constants]
        if len(biases) != 1:
            continue
        product = next(name for name in add.input if name != biases[0])
        linear = producers.get(product)
        if (
            linear is None
            or linear.op_type != "MatMul"
            or linear.input[1] not in graph.constants
            or not graph.only_consumer(product, consumers)
        ):
            continue
        weight, bias = graph.constants[linear.input[1]], graph.constants[biases[0]]
        width = weight.shape[-1]
        if weight.ndim != 2 or gain.size != width or gain.shape[-1] != width or bias.size != width:
            continue
        linear.input[1] = graph.constant(linear.input[1], weight * gain.reshape(-1))
        del add.input[:]
        add.input.extend(
            [product, graph.constant(biases[0], (bias.reshape(-1) * gain.reshape(-1)))]
        )
        add.output[0] = scale.output[0]
        graph.remove([scale])
        producers, consumers = graph.producers(), graph.consumers()
