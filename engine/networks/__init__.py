"""Networks and their registry. Importing this package imports torch."""

from engine.networks import (
    dsm,
    frgeo,
    safa,
    sample4geo,
    statewide,
    street,
    transgeo_releases,
)
from engine.networks.dual import DualEncoder, descriptors
from engine.networks.parts import Composed, build_aggregation, build_backbone
from engine.networks.registry import build_network, register_network
from engine.networks.saig import Saig
from engine.networks.sector import SectorEncoder

__all__ = [
    "Composed",
    "DualEncoder",
    "Saig",
    "SectorEncoder",
    "build_aggregation",
    "build_backbone",
    "build_network",
    "descriptors",
    "dsm",
    "frgeo",
    "register_network",
    "safa",
    "sample4geo",
    "statewide",
    "street",
    "transgeo_releases",
]
