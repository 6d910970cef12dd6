"""The page folium writes and the files beside it."""

from __future__ import annotations

import base64
import hashlib
import re

import pytest

from app.map.page import SCRIPTS, STYLES, build_page, read_assets
from app.map.scheme import ROOT
from app.resources import resource


@pytest.fixture(scope="module")
def html() -> str:
    return build_page().decode()


def test_page_names_no_address_but_our_own(html: str) -> None:
    addresses = re.findall(r"""(?:src|href)\s*=\s*["']([^"']+)["']""", html)
    assert len(addresses) == len(SCRIPTS) + len(STYLES)
    assert all(address.startswith(ROOT) for address in addresses)
    assert not re.search(r"(https?|wss?|ftp|file):", html)


def test_scripts_and_styles_all_have_names_of_their_own() -> None:
    names = [name for name, _ in (*SCRIPTS, *STYLES)]
    assert len(set(names)) == len(names)


def test_every_file_the_page_loads_is_there(html: str) -> None:
    files = read_assets(resource("web"))
    for address in re.findall(rf'"{re.escape(ROOT)}([^"]+)"', html):
        assert address in files or address == "qwebchannel.js", address
    for path, content in files.items():
        if not path.endswith(".css"):
            continue
        for name in re.findall(rb"url\(\s*['\"]?([^)'\"#]+)", content):
            assert f"{path.rsplit('/', 1)[0]}/{name.decode()}" in files, name


def test_leaflet_comes_with_its_licence() -> None:
    licence = resource("web", "leaflet", "LICENSE").read_text()
    assert "BSD 2-Clause" in licence and "Agafonkin" in licence


def test_policy_allows_just_the_scripts_folium_wrote(html: str) -> None:
    policy = re.search(r'Content-Security-Policy" content="([^"]+)"', html)
    assert policy is not None
    assert policy[1].startswith("default-src 'none'")
    assert "unsafe-eval" not in policy[1]
    scripts = re.findall(r"<script>(.*?)</script>", html, re.DOTALL)
    assert scripts
    for script in scripts:
        digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
        assert f"'sha256-{digest}'" in policy[1]
    assert html.index("Content-Security-Policy") < html.index("<script")


def test_our_scripts_use_no_markup_from_outside() -> None:
    """The page shows names and attributions that come with an index from anywhere: as text, never as markup."""
    for name in ("map.js", "controls.js", "layers.js"):
        source = resource("web", name).read_text(encoding="utf-8")
        assert (
            "eval(" not in source
            and "document.write" not in source
            and "insertAdjacentHTML" not in source
        )
