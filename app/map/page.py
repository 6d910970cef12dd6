"""The map page: folium writes it, with every script and style sheet from the program's own scheme."""

from __future__ import annotations

import base64
import hashlib
import re
from pathlib import Path

from app.map.scheme import ROOT

# folium keeps scripts and style sheets in one dictionary by name, so no two of them may share one.
SCRIPTS = (
    ("nadir_script_leaflet", f"{ROOT}web/leaflet/leaflet.js"),
    ("nadir_script_channel", f"{ROOT}qwebchannel.js"),
    ("nadir_script_layers", f"{ROOT}web/layers.js"),
    ("nadir_script_controls", f"{ROOT}web/controls.js"),
    ("nadir_script_draw", f"{ROOT}web/draw.js"),
    ("nadir_script_camera", f"{ROOT}web/camera.js"),
    ("nadir_script_map", f"{ROOT}web/map.js"),
)
STYLES = (
    ("nadir_style_leaflet", f"{ROOT}web/leaflet/leaflet.css"),
    ("nadir_style_map", f"{ROOT}web/map.css"),
)


def build_page() -> bytes:
    """Let folium write the page. Takes about 0.3 s, most of it folium's import: call it off the UI thread."""
    import folium
    from branca.element import Figure, MacroElement
    from folium.template import Template

    class Start(MacroElement):
        """Hands the map that folium made to our script."""

        _template = Template(
            "{% macro script(this, kwargs) %}NadirMap.start({{ this._parent.get_name() }});{% endmacro %}"
        )

    page = folium.Map(
        location=[0.0, 0.0],
        zoom_start=2,
        tiles=None,
        zoom_control="topright",
        attribution_control=False,  # the page has its own, which is text only and always shown
        zoom_snap=0.25,
        wheel_px_per_zoom_level=120,
        fade_animation=False,
        world_copy_jump=False,
        bounce_at_zoom_limits=False,
    )
    page.default_js = list(SCRIPTS)
    page.default_css = list(STYLES)
    figure = page.get_root()
    assert isinstance(figure, Figure)
    figure.title = "Map"
    page.add_child(Start())
    html = figure.render()
    # In the page and not in a header: Qt WebEngine turns the headers of own schemes into lower case.
    policy = f'<meta http-equiv="Content-Security-Policy" content="{content_policy(html)}">'
    return html.replace("<head>", f"<head>\n    {policy}", 1).encode()


def content_policy(html: str) -> str:
    """The policy that lets the page run the scripts in ``html`` and those of its own origin, and reach nothing else."""
    inline = re.findall(r"<script>(.*?)</script>", html, re.DOTALL)
    hashes = " ".join(
        f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'"
        for script in inline
    )
    return (
        f"default-src 'none'; script-src 'self' {hashes}; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
        "font-src 'none'; connect-src 'none'; base-uri 'none'; form-action 'none'"
    )


def read_assets(folder: Path) -> dict[str, bytes]:
    """Everything under ``resources/web`` by its path in the page's URLs, ``web/...``."""
    files = (path for path in folder.rglob("*") if path.is_file() and path.suffix != ".md")
    return {
        f"web/{path.relative_to(folder).as_posix()}": path.read_bytes() for path in sorted(files)
    }
