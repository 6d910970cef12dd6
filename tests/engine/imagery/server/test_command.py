"""``nadir imagery`` as a person uses it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from engine.cli import main
from engine.imagery.server import Server, read_server, write_server
from tests.engine.imagery.map_tiles import picture
from tests.engine.imagery.server.test_fetch import AREA, COLUMN, ROW, ZOOM, place, speckled
from tests.engine.imagery.tile_server import Asked, Reply, serving


def run(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    code = main([str(argument) for argument in arguments])
    out, err = capsys.readouterr()
    return code, out, err


@pytest.fixture
def area(tmp_path: Path) -> Path:
    ring = AREA.polygons[0][0].tolist()
    path = tmp_path / "area.geojson"
    path.write_text(json.dumps({"type": "Polygon", "coordinates": [[*ring, ring[0]]]}))
    return path


def test_from_a_server_to_a_file(capsys, tmp_path: Path, area: Path) -> None:
    out = tmp_path / "t.mbtiles"
    with serving(lambda asked: Reply(body=speckled(asked))) as site:
        described = tmp_path / "here.server.json"
        server = Server(
            "xyz",
            f"{site.url}/{{z}}/{{x}}/{{y}}.png",
            name="Here",
            attribution="© Me",
            terms="Be kind",
        )
        write_server(described, server)
        assert read_server(described) == server
        command = ["imagery", "fetch", described, "--area", area, "--zoom", ZOOM]
        code, text, _ = run(capsys, *command, "--dry-run")
        assert (
            code == 0
            and "16, about" in text
            and "© Me" in text
            and "Be kind" in text
            and site.host in text
        )
        code, text, _ = run(capsys, *command, "--dry-run", "--json")
        assert code == 0 and json.loads(text)["tiles"] == 16
        code, _, err = run(capsys, *command, "--out", out)
        assert code == 1 and f"--allow {site.host}" in err
        code, _, err = run(capsys, *command, "--out", out, "--allow", site.host, "--max-tiles", 15)
        assert code == 1 and "16 tiles" in err
        code, _, err = run(capsys, *command, "--allow", site.host)
        assert code == 1 and "--out" in err
        assert site.asked == []
        code, text, err = run(capsys, *command, "--out", out, "--allow", site.host, "--rate", 100)
        assert code == 0 and "16 of 16 tiles" in text and "Be kind" in err and len(site.asked) == 16
    code, text, _ = run(capsys, "imagery", "info", out)
    assert (
        code == 0
        and "MBTiles" in text
        and "© Me" in text
        and "Be kind" in text
        and f"zooms        {ZOOM}" in text
    )
    code, text, _ = run(capsys, "imagery", "info", out, "--json")
    facts = json.loads(text)
    assert facts["attribution"] == "© Me" and facts["zooms"] == [ZOOM, ZOOM]
    assert facts["outline"]["type"] == "MultiPolygon"


def test_what_is_missing_fails_and_is_named(capsys, tmp_path: Path, area: Path) -> None:
    def answer(asked: Asked) -> Reply:
        return Reply(403) if place(asked)[1:] == (COLUMN, ROW) else Reply(body=speckled(asked))

    with serving(answer) as site:
        command = [
            "imagery",
            "fetch",
            f"{site.url}/{{z}}/{{x}}/{{y}}.png",
            "--area",
            area,
            "--zoom",
            ZOOM,
        ]
        command += ["--out", tmp_path / "t.mbtiles", "--allow", "127.0.0.1", "--rate", 100]
        code, text, _ = run(capsys, *command)
        assert code == 1 and "1 are MISSING" in text and f"{COLUMN}/{ROW}: it refuses (403)" in text
        code, text, _ = run(capsys, *command, "--json")
        facts = json.loads(text)
        assert (
            code == 1
            and facts["failed"] == [[COLUMN, ROW, "it refuses (403)"]]
            and not facts["complete"]
        )


def test_info_of_a_server_reaches_nothing(capsys, tmp_path: Path) -> None:
    with serving(lambda asked: Reply(404)) as site:
        code, text, _ = run(capsys, "imagery", "info", f"{site.url}/wms?service=WMS&layers=a")
        assert code == 0 and f"--allow {site.host}" in text and site.asked == []
        code, text, _ = run(
            capsys, "imagery", "info", f"{site.url}/wms?service=WMS&layers=a", "--json"
        )
        assert code == 0 and json.loads(text)["asked"] is False and site.asked == []
        code, text, _ = run(
            capsys, "imagery", "info", f"{site.url}/{{z}}/{{x}}/{{y}}.png", "--allow", site.host
        )
        assert code == 0 and site.asked == []
        code, _, err = run(
            capsys, "imagery", "info", f"{site.url}/wms?service=WMS", "--allow", site.host
        )
        assert code == 1 and "no such thing (404)" in err and len(site.asked) == 1


def test_info_of_map_tiles(capsys, tmp_path: Path, realdata: Path) -> None:
    code, text, _ = run(capsys, "imagery", "info", realdata / "xyz_kampala")
    assert code == 0 and "0.0744 m a pixel" in text and "112 files" in text and "2 pieces" in text
    code, text, _ = run(
        capsys, "imagery", "info", realdata / "xyz_kampala", "--rows", "tms", "--json"
    )
    assert code == 0 and json.loads(text)["bounds"][1] < 0 and json.loads(text)["notes"] == []
    code, _, err = run(capsys, "imagery", "info", realdata / "xyz_kampala", "--zoom", "20")
    assert code == 1 and "zoom 21" in err
    tile = tmp_path / "tile.png"
    tile.write_bytes(picture(np.zeros((8, 8, 3), np.uint8)))
    code, _, err = run(capsys, "imagery", "info", tile)
    assert code == 1 and "no imagery that Nadir reads" in err
    code, _, err = run(capsys, "imagery", "info", tmp_path / "none.server.json")
    assert code == 1 and "none.server.json" in err


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "[]",
        "{}",
        '{"kind": "xyz"}',
        '{"kind": "ftp", "url": "https://x.example/{z}/{x}/{y}"}',
        '{"kind": "xyz", "url": 5}',
        '{"kind": "xyz", "url": "https://x.example/{z}/{x}/{y}", "surprise": 1}',
        '{"kind": "xyz", "url": "https://x.example/{z}/{x}/{y}", "zooms": ["a", 2]}',
        '{"kind": "xyz", "url": "https://x.example/{z}/{x}/{y}", "rate": "fast"}',
        '{"kind": "xyz", "url": "https://x.example/{z}/{x}/{y}", "format_version": "nadir-server/9"}',
        "[" * 100_000,
    ],
)
def test_descriptions_from_strangers(capsys, tmp_path: Path, text: str) -> None:
    path = tmp_path / "x.server.json"
    path.write_text(text)
    code, _, err = run(capsys, "imagery", "info", path)
    assert code == 1 and err.startswith("nadir: x.server.json: ") and "Traceback" not in err
