"""Mining: which pairs meet in a batch. Importing this package registers every sampler."""

from engine.training.mining import (
    clusters,
    hard,
    labelled,
    neighbours,
    photo_tuples,
    random,
    tuples,
)
from engine.training.mining.base import (
    Classes,
    Pairs,
    Sampler,
    build_sampler,
    register_sampler,
    sampler_names,
)

__all__ = [
    "Classes",
    "Pairs",
    "Sampler",
    "build_sampler",
    "clusters",
    "hard",
    "labelled",
    "neighbours",
    "photo_tuples",
    "random",
    "register_sampler",
    "sampler_names",
    "tuples",
]
