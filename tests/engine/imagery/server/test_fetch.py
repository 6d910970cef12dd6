"""Fetching tiles from z/x/y servers on this machine: what comes, what is refused, what happens in between."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
import zlib
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

import numpy as np
import pytest

from engine.errors import Cancelled, ImageryError
from engine.geo import Bounds
from engine.imagery import open_imagery
from engine.imagery.mbtiles import open_mbtiles
from engine.imagery.server import (
    BoxArea,
    Limits,
    NotAllowed,
    Patience,
    Server,
    ServerRefusal,
    connect,
    estimate,
    fetch,
    server_imagery,
    server_of,
)
from engine.imagery.server.access import AllowedHosts, Door, NoAnswer
from engine.imagery.server.plan import plan_tiles
from tests.engine.imagery.map_tiles import picture, ramp, tile_at, web_square
from tests.engine.imagery.test_mbtiles import png
from tests.engine.imagery.test_pyramid import errors
from tests.engine.imagery.tile_server import Asked, Reply, Site, serving
from tests.full_disk import full_disk

LAT, LON, ZOOM = 48.2, 16.37, 18
COLUMN, ROW = tile_at(LAT, LON, ZOOM)
QUICK = Patience(first_wait_s=0.01, longest_wait_s=0.05, longest_asked_s=2.0)
Answer = Callable[[Asked], Reply]


def tiles_box(left: int, top: int, right: int, bottom: int) -> BoxArea:
    """The ground of some tiles (ends not included), a little less so that it touches no others."""
    lons = [(c / 2**ZOOM) * 360.0 - 180.0 for c in (left + 0.1, right - 0.1)]
    lats = [
        float(np.degrees(np.arctan(np.sinh(np.pi * (1 - 2 * r / 2**ZOOM)))))
        for r in (top + 0.1, bottom - 0.1)
    ]
    return BoxArea(Bounds(lats[1], lons[0], lats[0], lons[1]))


AREA = tiles_box(COLUMN - 1, ROW - 1, COLUMN + 3, ROW + 3)  # 16 tiles


def place(asked: Asked) -> tuple[int, int, int]:
    """Zoom, column and row of ``/z/x/y.png``."""
    zoom, column, row = asked.path.rpartition(".")[0].split("/")[1:4]
    return int(zoom), int(column), int(row)


def tile(asked: Asked) -> bytes:
    return ramp_tile(*place(asked))


@lru_cache(maxsize=64)
def ramp_tile(zoom: int, column: int, row: int) -> bytes:
    """A tile that says where it lies, and is like no other also where its ramps have come to their ends."""
    pixels = ramp(web_square(zoom, column, row), LAT, LON)
    pixels[..., 2] = (
        np.random.default_rng([column, row]).integers(0, 255, (16, 16)).repeat(16, 0).repeat(16, 1)
    )
    return picture(pixels)


def speckled(asked: Asked) -> bytes:
    """A small tile of its own, made quickly."""
    zoom, column, row = place(asked)
    pixels = np.random.default_rng([zoom, column, row]).integers(0, 255, (8, 8, 3), np.uint8)
    return picture(pixels.repeat(32, 0).repeat(32, 1))


def xyz(site: Site, **more: object) -> Server:
    return Server("xyz", f"{site.url}/{{z}}/{{x}}/{{y}}.png", name="here", rate=100.0, **more)  # pyright: ignore[reportArgumentType]


def get(site: Site, out: Path, server: Server | None = None, **more: object):
    return fetch(
        server or xyz(site),
        AREA,
        ZOOM,
        out,
        allowed_hosts=[site.host],
        patience=QUICK,
        **more,  # pyright: ignore[reportArgumentType]
    )


def test_what_comes_lies_where_it_lay(tmp_path: Path) -> None:
    with serving(lambda asked: Reply(body=tile(asked))) as site:
        server = xyz(site, attribution="© Here", licence="CC-BY-4.0", terms="Not at night")
        planned = estimate(server, AREA, ZOOM)
        assert site.asked == []  # an estimate asks nothing
        got = get(site, tmp_path / "t.mbtiles", server)
        assert got.complete and got.asked == got.stored == planned.tiles == len(site.asked) == 16
        assert len(set(site.paths)) == 16
        headers = site.asked[0].headers
        assert headers["user-agent"].startswith("Nadir/") and not {
            "cookie",
            "authorization",
            "referer",
        } & set(headers)
    with open_mbtiles(got.path) as source:
        assert (source.attribution, source.licence, source.terms) == (
            "© Here",
            "CC-BY-4.0",
            "Not at night",
        )
        cut, share = source.cut(LAT, LON, 24.0, 48)
        assert share == 1.0 and errors(cut, 24.0) < 0.4
        assert source.bounds.contains(AREA.bounds.north, AREA.bounds.east) and not source.notes
    assert sorted(p.name for p in tmp_path.iterdir()) == ["t.mbtiles"]  # nothing is left beside it


def test_a_host_that_was_not_allowed_is_not_asked(tmp_path: Path) -> None:
    with serving(lambda asked: Reply(body=tile(asked))) as site:
        for allowed in ([], ["127.0.0.2"], [f"127.0.0.1:{site.port + 1}"], ["*.0.0.1.evil"]):
            with pytest.raises(NotAllowed, match=r"127\.0\.0\.1"):
                fetch(xyz(site), AREA, ZOOM, tmp_path / "t.mbtiles", allowed_hosts=allowed)
        assert site.asked == [] and list(tmp_path.iterdir()) == []
        assert get(site, tmp_path / "t.mbtiles", None).complete


def test_redirects_go_to_the_same_host_only(tmp_path: Path) -> None:
    to = {"to": "/moved{path}"}

    def answer(asked: Asked) -> Reply:
        if asked.path.startswith("/moved"):
            return Reply(body=tile(Asked(asked.path[6:], {}, {}, 0)))
        return Reply(301, headers={"Location": to["to"].format(path=asked.path)})

    with serving(lambda asked: Reply(body=tile(asked))) as elsewhere, serving(answer) as site:
        assert get(site, tmp_path / "a.mbtiles").stored == 16
        to["to"] = f"http://localhost:{elsewhere.port}{{path}}"
        with pytest.raises(ServerRefusal, match="localhost, another host"):
            get(site, tmp_path / "b.mbtiles")
        to["to"] = "{path}"
        with pytest.raises(ServerRefusal, match="on and on"):
            get(site, tmp_path / "c.mbtiles")
        assert elsewhere.asked == []
    assert not (tmp_path / "b.mbtiles").exists()


@pytest.mark.parametrize(
    ("status", "said"),
    [(401, "name and password"), (403, "refuses"), (404, "not there"), (500, "failed inside")],
)
def test_a_server_that_gives_nothing_is_told_so(tmp_path: Path, status: int, said: str) -> None:
    with serving(lambda asked: Reply(status)) as site:
        with pytest.raises(ServerRefusal, match=said) as caught:
            get(site, tmp_path / "t.mbtiles")
        assert str(status) in str(caught.value) and site.host in str(caught.value)
        assert not (tmp_path / "t.mbtiles").exists()
        # A refusal is not hammered at.
        assert len(site.asked) <= (16 if status == 404 else 45 if status == 500 else 16)


@pytest.mark.parametrize(
    ("pixels", "said"),
    [
        (np.full((256, 256, 3), 255, np.uint8), "of one colour"),
        (np.zeros((256, 256, 4), np.uint8), "of one colour or transparent"),
        (
            ramp(web_square(18, 100, 100), *(0.0, 0.0)) // 2
            + np.arange(256, dtype=np.uint8)[:, None, None] // 3,
            "same picture",
        ),
    ],
)
def test_blank_tiles_and_signs_for_nothing_are_no_imagery(
    tmp_path: Path, pixels: np.ndarray, said: str
) -> None:
    body = picture(pixels)
    with serving(lambda asked: Reply(body=body)) as site:
        with pytest.raises(ServerRefusal, match=said):
            get(site, tmp_path / "t.mbtiles")
    assert not (tmp_path / "t.mbtiles").exists()


@pytest.mark.parametrize(
    "reply",
    [
        Reply(body=b"<html><body>Over quota</body></html>", kind="text/html"),
        Reply(body=b""),
        Reply(body=b"\x89PNG\r\n\x1a\nrubbish"),
        Reply(body=b"x" * 300_000, headers={"Content-Encoding": "br"}),
        Reply(body=zlib.compress(b"\0" * 300_000_000, 9), headers={"Content-Encoding": "deflate"}),
        Reply(body=b"abc", headers={"Content-Length": str(1 << 40)}),
        Reply(body=picture(np.zeros((3000, 3000, 3), np.uint8))),
        Reply(body=picture(np.zeros((256, 300, 3), np.uint8))),
        Reply(body=b"abc" * 10, short=True),
        Reply(body=b"a" * 3000, drip=0.05),
        Reply(200, b"x", headers={"X-Long": "y" * 70_000}),
    ],
    ids=[
        "html",
        "empty",
        "rubbish",
        "brotli",
        "bomb",
        "huge",
        "large",
        "oblong",
        "short",
        "drip",
        "header",
    ],
)
def test_answers_that_are_no_tiles(tmp_path: Path, reply: Reply) -> None:
    limits = Limits(connect_s=2.0, whole_s=0.5)
    patience = Patience(tries=2, first_wait_s=0.01)
    start = time.perf_counter()
    with serving(lambda asked: reply) as site:
        with pytest.raises(ServerRefusal):
            fetch(
                xyz(site),
                AREA,
                ZOOM,
                tmp_path / "t.mbtiles",
                allowed_hosts=["127.0.0.1"],
                limits=limits,
                patience=patience,
            )
    assert time.perf_counter() - start < 15 and not (tmp_path / "t.mbtiles").exists()


def test_a_bomb_inside_a_picture_is_not_unpacked(tmp_path: Path) -> None:
    bomb = png(40_000, 40_000)
    with serving(lambda asked: Reply(body=bomb)) as site:
        with pytest.raises(ServerRefusal, match="40000 by 40000"):
            get(site, tmp_path / "t.mbtiles")


def test_what_is_missing_is_said_tile_by_tile(tmp_path: Path) -> None:
    column, row = COLUMN, ROW
    broken, gone, blank = (column, row), (column + 1, row), (column, row + 1)
    healed = False

    def answer(asked: Asked) -> Reply:
        spot = place(asked)[1:]
        if spot == broken and not healed:
            return Reply(403)
        if spot == gone:
            return Reply(404)
        if spot == blank:
            return Reply(body=picture(np.full((256, 256, 3), 255, np.uint8)))
        return Reply(body=tile(asked))

    out = tmp_path / "t.mbtiles"
    with serving(answer) as site:
        got = get(site, out)
        assert not got.complete and (got.stored, got.absent, got.blank, got.failed_count) == (
            13,
            1,
            1,
            1,
        )
        assert [spot[:2] for spot in got.failed] == [broken] and "403" in got.failed[0][2]
        with open_mbtiles(out) as source:
            assert any("1 of 16 tiles could not be fetched" in note for note in source.notes)
        first = len(site.asked)
        healed = True
        again = get(site, out)  # asks for the one alone
        assert (
            again.complete
            and again.stored == 14
            and site.paths[first:] == [f"/{ZOOM}/{column}/{row}.png"]
        )
        third = get(site, out)  # asks for nothing
        assert third.complete and third.stored == 14 and len(site.asked) == first + 1
    with open_mbtiles(out) as source:
        assert source.notes == ("of 16 tiles the server had 1 not, and 1 showed nothing",)


def test_a_server_that_falters_is_asked_again(tmp_path: Path) -> None:
    tries: dict[str, int] = {}

    def answer(asked: Asked) -> Reply:
        tries[asked.path] = count = tries.get(asked.path, 0) + 1
        if count == 1:
            return [Reply(503), Reply(502), Reply(429), Reply(body=tile(asked), short=True)][
                sum(map(ord, asked.path)) % 4
            ]
        return Reply(body=tile(asked))

    with serving(answer) as site:
        got = get(site, tmp_path / "t.mbtiles")
        assert got.complete and got.stored == 16 and got.requests == len(site.asked) == 32


def test_retry_after_is_obeyed_by_all(tmp_path: Path) -> None:
    state = {"told": 0.0}

    def answer(asked: Asked) -> Reply:
        if not state["told"]:
            state["told"] = time.monotonic()
            return Reply(429, headers={"Retry-After": "1"})
        return Reply(body=tile(asked))

    with serving(answer) as site:
        assert get(site, tmp_path / "t.mbtiles", parallel=4).complete
        # Those on their way when it was said may still come in.
        late = [a for a in site.asked if 0.2 < a.when - state["told"] < 0.95]
        assert late == []


def test_a_long_wait_ends_the_work_and_what_came_is_kept(tmp_path: Path) -> None:
    column = COLUMN
    strict = True

    def answer(asked: Asked) -> Reply:
        if strict and place(asked)[1] >= column + 1:
            return Reply(429, headers={"Retry-After": "86400"})
        return Reply(body=tile(asked))

    out = tmp_path / "t.mbtiles"
    with serving(answer) as site:
        with pytest.raises(ServerRefusal, match="wait for 86,400 s"):
            get(site, out)
        assert not out.exists() and (tmp_path / ".t.mbtiles.fetch").exists()
        strict = False
        before = len(site.asked)
        got = get(site, out)
        assert got.complete and len(site.asked) - before < 16


def test_too_many_requests_all_the_time(tmp_path: Path) -> None:
    with serving(lambda asked: Reply(429)) as site:
        with pytest.raises(ServerRefusal, match="too often"):
            get(site, tmp_path / "t.mbtiles")
        assert len(site.asked) <= 12  # five tries over two connections


def test_rate_and_connections_are_bounded(tmp_path: Path) -> None:
    with serving(lambda asked: Reply(body=speckled(asked), wait=0.03)) as site:
        get(site, tmp_path / "t.mbtiles", rate=20.0, parallel=3)
        times = sorted(a.when for a in site.asked)
        assert len(times) == 16 and times[-1] - times[0] > 15 / 20.0 * 0.9
        assert site.most_at_once <= 3
    with serving(lambda asked: Reply(body=speckled(asked), wait=0.1)) as site:
        get(site, tmp_path / "u.mbtiles", rate=100.0, parallel=50)
        assert 3 <= site.most_at_once <= 8


def test_cancelling_is_quick_and_keeps_what_came(tmp_path: Path) -> None:
    def report(done: int, total: int, text: str) -> None:
        assert total == 16 or "writing" in text
        if done >= 4:
            raise Cancelled

    slow = False
    with serving(lambda asked: Reply(body=speckled(asked), wait=30.0 if slow else 0.0)) as site:
        with pytest.raises(Cancelled):
            get(site, tmp_path / "t.mbtiles", report=report)
        assert not (tmp_path / "t.mbtiles").exists()
        slow = True
        seen: list[float] = []

        def impatient(done: int, total: int, text: str) -> None:
            seen.append(time.perf_counter())
            if seen[-1] - seen[0] > 0.3:
                raise Cancelled

        with pytest.raises(Cancelled):
            get(site, tmp_path / "t.mbtiles", report=impatient)
        assert time.perf_counter() - seen[-1] < 3.0
        slow = False
        before = len(site.asked)
        assert get(site, tmp_path / "t.mbtiles").complete
        assert len(site.asked) - before <= 12


SCRIPT = """
import sys
from pathlib import Path
from engine.geo import Bounds
from engine.imagery.server import BoxArea, Server, fetch
host, out = sys.argv[1:]
area = BoxArea(Bounds(48.195, 16.363, 48.205, 16.377))
server = Server("xyz", "http://" + host + "/{z}/{x}/{y}.png", rate=100.0, parallel=4)
fetch(server, area, 18, Path(out), allowed_hosts=[host])
"""


def test_killed_at_any_moment_it_comes_to_the_same_bytes(tmp_path: Path) -> None:
    with serving(lambda asked: Reply(body=speckled(asked), wait=0.01)) as site:
        root = Path(__file__).resolve().parents[4]
        command = [sys.executable, "-c", SCRIPT, site.host]
        # The address is a part of what is kept, so the straight run is made from the same server.
        straight = tmp_path / "straight" / "t.mbtiles"
        straight.parent.mkdir()
        subprocess.run([*command, str(straight)], cwd=root, check=True, timeout=120)
        asked = len(site.asked)
        assert asked > 100
        killed = tmp_path / "killed" / "t.mbtiles"
        killed.parent.mkdir()
        chance = np.random.default_rng(3)
        deaths = 0
        for wait in (*chance.uniform(0.05, 0.9, 4), 1000.0):
            before = len(site.asked)
            process = subprocess.Popen([*command, str(killed)], cwd=root)
            begun = time.monotonic()
            while process.poll() is None:
                if len(site.asked) > before and time.monotonic() - begun > wait:
                    process.send_signal(signal.SIGKILL)
                    deaths += 1
                    break
                time.sleep(0.01)
                if len(site.asked) == before:
                    begun = time.monotonic()
            process.wait(60)
            if killed.exists():
                break
        assert deaths >= 1 and killed.read_bytes() == straight.read_bytes()
        # Nothing but what was on its way, or not yet kept, was asked for twice.
        assert len(site.asked) - asked < asked + deaths * 80
        assert sorted(p.name for p in killed.parent.iterdir()) == ["t.mbtiles"]


def test_one_at_a_time(tmp_path: Path) -> None:
    out = tmp_path / "t.mbtiles"
    with serving(lambda asked: Reply(body=speckled(asked), wait=0.05)) as site:

        def second(done: int, total: int, text: str) -> None:
            if done == 2:
                with pytest.raises(ImageryError, match="being fetched already"):
                    get(site, out)

        assert get(site, out, report=second).complete


def test_a_file_of_something_else_is_left_alone(tmp_path: Path) -> None:
    out = tmp_path / "t.mbtiles"
    out.write_bytes(b"precious")
    with serving(lambda asked: Reply(body=speckled(asked))) as site:
        with pytest.raises(ImageryError, match="another file has this name"):
            get(site, out)
        assert out.read_bytes() == b"precious" and site.asked == []
        out.unlink()
        (tmp_path / ".t.mbtiles.fetch").write_bytes(b"rubbish" * 1000)
        with pytest.raises(ImageryError, match="damaged"):
            get(site, out)
        with pytest.raises(ImageryError, match=r"must end in \.mbtiles"):
            get(site, tmp_path / "t.tif")


def test_a_full_disk_is_said_and_the_work_goes_on_afterwards(tmp_path: Path) -> None:
    with serving(lambda asked: Reply(body=tile(asked))) as site, full_disk(2.0) as disk:
        size = get(site, tmp_path / "t.mbtiles").path.stat().st_size
        assert 60_000 < size < 900_000
        ballast = disk / "ballast"
        # Room for half of what is fetched; then for all of it, but not for the file made of it as well.
        for share in (0.5, 1.5):
            ballast.write_bytes(b"\0" * int(2 * 1024 * 1024 - share * size))
            with pytest.raises(ImageryError, match="disk is full"):
                get(site, disk / "t.mbtiles")
            assert not (disk / "t.mbtiles").exists()
        ballast.unlink()
        count = len(site.asked)
        assert get(site, disk / "t.mbtiles").complete and len(site.asked) == count
        assert sorted(p.name for p in disk.iterdir()) == ["t.mbtiles"]
        assert (disk / "t.mbtiles").read_bytes() == (tmp_path / "t.mbtiles").read_bytes()


def test_a_disk_that_may_not_be_written_to() -> None:
    with (
        serving(lambda asked: Reply(body=tile(asked))) as site,
        full_disk(1.0, read_only=True) as disk,
    ):
        with pytest.raises(ImageryError, match="cannot be written there"):
            get(site, disk / "t.mbtiles")
        assert site.asked == []


def test_a_door_that_was_closed_asks_no_more() -> None:
    with serving(
        lambda asked: Reply(body=b"a", wait=30.0 if asked.path == "/slow" else 0.0)
    ) as site:
        with Door(AllowedHosts([site.host])) as door:
            assert door.get(f"{site.url}/quick").body == b"a"
            clock = threading.Timer(0.2, door.close)
            clock.start()
            start = time.perf_counter()
            with pytest.raises(NoAnswer):
                door.get(f"{site.url}/slow")
            with pytest.raises(NoAnswer):
                door.get(f"{site.url}/quick")
            assert time.perf_counter() - start < 5 and site.paths == ["/quick", "/slow"]


def test_subdomains_templates_and_quadkeys(tmp_path: Path) -> None:
    made = server_of("https://{s}.tiles.example.org/{z}/{x}/{-y}{r}.jpg?key=abc")
    assert made.hosts == tuple(f"{s}.tiles.example.org" for s in "abc")
    service = connect(made, ())
    level = service.grid.level(3)
    assert service.address(level, 5, 2) == "https://b.tiles.example.org/3/5/5.jpg?key=abc"
    assert {service.address(level, c, 0)[8] for c in range(3)} == {"a", "b", "c"}
    keyed = connect(Server("xyz", "https://t.example.org/{q}"), ())
    assert (
        keyed.address(level, 3, 5) == "https://t.example.org/213"
    )  # the tile system's own example


def test_the_key_in_an_address_is_not_kept(tmp_path: Path) -> None:
    with serving(lambda asked: Reply(body=speckled(asked))) as site:
        server = Server("xyz", f"{site.url}/{{z}}/{{x}}/{{y}}.png?key=SECRET123", rate=100.0)
        got = get(site, tmp_path / "t.mbtiles", server)
        assert site.asked[0].query == {"KEY": "SECRET123"}
        assert b"SECRET123" not in got.path.read_bytes()
    with serving(lambda asked: Reply(403)) as site:
        server = Server("xyz", f"{site.url}/{{z}}/{{x}}/{{y}}.png?key=SECRET123", rate=100.0)
        with pytest.raises(ServerRefusal) as caught:
            get(site, tmp_path / "u.mbtiles", server)
        assert "SECRET" not in str(caught.value)


def test_a_server_as_imagery_of_an_index(tmp_path: Path) -> None:
    """Asked once; then it is there without a network, and a larger area asks only for what is new."""
    with serving(lambda asked: Reply(body=tile(asked))) as site:
        address = f"{site.url}/{{z}}/{{x}}/{{y}}.png"

        def use(area: BoxArea, margin: float = 0.0):
            return server_imagery(
                address,
                area,
                ZOOM,
                tmp_path / "cache",
                allowed_hosts=["127.0.0.1"],
                margin_m=margin,
                rate=100.0,
            )

        with pytest.raises(NotAllowed):
            server_imagery(address, AREA, ZOOM, tmp_path / "cache", allowed_hosts=[])
        with pytest.raises(ImageryError, match="--zoom"):
            server_imagery(address, AREA, None, tmp_path / "cache", allowed_hosts=["127.0.0.1"])
        source, got = use(AREA)
        assert got.complete and source.cut(LAT, LON, 24.0, 48)[1] == 1.0
        source.close()
        count = len(site.asked)
        wider, got = use(AREA, 100.0)
        assert got.asked > count and len(site.asked) == got.asked
        wider.close()
    source, got = use(AREA)  # nobody is there any more
    assert got.complete and source.bounds.contains(LAT, LON)


def test_areas_become_tiles() -> None:
    """Against the slow and obvious: a tile is needed where any of many points inside the area lies in it."""
    rng = np.random.default_rng(2)
    service = connect(Server("xyz", "https://t.example.org/{z}/{x}/{y}"), ())
    for lat, lon in ((0.0, 0.0), (69.0, 25.0), (-50.0, 179.99)):
        angles = np.sort(rng.uniform(0, 2 * np.pi, 6))
        corners = np.column_stack([np.cos(angles), np.sin(angles)]) * rng.uniform(
            0.3, 1, (6, 1)
        ) * 0.05 + (lon, lat)
        from engine.index.area import Area

        area = Area(((corners,),))
        got = set(plan_tiles(service, area, 13))
        points = rng.uniform(corners.min(0), corners.max(0), (30_000, 2))
        inside = points[area.contains(points[:, 1], points[:, 0])]
        wanted = {tile_at(b, a, 13) for a, b in inside}
        assert wanted <= got and len(got) <= 1.5 * len(wanted) + 4
        more = set(plan_tiles(service, area, 13, margin_m=1000.0))
        assert got < more


def test_over_the_180th_meridian(tmp_path: Path) -> None:
    lat, lon = -16.8, 179.99999
    area = BoxArea(Bounds(lat - 0.001, 179.999, lat + 0.001, -179.999))

    def answer(asked: Asked) -> Reply:
        pixels = ramp(web_square(*place(asked)), lat, lon)
        pixels[..., 2] = np.random.default_rng(place(asked)).integers(0, 255, (256, 256))
        return Reply(body=picture(pixels))

    with serving(answer) as site:
        got = fetch(
            xyz(site), area, ZOOM, tmp_path / "t.mbtiles", allowed_hosts=[site.host], patience=QUICK
        )
        columns = {place(asked)[1] for asked in site.asked}
        assert columns == {0, 2**ZOOM - 1} and got.complete
    with open_mbtiles(got.path) as source:
        assert source.bounds.contains(lat, 180.0) and source.bounds.width_deg < 0.01
        cut, share = source.cut(lat, lon, 24.0, 48)
        assert share == 1.0 and errors(cut, 24.0) < 0.5


def test_retina_tiles_are_known_by_their_size(tmp_path: Path) -> None:
    with serving(
        lambda asked: Reply(
            body=picture(ramp(web_square(*place(asked), 512), LAT, LON)[:, :, ::-1])
        )
    ) as site:
        spot = tiles_box(COLUMN, ROW, COLUMN + 1, ROW + 1)
        got = fetch(xyz(site), spot, ZOOM, tmp_path / "t.mbtiles", allowed_hosts=["127.0.0.1"])
    with open_mbtiles(got.path) as source:
        assert source.shape == (512, 512)
        assert source.resolution_m == pytest.approx(0.199, abs=0.001)
        told, share = source.cut(LAT, LON, 8.0, 32)
        assert share == 1.0 and errors(told[:, :, ::-1], 8.0) < 0.4


@pytest.mark.parametrize(
    "values",
    [
        {"url": "ftp://x.example/{z}/{x}/{y}"},
        {"url": "https://me:secret@x.example/{z}/{x}/{y}"},
        {"url": "https://{z}.example/{x}/{y}"},
        {"url": "https://x.example/{z}/{x}/{y}/{key}"},
        {"url": "https://{s}.example/{z}/{x}/{y}", "subdomains": ("a/b",)},
        {"url": "https://x.example/{x}/{y}"},
        {"url": "https://x.example/{z}/{x}/{y}\r\nHost: y"},
        {"url": "file:///etc/passwd"},
        {"url": "https:///{z}/{x}/{y}"},
        {"url": "https://x.example/{z}/{x}/{y}", "rate": float("inf")},
        {"url": "https://x.example/{z}/{x}/{y}", "parallel": 100},
        {"url": "https://x.example/{z}/{x}/{y}", "zooms": (0, 60)},
        {"url": "https://x.example/{z}/{x}/{y}", "tile_pixels": 10_000},
    ],
)
def test_descriptions_that_mean_nothing(values: dict[str, object]) -> None:
    with pytest.raises(ImageryError, match="no server that can be asked") as caught:
        Server("xyz", **values)  # pyright: ignore[reportArgumentType]
    assert "secret" not in str(caught.value)


def test_same_bytes_in_any_order(tmp_path: Path) -> None:
    with serving(
        lambda asked: Reply(body=speckled(asked), wait=0.02 * (hash(asked.path) % 3))
    ) as site:
        one = get(site, tmp_path / "a.mbtiles", parallel=1)
        two = get(site, tmp_path / "b.mbtiles", parallel=6)
    assert one.path.read_bytes() == two.path.read_bytes()
    with sqlite3.connect(one.path) as db:
        assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert db.execute("SELECT count(*) FROM tiles").fetchone() == (16,)
    assert open_imagery(one.path).attribution == "" and os.path.getsize(one.path) > 0
