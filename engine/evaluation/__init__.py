"""Measuring encoders on datasets, and making their scores into probabilities."""

from engine.datasets.world import Truth, World, read_world
from engine.evaluation.calibrate import calibrate, collect, fit_calibration, reliability
from engine.evaluation.evaluate import Evaluation, evaluate

__all__ = [
    "Evaluation",
    "Truth",
    "World",
    "calibrate",
    "collect",
    "evaluate",
    "fit_calibration",
    "read_world",
    "reliability",
]
