"""Street-view retrieval: the backbones and aggregations of visual place recognition, and the published methods.

A module here holds one component; importing the package registers them all (see :mod:`engine.networks.parts`,
:mod:`engine.networks.registry` and :mod:`engine.networks.releases`).
"""

from engine.networks.street import (
    cct,
    convap,
    cosplace,
    dino_salad,
    dinov2,
    gsv_cities,
    imagenet,
    mixvpr,
    netvlad,
    pooling,
    resnet,
    rrm,
    salad,
    tokens,
    vg_benchmark,
    vgg,
    vit,
)

__all__ = [
    "cct",
    "convap",
    "cosplace",
    "dino_salad",
    "dinov2",
    "gsv_cities",
    "imagenet",
    "mixvpr",
    "netvlad",
    "pooling",
    "resnet",
    "rrm",
    "salad",
    "tokens",
    "vg_benchmark",
    "vgg",
    "vit",
]
