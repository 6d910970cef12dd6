"""The guide is true: its commands run, its Python runs, its links lead somewhere."""

from __future__ import annotations

import io
import itertools
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import zlib
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from engine.encoder.card import Branch, Card
from engine.geo import Bounds, tile_bounds
from engine.imagery import open_imagery
from engine.index import FileFacts, ImageryFacts, Manifest
from engine.localize.posterior import Posterior
from engine.localize.result import Candidate, PlanSummary, Timings
from engine.networks import build_network
from engine.photo.facts import PhotoFacts
from tests.engine.imagery.tile_server import Asked, Reply, serving
from tests.engine.localize import test_documents as documents
from tests.qt_setup import prepare_qt

ROOT = Path(__file__).resolve().parents[2]
GUIDE = ROOT / "resources" / "guide"
PAGES = sorted([*GUIDE.glob("*.md"), *ROOT.glob("*.md"), ROOT / "packaging" / "README.md"])
PROBLEM = prepare_qt()
EXAMPLE_HOST = (
    "tiles.example.org"  # stands for a server of the reader's; here for one of this machine
)

_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\]\(([^)\s]+)\)")
_TITLE = re.compile(r"^#+ (.+)$", re.MULTILINE)


def blocks(page: Path, language: str) -> list[tuple[str, str]]:
    """The page's blocks of a language, each with the title it stands under."""
    text = page.read_text("utf-8")
    found = []
    for match in _FENCE.finditer(text):
        if match[1] == language:
            title = [t for t in _TITLE.finditer(text) if t.start() < match.start()][-1][1]
            found.append((title, match[2]))
    return found


EXAMPLES = [
    pytest.param(code, id=title.replace(" ", "-"))
    for title, code in blocks(GUIDE / "develop.md", "python")
]


def test_there_are_examples() -> None:
    assert len(EXAMPLES) >= 4


@pytest.mark.parametrize("code", EXAMPLES)
def test_an_example_runs(code: str, qapp, tmp_path: Path, monkeypatch) -> None:
    if "PySide6" in code and PROBLEM:
        pytest.skip(PROBLEM)
    monkeypatch.chdir(tmp_path)
    from engine.networks import parts
    from engine.training.losses import base

    # What an example registers is forgotten again.
    monkeypatch.setattr(parts, "_BACKBONES", dict(parts._BACKBONES))
    monkeypatch.setattr(base, "_BUILDERS", dict(base._BUILDERS))
    exec(compile(code, "develop.md", "exec"), {"__name__": "example"})


def commands(page: Path) -> list[list[str]]:
    """The words of every line of the page's shell blocks that begins with ``nadir``."""
    lines = [line for _, code in blocks(page, "sh") for line in code.splitlines()]
    return [shlex.split(line, comments=True) for line in lines if line.startswith("nadir ")]


RUN = [pytest.param(page, id=page.name) for page in sorted(GUIDE.glob("*.md")) if commands(page)]


def test_there_are_pages_with_commands() -> None:
    assert len(RUN) >= 3


@pytest.mark.timeout(300)
@pytest.mark.parametrize("page", RUN)
def test_the_commands_of_a_page_run(page: Path, tmp_path: Path) -> None:
    found = commands(page)
    lay_out(tmp_path)
    with serving(_map_tile) as site:
        for words in found:
            words = [word.replace(f"https://{EXAMPLE_HOST}", site.url) for word in words]
            words = [word.replace(EXAMPLE_HOST, site.host) for word in words]
            run_nadir(words, tmp_path)
        assert bool(site.asked) == any(EXAMPLE_HOST in word for line in found for word in line)


def run_nadir(words: list[str], folder: Path) -> None:
    """Run one command of a page in a folder; what it says that it writes has to be there then."""
    done = subprocess.run(
        [sys.executable, "-m", "engine", *words[1:]],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "utf-8"},
        capture_output=True,
        encoding="utf-8",
        timeout=240,
    )
    assert done.returncode == 0, f"{shlex.join(words)}\n{done.stdout}\n{done.stderr}"
    for option, value in itertools.pairwise(words):
        if option in ("--output", "--out", "--json") and "--dry-run" not in words:
            assert (folder / value).exists(), f"{shlex.join(words)} made no {value}"


def _map_tile(asked: Asked) -> Reply:
    """Any tile: colours of its own."""
    colours = np.random.default_rng(zlib.crc32(asked.path.encode())).integers(0, 255, (256, 256, 3))
    out = io.BytesIO()
    Image.fromarray(colours.astype(np.uint8)).save(out, "PNG")
    return Reply(body=out.getvalue())


def lay_out(folder: Path) -> None:
    """What the pages speak of: a photo, a panorama, somebody's weights."""
    samples = ROOT / "resources" / "samples"
    shutil.copyfile(samples / "3 photo.jpg", folder / "photo.jpg")
    shutil.copyfile(samples / "1 panorama.jpg", folder / "panorama.jpg")
    shutil.copyfile(ROOT / "resources" / "port-nemo.index" / "imagery.tif", folder / "whole.tif")
    _cut(folder / "whole.tif", folder / "ortho.tif")
    torch.manual_seed(1)
    options = {"backbone": "resnet", "aggregation": "spoc", "input_size": (64, 96)}
    state = build_network("vg-benchmark", options).state_dict()
    published = {name.removeprefix("model."): value for name, value in state.items()}
    torch.save({"model_state_dict": published}, folder / "best_model.pth")


@pytest.mark.parametrize("page", [pytest.param(p, id=p.name) for p in PAGES])
def test_links_lead_somewhere(page: Path) -> None:
    for target in _LINK.findall(page.read_text("utf-8")):
        if re.match(r"[a-z]+:", target):
            continue
        name, _, anchor = target.partition("#")
        file = (page.parent / name).resolve() if name else page
        assert file.exists(), f"{page.name} links to {target}"
        if anchor:
            titles = _TITLE.findall(file.read_text("utf-8"))
            assert anchor in {_anchor(title) for title in titles}, target


def _anchor(title: str) -> str:
    return re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-")


def _cut(whole: Path, part: Path) -> None:
    """The middle 200 m of the demo's imagery, so that an index of it is built in no time."""
    with open_imagery(whole) as source:
        lat, lon = source.bounds.centre
        source.write_copy(part, tile_bounds(lat, lon, 200.0))
    box = tile_bounds(lat, lon, 60.0)
    ring = [
        [x, y] for x, y in ((box.west, box.south), (box.east, box.south), (box.east, box.north))
    ]
    area = {"type": "Polygon", "coordinates": [[*ring, ring[0]]]}
    (part.parent / "centre.geojson").write_text(json.dumps(area), "utf-8")


def _section(page: Path, title: str) -> str:
    text = page.read_text("utf-8")
    start = text.index(f"\n## {title}\n")
    end = text.find("\n## ", start + 1)
    return text[start : end if end >= 0 else None]


def _said(section: str) -> set[str]:
    """All that stands in backquotes."""
    return set(re.findall(r"`([^`\n]+)`", section))


def test_every_key_of_a_card_is_explained() -> None:
    card = json.loads((ROOT / "resources" / "port-nemo-1.encoder" / "card.json").read_text("utf-8"))
    said = _said(_section(GUIDE / "formats.md", "Encoder"))
    keys = {key for key in card if key not in ("branches", "outputs", "training")}
    keys |= {f"….{key}" for key in card["branches"]["reference"]}
    keys |= {f"….{field.name}" for field in fields(Branch)}
    keys |= {f"{part}.{key}" for part in ("outputs", "training") for key in card[part]}
    keys |= {field.name for field in fields(Card)} - {"branches", "outputs", "training"}
    assert keys <= said, sorted(keys - said)


def test_every_key_of_a_manifest_is_explained() -> None:
    said = _said(_section(GUIDE / "formats.md", "Index"))
    keys = {
        field.name for kind in (Manifest, ImageryFacts, FileFacts, Bounds) for field in fields(kind)
    }
    assert keys <= said, sorted(keys - said)


def test_every_key_of_a_result_is_explained() -> None:
    said = _said(_section(GUIDE / "formats.md", "Result"))
    keys = {
        field.name
        for kind in (Candidate, PlanSummary, Timings, PhotoFacts, Posterior)
        for field in fields(kind)
    }
    keys |= set(documents.answer().to_dict())
    assert keys <= said, sorted(keys - said)


def test_every_event_is_explained() -> None:
    from engine.training import events

    assert events.__doc__ is not None
    known = set(re.findall(r"``(\w+)``", events.__doc__))
    said = _said(_section(GUIDE / "formats.md", "Events"))
    assert known <= said, sorted(known - said)
