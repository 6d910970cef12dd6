"""What the Train workspace's jobs do: ask the trainer's interpreter, read pictures, make an encoder and use it.

Plain functions that run in worker threads and return values that Qt can draw; see :mod:`app.tasks`.
"""

from __future__ import annotations

import itertools
import re
import shutil
import tempfile
import tomllib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from PySide6.QtCore import QCoreApplication
from PySide6.QtGui import QImage

from app.resources import resource
from app.training.events import Gallery
from app.training.interpreter import Interpreter, probe, run_tool
from app.training.words import pair_caption
from engine.errors import EncoderError, IndexFolderError, TrainingError
from engine.progress import Report, part

PAIRS = 8
TITLE = 80
translate = QCoreApplication.translate


@dataclass(frozen=True)
class Shipped:
    """A recipe to choose: its name, what it trains in a few words, on what data, and whether it renders that itself."""

    name: str
    title: str
    data: str
    notes: str
    renders: bool


@dataclass(frozen=True, eq=False)
class PairImage:
    """A photo and a tile to look at, with their heat maps where there are any."""

    photo: QImage
    tile: QImage
    photo_heat: QImage | None = None
    tile_heat: QImage | None = None
    caption: str = ""


@dataclass(eq=False)
class Checked:
    """What a check of recipe and data has found."""

    recipe: dict[str, Any] = field(default_factory=dict)
    data: dict[str, Any] = field(default_factory=dict)
    pairs: list[PairImage] = field(default_factory=list)


@dataclass(frozen=True)
class Measured:
    """What a training will take, reckoned from a few steps of it. Seconds, bytes."""

    device: str
    seconds: float
    render_s: float
    steps: int
    pairs_per_second: float
    memory: int
    free: int
    crowded: bool = False

    @property
    def fits(self) -> bool:
        """Whether it fits, with a little to spare; true where free memory is not known."""
        return not self.free or self.memory <= 0.95 * self.free


def shipped_recipes(report: Report) -> list[Shipped]:
    """The recipes that come with the program: those that bring their own data first, by name."""
    recipes = [recipe_facts(path) for path in resource("recipes").glob("*.toml")]
    return sorted(recipes, key=lambda recipe: (not recipe.renders, recipe.name))


def recipe_facts(path: Path) -> Shipped:
    """What a recipe's file says about itself; the trainer's own reader checks it later."""
    try:
        text = path.read_text("utf-8")
        raw = tomllib.loads(text)
    except (OSError, ValueError):
        text, raw = "", {}
    about = raw.get("about")
    about = about if isinstance(about, dict) else {}
    notes = opening_words(text)
    data = raw.get("data")
    data = data if isinstance(data, dict) else {}
    return Shipped(
        path.stem,
        str(about.get("title") or title_of(notes)),
        str(about.get("data") or ""),
        notes,
        bool(data.get("towns")),
    )


def opening_words(text: str) -> str:
    """The comment that a file begins with, as one paragraph."""
    lines = itertools.takewhile(lambda line: line.startswith("#"), text.splitlines())
    return " ".join(line.lstrip("# ").strip() for line in lines)


def title_of(notes: str) -> str:
    """What notes begin with, up to where they go into particulars."""
    title = re.split(r":\s|, by\s|\.\s|\s\(", notes, maxsplit=1)[0]
    return title.rstrip(".") if len(title) <= TITLE else ""


def check(
    python: Path,
    recipe: str,
    data: Path,
    report: Report,
    told: Callable[[dict[str, Any]], object] = lambda data: None,
) -> Checked:
    """Check recipe and data as the trainer would, and fetch some pairs to look at.

    Args:
        told: is given what the folder holds as soon as that is known: making the pictures may take longer.

    Raises:
        TrainingError: what is wrong.
    """
    checked = Checked()
    with tempfile.TemporaryDirectory(prefix="nadir-pairs-") as folder:
        arguments = ["check", "--recipe", recipe, "--data", str(data)]
        arguments += ["--previews", folder, "--pairs", str(PAIRS)]
        for event in probe(python, arguments, report):
            if event["event"] == "recipe":
                checked.recipe = event["recipe"]
            elif event["event"] == "data":
                checked.data = event
                told(event)
            elif event["event"] == "pair":
                pair = PairImage(
                    QImage(event["photo"]), QImage(event["tile"]), caption=event.get("name", "")
                )
                if not pair.photo.isNull() and not pair.tile.isNull():
                    checked.pairs.append(pair)
    return checked


def measure(
    python: Path, recipe: str, data: Path, device: str, minutes: float | None, report: Report
) -> Measured:
    """Train a few steps in the trainer's own process and reckon from them.

    Raises:
        TrainingError: it does not fit, or cannot run at all.
    """
    arguments = ["measure", "--recipe", recipe, "--data", str(data), "--device", device]
    arguments += ["--minutes", f"{minutes:g}"] if minutes is not None else []
    for event in probe(python, arguments, report):
        if event["event"] == "measured":
            return Measured(
                device,
                float(event["seconds"]),
                float(event["render_s"]),
                int(event["total_steps"]),
                float(event["pairs_per_second"]),
                int(event["memory_bytes"]),
                int(event["free_bytes"]),
                bool(event.get("crowded")),
            )
    raise TrainingError("nothing was measured")


def pictures(folder: Path, gallery: Gallery, report: Report) -> list[PairImage]:
    """The pairs of one validation; those whose files are gone are left out."""
    shown = []
    for number, pair in enumerate(gallery.pairs):
        report(number, len(gallery.pairs), "")
        photo, tile = QImage(str(folder / pair.photo)), QImage(str(folder / pair.tile))
        if photo.isNull() or tile.isNull():
            continue
        shown.append(
            PairImage(
                photo,
                tile,
                heat_of(folder / pair.photo_heat) if pair.photo_heat else None,
                heat_of(folder / pair.tile_heat) if pair.tile_heat else None,
                pair_caption(pair),
            )
        )
    return shown


def heat_of(file: Path) -> QImage | None:
    """A grey map in the ramp's colours; None where it cannot be read."""
    from app.ramp import image_from_array, table

    grey = QImage(str(file)).convertToFormat(QImage.Format.Format_Grayscale8)
    if grey.isNull():
        return None
    import numpy as np

    rows = np.frombuffer(grey.constBits(), np.uint8).reshape(grey.height(), grey.bytesPerLine())
    return image_from_array(table()[rows[:, : grey.width()]])


@dataclass(frozen=True)
class Ready:
    """An encoder and, where imagery was named, an index made with it."""

    encoder: Path
    index: Path | None


def put_to_use(
    python: Path,
    checkpoint: Path,
    name: str,
    index: Path | None,
    imagery: Path | None,
    report: Report,
) -> Ready:
    """Export a checkpoint as ``NAME.encoder`` beside it, and make an index with it.

    Args:
        index: an index over whose imagery the new one is made; or
        imagery: a file to make it of; neither: only the encoder is made.

    Raises:
        NadirError: the export failed, the imagery is not there, the index cannot be written.
    """
    encoder = checkpoint.parent / f"{name}.encoder"
    text = translate("Training", "Exporting the encoder")
    if not _current(encoder, checkpoint):
        command = [str(python), "-m", "engine", "export"]
        command += ["--checkpoint", str(checkpoint), "--out", str(encoder)]
        for _ in run_tool(command, lambda done, total, _: report(0, 0, text)):
            pass
    if not (encoder / "card.json").is_file():
        raise EncoderError("was not made", encoder, "See the log")
    if index is None and imagery is None:
        return Ready(encoder, None)
    made = _index(encoder, index, imagery, part(report, 0.05, 1.0))
    return Ready(encoder, made)


def _current(encoder: Path, checkpoint: Path) -> bool:
    try:
        return (encoder / "card.json").stat().st_mtime >= checkpoint.stat().st_mtime
    except OSError:
        return False


def _index(encoder: Path, index: Path | None, imagery: Path | None, report: Report) -> Path:
    from engine.encoder import open_encoder
    from engine.imagery import open_imagery
    from engine.index import Index, build_index
    from engine.index.manifest import read_manifest

    opened = open_encoder(encoder)
    before = Index.open(index) if index is not None else None
    source = before.imagery if before is not None else None
    try:
        if source is None:
            assert imagery is not None
            source = open_imagery(imagery)
        area = before.manifest.name if before is not None else Path(source.name).stem
        out = encoder.parent / f"{area}-{encoder.stem}.index"
        if (out / "manifest.json").exists():
            manifest = read_manifest(out)
            if manifest.encoder_hash == opened.hash:
                return out
            shutil.rmtree(out)  # ours, of an earlier checkpoint
        attribution, licence = source.attribution, source.licence
        if before is not None:
            attribution, licence = before.manifest.attribution, before.manifest.licence
        try:
            build_index(
                out, source, opened, attribution=attribution, licence=licence, report=report
            ).close()
        except IndexFolderError:
            if not (out / "building").is_dir():
                raise
            shutil.rmtree(out)  # begun with an earlier checkpoint
            build_index(
                out, source, opened, attribution=attribution, licence=licence, report=report
            ).close()
        return out
    finally:
        if before is not None:
            before.close()
        elif source is not None:
            source.close()


def find(chosen: str, report: Report) -> Interpreter:
    """The interpreter that trains; see :func:`app.training.interpreter.find_interpreter`."""
    from app.training.interpreter import find_interpreter

    return find_interpreter(chosen, report)
