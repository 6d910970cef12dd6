"""A branch whose descriptors are shortened by principal components, as one network, so that it can be exported.

    f' = components (f - mean)            [N, D] to [N, n], not normalised again, as the deep visual geo-localization
                                          benchmark does it (Berton et al. 2022)

The components are fitted on descriptors of training images, as the branch gives them
(:func:`engine.evaluation.pca.fit_pca`).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from engine.evaluation.pca import Pca
from engine.networks.parts import Composed, compose
from engine.networks.street.stages import chain


class _OnToken(nn.Module):
    """A head that reads the class token too, and a linear layer."""

    reads_token = True

    def __init__(self, head: nn.Module, linear: nn.Linear) -> None:
        super().__init__()
        self.head = head
        self.linear = linear
        self.dim = linear.out_features
        self.token_only: bool = getattr(head, "token_only", False)

    def forward(self, feature_map: Tensor, token: Tensor) -> Tensor:
        return self.linear(self.head(feature_map, token))


def shortened(branch: Composed, pca: Pca) -> Composed:
    """``branch`` with the components behind it; its weights are shared with ``branch``, its evidence follows.

    Raises:
        ValueError: the components are of descriptors of another length.
    """
    count, dim = pca.components.shape
    if dim != branch.dim:
        raise ValueError(f"components of {dim} numbers do not fit descriptors of {branch.dim}")
    linear = nn.Linear(dim, count)
    with torch.no_grad():
        components = torch.from_numpy(pca.components)
        linear.weight.copy_(components)
        linear.bias.copy_(-(components @ torch.from_numpy(pca.mean)))
    linear.requires_grad_(False)
    head = (
        _OnToken(branch.head, linear) if branch.reads_token else chain(count, [branch.head, linear])
    )
    return compose(branch.trunk, head, input_size=branch.input_size, names=branch.names)
