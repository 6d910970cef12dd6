"""Small valid indexes of every kind, to be spoiled."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

from engine.encoder import open_encoder
from engine.imagery import open_imagery, open_source
from engine.index import build_index
from engine.index.job import Settings
from engine.index.manifest import MANIFEST_FILE
from engine.index.shards import Shard, build_shard
from tests.engine.datasets.pictures import picture
from tests.engine.index.places import LAT, LON, ProjectionEncoder, write_place
from tests.street_encoder import save_street_encoder

LAYOUTS = ("exact", "sq8", "ivf-sq8", "ivf-pq", "pq", "hnsw", "imi")


def make_samples(folder: Path) -> dict[str, Path]:
    """Write one index of every layout, one of several extents, one of photos, and one of version 1; by name."""
    samples: dict[str, Path] = {}
    encoder = ProjectionEncoder()
    with open_imagery(write_place(folder / "place.tif", size=160)) as source:
        for layout in LAYOUTS:
            out = folder / f"{layout}.index"
            build_index(out, source, encoder, layout=layout, stride_m=4.0).close()
            samples[layout] = out
        build_index(folder / "extents.index", source, encoder, extent_m=(20.0, 40.0)).close()
        samples["extents"] = folder / "extents.index"
    lines = ["file,lat,lon,heading"]
    for number in range(6):
        picture(folder / "photos" / f"{number}.jpg", number, (64, 48))
        lines.append(f"{number}.jpg,{LAT + number / 1000},{LON},{number * 30}")
    (folder / "photos" / "photos.csv").write_text("\n".join(lines), "utf-8")
    save_street_encoder(folder / "street.encoder", features=True)
    street = open_encoder(folder / "street.encoder", threads=1, gpu=False)
    build_index(folder / "street.index", open_source(folder / "photos"), street).close()
    samples["street"] = folder / "street.index"
    samples["shares"] = make_shares(folder)
    samples["version-1"] = write_version_1(samples["sq8"], folder / "old.index")
    return samples


def make_shares(folder: Path) -> Path:
    """A folder with the two shares of one index, ``1.index`` and ``2.index``, as two machines would make them."""
    both = folder / "shares"
    with open_imagery(write_place(folder / "shared.tif", size=160)) as source:
        for number in (1, 2):
            out = both / f"{number}.index"
            build_shard(out, source, ProjectionEncoder(), Shard(number, 2), Settings(stride_m=1.5))
    return both


def write_version_1(index: Path, out: Path) -> Path:
    """The same tiles with a manifest as it was at first."""
    raw: dict[str, Any] = json.loads((index / MANIFEST_FILE).read_text("utf-8"))
    inside = index / raw.get("folder", "")
    out.mkdir()
    names = ("vectors.faiss", "tiles.gpkg", "imagery.tif")
    for name in names:
        shutil.copyfile(inside / name, out / name)
    (imagery,) = raw["imagery"]
    kept = ("name", "encoder_name", "encoder_hash", "stride_m", "tile_pixels", "count", "dimension")
    old = {
        "format": "nadir-index",
        "version": 1,
        **{key: raw[key] for key in kept},
        "extent_m": raw["extents_m"][0],
        "faiss_factory": "SQ8",
        "attribution": imagery["attribution"],
        "licence": imagery["licence"],
        "coverage": raw["coverage"],
        "imagery": {
            key: imagery[key]
            for key in ("file", "name", "fingerprint", "crs", "resolution_m", "bounds")
        },
        "files": {name: facts(out / name) for name in names},
        "plan_hash": raw["plan_hash"],
        "made_by": raw["made_by"],
        "notes": raw["notes"],
        "crs": raw["crs"],
    }
    (out / MANIFEST_FILE).write_text(json.dumps(old), "utf-8")
    return out


def facts(path: Path) -> dict[str, Any]:
    """What a manifest says of a file."""
    data = path.read_bytes()
    return {"sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)}


def seal_again(index: Path) -> None:
    """Make the manifest true to the files again, as a forger would."""
    path = index / MANIFEST_FILE
    raw = json.loads(path.read_text("utf-8"))
    for name in raw["files"]:
        file = index / raw.get("folder", "") / name
        if file.is_file():
            raw["files"][name] = facts(file)
    path.write_text(json.dumps(raw), "utf-8")
