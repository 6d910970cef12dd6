"""DSM against what the authors' graph and correlation gave for weights made by rule."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

import engine.networks.dsm as dsm_module
from engine.evaluation.correlation import heading_deg, match_by_azimuth
from engine.networks import build_network
from engine.networks.dsm import DsmBranch, dsm, from_map, from_tensorflow1, match, to_map
from tests.engine.networks.test_safa import channels_first, tensorflow_state
from tests.golden_rule import assert_matches


def authors_order(feature_map: Tensor) -> Tensor:
    return feature_map.permute(0, 2, 3, 1).contiguous()


def test_features_distances_and_turns_are_the_authors(golden: Path) -> None:
    state = tensorflow_state(golden / "dsm" / "dsm_full_keys.json")
    found = dsm_module._recognise({key: tuple(value.shape) for key, value in state.items()})
    assert found is not None
    network = build_network(found.network, found.options).eval()
    network.load_state_dict(from_tensorflow1(state), strict=True)
    assert isinstance(network.query, DsmBranch) and isinstance(network.reference, DsmBranch)
    npz = np.load(golden / "dsm" / "dsm_full.npz")
    panoramas = channels_first(12101, (2, 128, 512, 3))
    with torch.inference_mode():
        tiles = network.reference(channels_first(12102, (3, 128, 512, 3)))
        tile_map = authors_order(to_map(tiles, 4, 64))
        scale = float(np.abs(npz["sat_feat"]).max())
        assert_matches(tile_map, npz, "sat_feat", 1e-5 * scale, 1e-5)
        for suffix, width in (("", 512), ("_fov90", 128)):
            photos = network.query(panoramas[..., :width])
            assert_matches(
                authors_order(to_map(photos, 4, width // 8)), npz, f"grd_feat{suffix}", 1e-6
            )
            similarity, turns = match(photos, tiles, 64)
            assert_matches(2 - 2 * similarity, npz, f"distance{suffix}", 2e-6)
            assert np.array_equal(turns.t().numpy(), npz[f"orientation{suffix}"])
            again, turns_again = match_by_azimuth(photos.numpy(), tiles.numpy(), block_dim=64)
            assert np.abs(2 - 2 * again - npz[f"distance{suffix}"]).max() <= 2e-6
            assert np.array_equal(turns_again.T, npz[f"orientation{suffix}"])
        # Evidence: every place holds its own numbers.
        descriptor, parts = network.reference.evidence(channels_first(12102, (3, 128, 512, 3)))
        assert torch.allclose(parts.sum(2).transpose(1, 2).flatten(1), descriptor, atol=1e-7)
        assert torch.allclose(descriptor, torch.nn.functional.normalize(tiles), atol=1e-6)


@pytest.mark.parametrize(("fov", "width"), [(360, 64), (180, 32), (90, 16), (70, 13)])
def test_correlation_is_the_authors(golden: Path, fov: int, width: int) -> None:
    rng = np.random.Generator(np.random.PCG64(10101))
    tiles = rng.standard_normal((6, 4, 64, 16), dtype=np.float32)
    noise = rng.standard_normal((5, 4, 64, 16), dtype=np.float32)
    turned = [np.roll(tiles[i], -shift, axis=1) for i, shift in enumerate((0, 7, 21, 40, 63))]
    photos = (np.stack(turned) + np.float32(0.5) * noise)[:, :, :width]
    photos /= np.linalg.norm(photos.reshape(5, -1), axis=1)[:, None, None, None]
    npz = np.load(golden / "dsm" / "dsm_correlation.npz")

    def descriptors(maps: np.ndarray) -> Tensor:
        return from_map(torch.from_numpy(maps).permute(0, 3, 1, 2))

    queries, references = descriptors(photos), descriptors(tiles)
    similarity, turns = match_by_azimuth(queries.numpy(), references.numpy(), block_dim=64)
    assert np.abs(2 - 2 * similarity - npz[f"fov{fov}_distance"]).max() <= 1e-6
    assert np.array_equal(turns.T, npz[f"fov{fov}_orientation"])
    with_gradients, torch_turns = match(queries, references, 64)
    assert np.abs(2 - 2 * with_gradients.numpy() - npz[f"fov{fov}_distance"]).max() <= 1e-6
    assert np.array_equal(torch_turns.numpy(), turns)


def test_chunks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(1)
    queries, references = rng.standard_normal((5, 24)), rng.standard_normal((7, 48))
    whole = match_by_azimuth(queries, references, block_dim=4)
    monkeypatch.setattr("engine.evaluation.correlation.CHUNK", 1)
    parts = match_by_azimuth(queries, references, block_dim=4)
    assert np.array_equal(whole[1], parts[1]) and np.allclose(whole[0], parts[0], atol=1e-6)


def test_headings_of_turns() -> None:
    """Block 0 begins in the south; a quarter of a turn further begins the west."""
    headings = heading_deg(np.array([0, 16, 32, 63]), 64, 90.0)
    assert headings.tolist() == [-135.0, -45.0, 45.0, 174.375 - 360.0 + 45.0]
    assert heading_deg(np.array([0]), 64, 360.0).tolist() == [0.0]


def test_a_full_turn_is_searched_as_the_application_does() -> None:
    """Blocks against a whole tile of norm 1: DSM's own measure for panoramas."""
    torch.manual_seed(5)
    photos = torch.nn.functional.normalize(torch.randn(3, 8 * 4))
    tiles = torch.randn(4, 8 * 4)
    similarity, turns = match(photos, tiles, 4)
    unit = torch.nn.functional.normalize(tiles)
    for shift in range(8):
        rolled = photos.unflatten(1, (8, 4)).roll(shift, 1).flatten(1)
        assert torch.all(rolled @ unit.t() <= similarity + 1e-6)
    best = photos[1].reshape(8, 4).roll(int(turns[1, 2]), 0).flatten() @ unit[2]
    assert best.item() == pytest.approx(similarity[1, 2].item(), abs=1e-6)


def test_gradients_reach_both_sides() -> None:
    network = dsm(
        query_size=(64, 64),
        reference_size=(64, 256),
        widths=(4, 4, 8, 8),
        reduced=(8, 8, 4),
        frozen_groups=1,
    )
    queries, references = network(torch.randn(2, 3, 64, 64), torch.randn(2, 3, 64, 256))
    assert queries.shape == (2, 8 * 2 * 4) and references.shape == (2, 32 * 2 * 4)
    assert isinstance(network.query, DsmBranch) and network.query.azimuth_blocks == 8
    similarity, turns = match(queries, references, network.query.block_dim)
    assert similarity.shape == turns.shape == (2, 2)
    similarity.diagonal().sum().backward()
    for name, value in network.named_parameters():
        assert (value.grad is None) == ("conv1_" in name), name


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match="does not fit"):
        match_by_azimuth(np.ones((1, 8)), np.ones((1, 4)), block_dim=2)
    with pytest.raises(ValueError, match="does not fit"):
        match(torch.ones(1, 8), torch.ones(1, 4), 2)
    with pytest.raises(ValueError, match="blocks of 3"):
        match_by_azimuth(np.ones((1, 8)), np.ones((1, 8)), block_dim=3)
    with pytest.raises(KeyError):
        from_tensorflow1({"VGG_grd/conv5_1/weights": torch.zeros(3, 3, 1, 1)})
