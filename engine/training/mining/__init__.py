"""Mining: which pairs meet in a batch. Importing this package registers every sampler."""

from engine.training.mining import clusters, hard, neighbours, random, tuples
from engine.training.mining.base import (
    Pairs,
    Sampler,
    build_sampler,
    register_sampler,
    sampler_names,
)

__all__ = [
    "Pairs",
    "Sampler",
    "build_sampler",
    "clusters",
    "hard",
    "neighbours",
    "random",
    "register_sampler",
    "sampler_names",
    "tuples",
]
