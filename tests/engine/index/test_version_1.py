"""Indexes of version 1, such as the one that ships: read, searched, asked for again, merged and added to."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from engine.encoder import open_encoder
from engine.index import Index, Manifest, merge_indexes, read_manifest, verify_index
from engine.index.adding import join_into
from engine.index.grid import Grid
from engine.index.manifest import manifest_from_dict
from engine.index.plan import Plan
from engine.shipped import shipped_encoder, shipped_index

SHIPPED = shipped_index()
pytestmark = pytest.mark.skipif(SHIPPED is None, reason="no index ships with this copy")


@pytest.fixture(scope="module")
def manifest() -> Manifest:
    assert SHIPPED is not None
    return read_manifest(SHIPPED)


def test_its_hash_is_that_of_its_words(manifest: Manifest) -> None:
    assert SHIPPED is not None
    raw = json.loads((SHIPPED / "manifest.json").read_text("utf-8"))
    text = json.dumps(raw, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    assert manifest.version == 1
    assert manifest.to_dict() == raw
    assert manifest.hash == hashlib.sha256(text.encode()).hexdigest()
    assert manifest_from_dict(manifest.to_dict()) == manifest


def test_its_places_are_those_of_the_grid(manifest: Manifest) -> None:
    assert SHIPPED is not None
    with Index.open(SHIPPED) as index:
        grid = Grid(manifest.imagery[0].bounds, manifest.stride_m)
        assert grid.count == manifest.count
        assert np.abs(np.stack(grid.centres(0, grid.count)) - np.stack(index.centres)).max() < 1e-12


def test_what_was_asked_of_it_is_still_known(manifest: Manifest) -> None:
    """So that asking for the same again opens it instead of refusing."""
    encoder_path = shipped_encoder()
    assert encoder_path is not None
    card = open_encoder(encoder_path, threads=1, gpu=False).card
    plan = Plan(
        name="any",
        encoder_name=manifest.encoder_name,
        encoder_hash=manifest.encoder_hash,
        dimension=card.descriptor_dim,
        tile_pixels=manifest.tile_pixels,
        imagery_name=Path(manifest.imagery[0].name).stem,
        imagery_fingerprint=manifest.imagery[0].fingerprint,
        extent_m=manifest.extent_m,
        stride_m=manifest.stride_m,
        area_hash=hashlib.sha256().hexdigest(),
        minimum_valid=0.25,
        embed_imagery=True,
        attribution=manifest.attribution,
        licence=manifest.licence,
        places=manifest.count,
        chunk=(64 << 20) // (3 * manifest.tile_pixels**2),
        made_by="",
    )
    assert plan.hash == manifest.plan_hash


def test_merged_it_becomes_one_of_version_2(manifest: Manifest, tmp_path: Path) -> None:
    assert SHIPPED is not None
    copy = Path(shutil.copytree(SHIPPED, tmp_path / "copy.index"))
    with (
        merge_indexes(tmp_path / "m.index", [SHIPPED, copy]) as merged,
        Index.open(SHIPPED) as index,
    ):
        assert merged.manifest.version == 2
        assert merged.manifest.count == manifest.count
        assert merged.manifest.imagery[0].attribution == manifest.attribution
        ids = np.arange(0, manifest.count, 50)
        queries = index.vectors(ids)
        queries /= np.linalg.norm(queries, axis=1, keepdims=True)
        assert (merged.search(queries, 1)[1][:, 0] == index.search(queries, 1)[1][:, 0]).all()
        assert (merged.crop(77, 50) == index.crop(77, 50)).all()
        for lat, lon in zip(*(v[::997] for v in index.centres), strict=True):
            assert (merged.near(lat, lon, 21.0) == index.near(lat, lon, 21.0)).all()
        lats, lons = (np.asarray(v[::499]) for v in index.centres)
        for ours, theirs in zip(
            merged.around(lats, lons, 30.0), index.around(lats, lons, 30.0), strict=True
        ):
            assert (ours == theirs).all()
    assert verify_index(tmp_path / "m.index") == []
    # All of it is there already.
    assert join_into(copy, tmp_path / "m.index", tmp_path / "work", lambda *_: None) == 0
