"""Rewriting ONNX graphs: simpler, smaller, in fewer bits."""
