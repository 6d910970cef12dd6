"""The sector encoder: shapes, turning, and parts that add up."""

from __future__ import annotations

import pytest
import torch

from engine.errors import TrainingError
from engine.networks import DualEncoder, SectorEncoder, build_network
from engine.networks.small_resnet import circular_pad

SMALL = {"channels": (4, 8, 8, 16), "blocks": (1, 1, 1, 1), "block_dim": 6}


def make(**options) -> SectorEncoder:
    torch.manual_seed(3)
    encoder = SectorEncoder(**{**SMALL, **options})
    for module in encoder.modules():
        if isinstance(
            module, torch.nn.BatchNorm2d
        ):  # so that nothing cancels by starting at zero or one
            torch.nn.init.uniform_(module.weight, 0.5, 1.5)
            torch.nn.init.uniform_(module.bias, -0.2, 0.2)
            assert module.running_mean is not None and module.running_var is not None
            module.running_mean.uniform_(-0.2, 0.2)
            module.running_var.uniform_(0.5, 1.5)
    return encoder.eval()


@pytest.mark.parametrize("blocks", [4, 16, 32])
def test_descriptor_is_blocks_of_equal_norm(blocks: int) -> None:
    encoder = make(azimuth_blocks=blocks)
    descriptor = encoder(torch.randn(3, 3, 64, 256))
    assert descriptor.shape == (3, blocks * 6)
    norms = descriptor.unflatten(1, (blocks, 6)).norm(dim=2)
    torch.testing.assert_close(norms, torch.full_like(norms, blocks**-0.5))


@pytest.mark.parametrize("blocks", [4, 32])
def test_turning_the_input_by_a_block_rolls_the_blocks(blocks: int) -> None:
    encoder = make(azimuth_blocks=blocks)
    image = torch.randn(2, 3, 64, 256)
    rolled = encoder(torch.roll(image, 3 * 256 // blocks, dims=3)).unflatten(1, (blocks, 6))
    expected = torch.roll(encoder(image).unflatten(1, (blocks, 6)), 3, dims=1)
    torch.testing.assert_close(rolled, expected)


@pytest.mark.parametrize("blocks", [4, 16, 32])
def test_contributions_add_up_to_the_descriptor(blocks: int) -> None:
    encoder = make(azimuth_blocks=blocks)
    image = torch.randn(2, 3, 64, 256)
    descriptor, features = encoder.evidence(image)
    assert features.shape == (2, 6, 4, 32)
    torch.testing.assert_close(descriptor, encoder(image))
    summed = features.unflatten(3, (blocks, -1)).sum(dim=(2, 4)).transpose(1, 2).flatten(1)
    torch.testing.assert_close(summed, descriptor)


def test_circular_pad_and_its_gradient_agree_with_torch() -> None:
    x = torch.randn(2, 3, 4, 8, dtype=torch.float64, requires_grad=True)
    reference = torch.nn.functional.pad(x, (2, 2, 0, 0), mode="circular")
    padded = circular_pad(x, 2)
    torch.testing.assert_close(padded, reference)
    weights = torch.randn_like(reference)
    (ours,) = torch.autograd.grad((padded * weights).sum(), x)
    (theirs,) = torch.autograd.grad((reference * weights).sum(), x)
    torch.testing.assert_close(ours, theirs)


def test_branches_share_nothing() -> None:
    model = build_network("sector-resnet", SMALL)
    assert isinstance(model, DualEncoder)
    query = {p.data_ptr() for p in model.query.parameters()}
    assert not query & {p.data_ptr() for p in model.reference.parameters()}


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("nobody", {}),
        ("sector-resnet", {"azimuth_blocks": 5}),
        ("sector-resnet", {"channels": (1, 2)}),
        ("sector-resnet", {"input_size": (60, 256)}),
        ("sector-resnet", {"depth": 3}),
    ],
)
def test_what_cannot_be_built_is_said(name: str, options: dict) -> None:
    with pytest.raises(TrainingError):
        build_network(name, options)
