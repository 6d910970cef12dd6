"""Nadir's engine: finding where a ground photo was taken by matching it to geo-tagged aerial imagery.

A library and a command line of its own; it knows no Qt, and importing it costs no torch.
"""

__version__ = "0.1.0"
