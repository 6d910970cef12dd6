"""From a server to an answer: the flat world is served as map tiles, fetched, indexed, and a panorama found in it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from engine.cli import main
from engine.encoder import open_encoder
from engine.geo import distance_m
from engine.imagery import open_imagery
from engine.imagery.server import Server, write_server
from engine.imagery.web_tiles import web_tile
from engine.index import Index
from engine.localize import Query, localize
from tests.engine.flat import as_photo, present
from tests.engine.imagery.map_tiles import picture
from tests.engine.imagery.server.test_fetch import place
from tests.engine.imagery.tile_server import Asked, Reply, serving
from tests.flat_world import make_flat_world
from tests.linear_encoder import save_linear_encoder


def test_an_index_of_a_server(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    world = make_flat_world(220.0, 5)
    save_linear_encoder(tmp_path / "linear.encoder")
    encoder = open_encoder(tmp_path / "linear.encoder", threads=1)
    ground = open_imagery(world.write(tmp_path / "ground.tif"))
    box = ground.bounds
    # The middle of the world, in longitudes and latitudes.
    west, east = (box.west + box.width_deg * share for share in (0.3, 0.7))
    south, north = (box.south + (box.north - box.south) * share for share in (0.3, 0.7))
    ring = [[west, south], [east, south], [east, north], [west, north], [west, south]]
    area = tmp_path / "area.geojson"
    area.write_text(json.dumps({"type": "Polygon", "coordinates": [ring]}))

    def answer(asked: Asked) -> Reply:
        shown = web_tile(ground, *place(asked))
        if shown is None:
            return Reply(404)
        alpha = np.full((256, 256, 1), 255, np.uint8)
        if shown.valid is not None:
            alpha[~shown.valid] = 0
        return Reply(body=picture(np.concatenate([shown.pixels, alpha], axis=2)))

    out = tmp_path / "served.index"
    described = tmp_path / "here.server.json"
    command = ["index", "build", out, "--imagery", described, "--area", area, "--zoom", 18]
    command += [
        "--encoder",
        tmp_path / "linear.encoder",
        "--stride-m",
        5,
        "--cpu",
        "--cache",
        tmp_path / "kept",
    ]

    def build(*more: object) -> int:
        return main([str(part) for part in (*command, *more)])

    with serving(answer) as site:
        write_server(
            described,
            Server(
                "xyz",
                f"{site.url}/{{z}}/{{x}}/{{y}}.png",
                name="here",
                rate=100.0,
                attribution="© The flat world",
                licence="CC0-1.0",
                terms="Look, do not touch",
            ),
        )
        assert build() == 1 and f"--allow {site.host}" in capsys.readouterr().err
        assert site.asked == [] and not out.exists()
        assert build("--allow", site.host) == 0
        count = len(site.asked)
        assert count > 4
    # Nobody is there any more, and nobody is needed.
    with Index.open(out, encoder) as first:
        assert (
            first.manifest.attribution == "© The flat world" and first.manifest.licence == "CC0-1.0"
        )
        assert first.manifest.imagery[0].terms == "Look, do not touch"
        photo = as_photo(world.panorama(105.0, 112.0, 40.0, 640), "panorama", 360.0)
        best = present(localize(Query(photo), encoder, first).best)
        assert distance_m(best.lat, best.lon, *world.to_wgs84(105.0, 112.0)) < 8.0
    again = tmp_path / "again.index"
    command[2] = again
    assert build() == 0  # what is there already needs no leave
    same = json.loads((again / "manifest.json").read_text())["count"]
    assert same == json.loads((out / "manifest.json").read_text())["count"] > 100
