"""WMTS and WMS on this machine: both ways of asking, both versions, axes, several matrix sets, what they refuse."""

from __future__ import annotations

import math
import random
import re
from itertools import pairwise
from pathlib import Path
from xml.sax.saxutils import escape

import numpy as np
import pytest
from rasterio.crs import CRS
from rasterio.warp import transform

from engine.errors import ImageryError
from engine.geo import Bounds
from engine.imagery import safe_xml
from engine.imagery.mbtiles import open_mbtiles
from engine.imagery.safe_xml import XmlError, parse_xml
from engine.imagery.server import (
    BoxArea,
    NotAllowed,
    Patience,
    Server,
    ServerRefusal,
    connect,
    fetch,
    server_of,
)
from engine.imagery.server.plan import plan_tiles
from tests.engine.imagery.map_tiles import EDGE, Square, picture, ramp
from tests.engine.imagery.rasters import WGS84
from tests.engine.imagery.test_pyramid import errors
from tests.engine.imagery.tile_server import Asked, Reply, Site, serving

LAT, LON = 51.5, 7.2
AREA = BoxArea(Bounds(LAT - 0.0004, LON - 0.0006, LAT + 0.0004, LON + 0.0006))
QUICK = Patience(first_wait_s=0.01, longest_wait_s=0.05)
# EPSG code -> (CRS, whether its definition has north first)
AXES = {"3857": False, "4326": True, "25832": False, "31466": True}
# Matrix sets: EPSG code, west, north, and resolutions of levels, of a server's own making.
SETS = {
    "GoogleMapsCompatible": ("3857", -EDGE, EDGE, [2 * EDGE / 256 / 2**z for z in range(20)]),
    "utm": ("25832", -46133.17, 6301219.54, [0.6, 0.25]),
    "gk": ("31466", 2400000.0, 5900000.0, [0.8, 0.3]),
    "degrees": ("4326", -180.0, 90.0, [360 / 512 / 2**z for z in range(20)]),
}


def metres(code: str) -> float:
    return math.pi * 6378137.0 / 180 if code == "4326" else 1.0


def numbered(pixels: np.ndarray, seed: tuple[int, ...]) -> bytes:
    noise = np.random.default_rng([abs(s) for s in seed]).integers(0, 255, (16, 16))
    side = pixels.shape[0] // 16
    pixels[..., 2] = noise.repeat(side, 0).repeat(side, 1)
    return picture(pixels)


def draw(code: str, west: float, north: float, resolution: float, pixels: int = 256) -> bytes:
    square = Square(CRS.from_epsg(int(code)), west, north, resolution, pixels)
    return numbered(ramp(square, LAT, LON), (round(west * 1000), round(north * 1000)))


def wmts_document(
    site_url: str, rest: bool, sets: list[str], *, extra: str = "", tile_host: str = ""
) -> bytes:
    matrices = ""
    for name in sets:
        code, west, north, resolutions = SETS[name]
        corner = f"{north} {west}" if AXES[code] else f"{west} {north}"
        levels = "".join(
            f"<TileMatrix><ows:Identifier>{name}:{i}</ows:Identifier>"
            f"<ScaleDenominator>{r * metres(code) / 0.28e-3!r}</ScaleDenominator>"
            f"<TopLeftCorner>{corner}</TopLeftCorner><TileWidth>256</TileWidth><TileHeight>256</TileHeight>"
            f"<MatrixWidth>{9_000_000}</MatrixWidth><MatrixHeight>{9_000_000}</MatrixHeight></TileMatrix>"
            for i, r in enumerate(resolutions)
        )
        matrices += (
            f"<TileMatrixSet><ows:Identifier>{name}</ows:Identifier>"
            f"<ows:SupportedCRS>urn:ogc:def:crs:EPSG::{code}</ows:SupportedCRS>{levels}</TileMatrixSet>"
        )
    host = tile_host or site_url
    template = (
        f'<ResourceURL format="image/png" resourceType="tile" '
        f'template="{host}/rest/{{TileMatrixSet}}/{{TileMatrix}}/{{TileRow}}/{{TileCol}}/{{style}}.png"/>'
        if rest
        else ""
    )
    links = "".join(
        f"<TileMatrixSetLink><TileMatrixSet>{name}</TileMatrixSet></TileMatrixSetLink>"
        for name in sets
    )
    return f"""<?xml version="1.0" encoding="UTF-8"?>{extra}
<Capabilities xmlns="http://www.opengis.net/wmts/1.0" xmlns:ows="http://www.opengis.net/ows/1.1"
 xmlns:xlink="http://www.w3.org/1999/xlink" version="1.0.0">
<ows:ServiceIdentification><ows:Fees>none</ows:Fees><ows:AccessConstraints>By night only</ows:AccessConstraints>
</ows:ServiceIdentification>
<ows:ServiceProvider><ows:ProviderName>Surveyors</ows:ProviderName></ows:ServiceProvider>
<ows:OperationsMetadata><ows:Operation name="GetTile"><ows:DCP><ows:HTTP>
<ows:Get xlink:href="{host}/kvp?"><ows:Constraint name="GetEncoding"><ows:AllowedValues><ows:Value>KVP</ows:Value>
</ows:AllowedValues></ows:Constraint></ows:Get></ows:HTTP></ows:DCP></ows:Operation></ows:OperationsMetadata>
<Contents>
<Layer><ows:Title>Photos from above</ows:Title><ows:Identifier>ortho</ows:Identifier>
<ows:WGS84BoundingBox><ows:LowerCorner>{LON - 1} {LAT - 1}</ows:LowerCorner>
<ows:UpperCorner>{LON + 1} {LAT + 1}</ows:UpperCorner></ows:WGS84BoundingBox>
<Style isDefault="true"><ows:Identifier>plain style</ows:Identifier></Style>
<Format>image/gif</Format><Format>image/png</Format>{links}{template}</Layer>
<Layer><ows:Identifier>other</ows:Identifier><Format>image/png</Format>{links}</Layer>
{matrices}</Contents></Capabilities>""".encode()


def wmts(rest: bool, sets: list[str]):
    """A WMTS; what it draws is worked out from its own document, not from the program's."""
    holder: dict[str, Site] = {}

    def answer(asked: Asked) -> Reply:
        if asked.query.get("REQUEST") == "GetCapabilities" or asked.path.endswith(".xml"):
            return Reply(body=wmts_document(holder["site"].url, rest, sets), kind="text/xml")
        if rest:
            name, matrix, row, column, style = asked.path.removesuffix(".png").split("/")[2:]
            assert style == "plain%20style"
            matrix = matrix.replace("%3A", ":")
        else:
            query = asked.query
            name, matrix = query["TILEMATRIXSET"], query["TILEMATRIX"]
            row, column = query["TILEROW"], query["TILECOL"]
            assert (query["LAYER"], query["STYLE"], query["FORMAT"]) == (
                "ortho",
                "plain style",
                "image/png",
            )
            assert (query["SERVICE"], query["REQUEST"], query["VERSION"]) == (
                "WMTS",
                "GetTile",
                "1.0.0",
            )
        code, west, north, resolutions = SETS[name]
        resolution = resolutions[int(matrix.rpartition(":")[2])]
        span = 256 * resolution
        return Reply(
            body=draw(code, west + int(column) * span, north - int(row) * span, resolution)
        )

    return answer, holder


@pytest.mark.parametrize("rest", [False, True], ids=["kvp", "rest"])
@pytest.mark.parametrize(
    ("name", "zoom", "slack"),
    [("GoogleMapsCompatible", 18, 0.45), ("utm", 1, 0.38), ("gk", 1, 0.4), ("degrees", 18, 0.45)],
)
def test_wmts_tiles_lie_right(
    tmp_path: Path, rest: bool, name: str, zoom: int, slack: float
) -> None:
    answer, holder = wmts(rest, [name])
    with serving(answer) as site:
        holder["site"] = site
        server = Server("wmts", f"{site.url}/wmts", layer="ortho", rate=100.0)
        service = connect(server, [site.host])
        assert service.attribution == "Surveyors" and service.terms == "By night only"
        web = name == "GoogleMapsCompatible"
        assert service.grid.is_web_mercator == web
        out = tmp_path / ("t.mbtiles" if web else "t.tiles")
        got = fetch(service, AREA, zoom, out, allowed_hosts=[site.host], patience=QUICK)
        assert got.complete and got.stored >= 4
        if not web:
            with pytest.raises(ImageryError, match=r"must end in \.tiles"):
                fetch(service, AREA, zoom, tmp_path / "u.mbtiles", allowed_hosts=[site.host])
    with open_mbtiles(out) as source:
        assert source.crs == f"EPSG:{SETS[name][0]}" and source.attribution == "Surveyors"
        assert source.terms == "By night only"
        cut, share = source.cut(LAT, LON, 20.0, 60)
        assert share == 1.0 and errors(cut, 20.0) < slack


def test_of_several_matrix_sets_that_of_web_maps_is_taken_or_the_one_asked_for() -> None:
    answer, holder = wmts(True, ["utm", "GoogleMapsCompatible"])
    with serving(answer) as site:
        holder["site"] = site
        plain = Server("wmts", f"{site.url}/1.0.0/WMTSCapabilities.xml", layer="ortho")
        assert connect(plain, [site.host]).grid.is_web_mercator
        assert site.paths == ["/1.0.0/WMTSCapabilities.xml"] and site.asked[0].query == {}
        asked = Server("wmts", f"{site.url}/wmts", layer="ortho", matrix_set="utm")
        assert connect(asked, [site.host]).grid.zooms == (0, 1)
        with pytest.raises(ImageryError, match=r"no matrix set 'moon'.*'utm'"):
            connect(Server("wmts", site.url, layer="ortho", matrix_set="moon"), [site.host])
        with pytest.raises(ImageryError, match="no layer 'moon'"):
            connect(Server("wmts", site.url, layer="moon"), [site.host])
        with pytest.raises(ImageryError, match=r"2 layers.*ortho, other"):
            connect(Server("wmts", site.url), [site.host])
        far = BoxArea(Bounds(10.0, 10.0, 10.1, 10.1))
        with pytest.raises(ImageryError, match="lies elsewhere"):
            fetch(plain, far, 12, Path("no.mbtiles"), allowed_hosts=[site.host])


def test_a_wmts_that_keeps_its_tiles_elsewhere_needs_that_host_allowed_too(tmp_path: Path) -> None:
    with serving(lambda asked: Reply(404)) as other:
        elsewhere = f"http://localhost:{other.port}"

        def answer(asked: Asked) -> Reply:
            body = wmts_document("", True, ["GoogleMapsCompatible"], tile_host=elsewhere)
            return Reply(body=body, kind="text/xml")

        with serving(answer) as site:
            server = Server("wmts", site.url, layer="ortho")
            with pytest.raises(NotAllowed, match=f"localhost:{other.port}"):
                fetch(server, AREA, 18, tmp_path / "t.mbtiles", allowed_hosts=[site.host])
        assert other.asked == []


def wms_document(version: str, names: list[str], url: str, *, nested: bool = True) -> bytes:
    new = version == "1.3.0"
    tag = "CRS" if new else "SRS"
    crs = "".join(f"<{tag}>{name}</{tag}>" for name in names)
    if new:
        box = (
            f"<EX_GeographicBoundingBox><westBoundLongitude>{LON - 1}</westBoundLongitude>"
            f"<eastBoundLongitude>{LON + 1}</eastBoundLongitude><southBoundLatitude>{LAT - 1}</southBoundLatitude>"
            f"<northBoundLatitude>{LAT + 1}</northBoundLatitude></EX_GeographicBoundingBox>"
        )
    else:
        box = f'<LatLonBoundingBox minx="{LON - 1}" miny="{LAT - 1}" maxx="{LON + 1}" maxy="{LAT + 1}"/>'
    root = "WMS_Capabilities" if new else "WMT_MS_Capabilities"
    kind = (
        ""
        if new
        else f'<!DOCTYPE {root} SYSTEM "http://schemas.opengis.net/wms/1.1.1/{root}.dtd" '
        "[<!ELEMENT VendorSpecificCapabilities EMPTY>]>"
    )
    return f"""<?xml version="1.0"?>{kind}<{root} version="{version}" xmlns:xlink="http://www.w3.org/1999/xlink">
<Service><Name>WMS</Name><Fees>None</Fees><AccessConstraints>Ask first</AccessConstraints></Service>
<Capability><Request><GetMap><Format>image/png</Format><DCPType><HTTP><Get>
<OnlineResource xlink:href="{escape(url)}"/></Get></HTTP></DCPType></GetMap></Request>
<Layer>{crs}{box}<Title>All</Title><Layer><Name>ortho</Name><Title>Photos</Title>
<Attribution><Title>© County</Title></Attribution></Layer></Layer></Capability></{root}>""".encode()


def wms(version: str, names: list[str], public: str = ""):
    holder: dict[str, Site] = {}

    def answer(asked: Asked) -> Reply:
        query = asked.query
        if query.get("REQUEST") == "GetCapabilities":
            assert query["SERVICE"] == "WMS" and query["MAP"] == "a/b.map"
            url = public or f"{holder['site'].url}/cgi?map=a/b.map&"
            return Reply(body=wms_document(version, names, url), kind="text/xml")
        assert (query["REQUEST"], query["VERSION"], query["LAYERS"]) == ("GetMap", version, "ortho")
        assert query["MAP"] == "a/b.map" and "STYLES" in query
        name = query["CRS" if version == "1.3.0" else "SRS"]
        a, b, c, d = map(float, query["BBOX"].split(","))
        code = name.partition(":")[2].replace("900913", "3857")
        code = "4326" if code == "84" else code
        if version == "1.3.0" and name != "CRS:84" and AXES[code]:
            a, b, c, d = b, a, d, c
        width, height = int(query["WIDTH"]), int(query["HEIGHT"])
        assert c > a and d > b and (c - a) / width == pytest.approx((d - b) / height, rel=1e-6)
        return Reply(body=draw(code, a, d, (c - a) / width, width))

    return answer, holder


@pytest.mark.parametrize(
    ("version", "names", "used"),
    [
        ("1.1.1", ["EPSG:4326", "EPSG:3857"], "EPSG:3857"),
        ("1.3.0", ["CRS:84", "EPSG:25832", "EPSG:3857"], "EPSG:3857"),
        ("1.1.1", ["EPSG:4326", "EPSG:900913"], "EPSG:3857"),
        ("1.3.0", ["EPSG:4326"], "EPSG:4326"),
        ("1.1.1", ["EPSG:4326"], "EPSG:4326"),
        ("1.3.0", ["CRS:84"], "EPSG:4326"),
        ("1.3.0", ["EPSG:4326", "EPSG:31466"], "EPSG:31466"),
        ("1.1.1", ["EPSG:31466 EPSG:4326"], "EPSG:31466"),
        ("1.3.0", ["AUTO2:42001", "EPSG:25832"], "EPSG:25832"),
    ],
)
def test_wms_maps_lie_right(tmp_path: Path, version: str, names: list[str], used: str) -> None:
    answer, holder = wms(version, names)
    with serving(answer) as site:
        holder["site"] = site
        server = Server("wms", f"{site.url}/cgi?map=a/b.map", rate=100.0)
        out = tmp_path / ("t.mbtiles" if used == "EPSG:3857" else "t.tiles")
        got = fetch(server, AREA, 18, out, allowed_hosts=[site.host], patience=QUICK)
        assert got.complete and got.stored == got.asked >= 1
    with open_mbtiles(out) as source:
        assert source.crs == used and (source.attribution, source.terms) == (
            "© County",
            "Ask first",
        )
        cut, share = source.cut(LAT, LON, 20.0, 40)
        assert share == 1.0 and errors(cut, 20.0) < 0.5


def test_a_wms_that_names_an_address_inside_is_asked_at_the_one_given(tmp_path: Path) -> None:
    answer, holder = wms("1.3.0", ["EPSG:3857"], public="http://geoserver.internal:8080/ows")
    with serving(answer) as site:
        holder["site"] = site
        service = connect(Server("wms", f"{site.url}/cgi?map=a/b.map"), [site.host])
        assert service.hosts == (site.host,) and any(
            "geoserver.internal" in note for note in service.notes
        )


NEW_ERROR = (
    '<?xml version="1.0"?><ServiceExceptionReport version="1.3.0" xmlns="http://www.opengis.net/ogc">'
    '<ServiceException code="LayerNotDefined">No such layer today</ServiceException></ServiceExceptionReport>'
)
OWS_ERROR = (
    '<ows:ExceptionReport xmlns:ows="http://www.opengis.net/ows/1.1"><ows:Exception exceptionCode="NoApplicableCode">'
    "<ows:ExceptionText>Out of order</ows:ExceptionText></ows:Exception></ows:ExceptionReport>"
)


@pytest.mark.parametrize(
    ("text", "said"), [(NEW_ERROR, "No such layer today"), (OWS_ERROR, "Out of order")]
)
@pytest.mark.parametrize("status", [200, 400])
def test_an_exception_is_an_error_whatever_its_status(
    tmp_path: Path, text: str, said: str, status: int
) -> None:
    def answer(asked: Asked) -> Reply:
        if asked.query["REQUEST"] == "GetCapabilities":
            return Reply(body=wms_document("1.3.0", ["EPSG:3857"], "/"), kind="text/xml")
        return Reply(status, body=text.encode(), kind="image/png")

    with serving(answer) as site:
        with pytest.raises(ServerRefusal, match=said):
            fetch(
                Server("wms", site.url),
                AREA,
                18,
                tmp_path / "t.mbtiles",
                allowed_hosts=[site.host],
                patience=QUICK,
            )
    with serving(lambda asked: Reply(body=text.encode(), kind="text/xml")) as site:
        with pytest.raises(ServerRefusal, match=said):
            connect(Server("wms", site.url), [site.host])
    assert list(tmp_path.glob("*.mbtiles")) == []


def test_a_tile_out_of_range_is_one_that_is_not_there(tmp_path: Path) -> None:
    answer, holder = wmts(False, ["GoogleMapsCompatible"])
    text = OWS_ERROR.replace("NoApplicableCode", "TileOutOfRange").encode()

    def some(asked: Asked) -> Reply:
        if int(asked.query.get("TILECOL", 0)) % 2:
            return Reply(400, body=text, kind="text/xml")
        return answer(asked)

    with serving(some) as site:
        holder["site"] = site
        server = Server("wmts", f"{site.url}/wmts", layer="ortho", rate=100.0)
        got = fetch(
            server, AREA, 18, tmp_path / "t.mbtiles", allowed_hosts=[site.host], patience=QUICK
        )
        assert (
            got.complete
            and got.absent > 0
            and got.stored > 0
            and got.absent + got.stored == got.asked
        )


NAMES = "abcdefghij"
LAUGHS = (
    '<?xml version="1.0"?><!DOCTYPE l [<!ENTITY a "ha">'
    + "".join(f'<!ENTITY {b} "{"&" + a + ";"}{"&" + a + ";"}">' for a, b in pairwise(NAMES))
    + "]><Capabilities>&j;</Capabilities>"
)


@pytest.mark.parametrize(
    "text",
    [
        LAUGHS,
        '<!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/passwd">]><Capabilities>&a;</Capabilities>',
        '<!DOCTYPE x SYSTEM "http://localhost:1/x.dtd"><Capabilities>&a;</Capabilities>',
        "<a>" * 1000,
        "<Capabilities",
        "",
        "<html><body>Welcome</body></html>",
        "<Capabilities/>",
        "<Capabilities><Contents/></Capabilities>",
        '<Capabilities xmlns="x"><Contents><Layer><Identifier>a</Identifier><Format>image/png</Format>'
        "<TileMatrixSetLink><TileMatrixSet>s</TileMatrixSet></TileMatrixSetLink></Layer><TileMatrixSet>"
        "<Identifier>s</Identifier><SupportedCRS>http://localhost:1/crs</SupportedCRS></TileMatrixSet></Contents></Capabilities>",
    ],
    ids=["laughs", "file", "dtd", "deep", "cut", "empty", "html", "bare", "none", "crs"],
)
@pytest.mark.parametrize("kind", ["wmts", "wms"])
def test_capabilities_that_mean_harm_or_nothing(text: str, kind: str) -> None:
    with serving(lambda asked: Reply(body=text.encode(), kind="text/xml")) as site:
        with pytest.raises(ImageryError) as caught:
            connect(Server(kind, site.url), [site.host])  # pyright: ignore[reportArgumentType]
        assert len(str(caught.value)) < 400 and "root:" not in str(caught.value)
        assert len(site.asked) == 1


JUNK = (
    "", "nan", "inf", "-1", "0", "1e400", "9" * 20, "EPSG:1", "EPSG:4978", "EPSG:5773", "urn:ogc:def:crs:EPSG::0",
    "{s}", "http://[", "//x", "{TileMatrix}", "EPSG:32761", "1 2 3", "http://elsewhere.example/",
)  # fmt: skip


def test_capabilities_with_other_values_never_do_more_than_fail() -> None:
    chance = random.Random(11)
    state = {"body": b""}
    used = refused = 0
    with serving(lambda asked: Reply(body=state["body"], kind="text/xml")) as site:
        documents = [
            *(
                ("wmts", wmts_document(site.url, rest, [name]))
                for rest in (True, False)
                for name in SETS
            ),
            *(
                ("wms", wms_document(v, [c], site.url))
                for v in ("1.1.1", "1.3.0")
                for c in ("EPSG:3857", "EPSG:31466")
            ),
        ]
        for _ in range(100):
            kind, document = chance.choice(documents)
            text = document.decode()
            for _ in range(chance.choice((1, 1, 3))):
                values = list(re.finditer(r'(?<=>)[^<>]+(?=<)|(?<=")[^"<>]+(?=")', text))
                value = chance.choice(values)
                text = text[: value.start()] + chance.choice(JUNK) + text[value.end() :]
            state["body"] = text.encode()
            try:
                service = connect(Server(kind, site.url, layer="ortho"), [site.host])  # pyright: ignore[reportArgumentType]
                plan_tiles(service, AREA, service.grid.zooms[-1])
                used += 1
            except ImageryError:
                refused += 1
        assert used > 10 and refused > 10 and len(site.asked) == 100


def test_xml_is_read_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    root = parse_xml('<a:x xmlns:a="u" b:k="1" xmlns:b="v"><y> é </y><z/><y>2</y></a:x>'.encode())
    assert root.name == "x" and root.attributes["k"] == "1" and root.value("y") == "é"
    assert [node.name for node in root.walk()] == ["x", "y", "z", "y"]
    monkeypatch.setattr(safe_xml, "_MOST_NODES", 100)
    with pytest.raises(XmlError, match="too large"):
        parse_xml(b"<a>" + b"<b/>" * 100 + b"</a>")


def test_addresses_of_services_are_understood() -> None:
    made = server_of(
        "https://maps.example.org/ows?SERVICE=WMS&VERSION=1.3.0&REQUEST=GetCapabilities&map=x&layers=a,b"
    )
    assert (made.kind, made.url, made.layer, made.version) == (
        "wms",
        "https://maps.example.org/ows?map=x",
        "a,b",
        "1.3.0",
    )
    assert server_of("https://maps.example.org/wmts/1.0.0/WMTSCapabilities.xml").kind == "wmts"
    with pytest.raises(ImageryError, match="neither"):
        server_of("https://maps.example.org/")


def test_squares_here_are_what_they_say() -> None:
    """The ground truth of this file, against PROJ in another order of axes."""
    x, y = (v[0] for v in transform(WGS84, CRS.from_epsg(31466), [LON], [LAT])[:2])
    assert 2_500_000 < x < 2_700_000 and 5_600_000 < y < 5_800_000
