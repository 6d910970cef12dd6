"""Nadir's engine: finding where a ground photo was taken by matching it to geo-tagged aerial imagery.

A library and a command line of its own; it knows no Qt, and importing it costs no torch.
"""

import os

__version__ = "0.1.0"

# Official builds of onnxruntime since 1.29 report to their makers over the network unless this is set before they are
# loaded; nothing may leave this machine, so it is set before anything of ours can load them.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"
