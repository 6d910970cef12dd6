"""SAIG (Zhu et al. 2023): convolutions, then attention without perceptrons; GAP, SMD and the heads beside them."""

from engine.networks.saig import parts, releases
from engine.networks.saig.backbone import Saig
from engine.networks.saig.branch import BareBranch, saig, saig_branch

__all__ = ["BareBranch", "Saig", "parts", "releases", "saig", "saig_branch"]
