import engine  # noqa: F401 - before onnxruntime is loaded, which it keeps off the network
