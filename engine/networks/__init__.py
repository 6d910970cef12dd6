"""Networks and their registry. Importing this package imports torch."""

from engine.networks.dual import DualEncoder, descriptors
from engine.networks.registry import build_network, register_network
from engine.networks.sector import SectorEncoder

__all__ = ["DualEncoder", "SectorEncoder", "build_network", "descriptors", "register_network"]
