"""One table for the way from a start to a located photo, against the targets.

``python -m tests.benchmarks [--runs N] [--screen] [--encoder DIR --index DIR PHOTO...]``. Without arguments the demo
that ships is measured. Windows open on a screen in memory unless ``--screen`` is given. Every start is a process of
its own with empty preferences; files are in the system's cache, as on a second start of the day.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from engine.shipped import sample_photos, shipped_encoder, shipped_index
from tests.benchmarks.memory import Memory, PeakWatch, memory_of

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "packaging"))

from bootstrap.display import screen_in_memory  # noqa: E402 - stands beside the packages, not in them


@dataclass(frozen=True)
class Subject:
    """What is measured."""

    encoder: Path
    index: Path
    photos: list[Path]


@dataclass
class Window:
    """What the starts of the window and the drops on it took. Seconds and megabytes."""

    usable: list[float] = field(default_factory=list)
    demo: list[float] = field(default_factory=list)
    answers: list[float] = field(default_factory=list)
    evidence: list[float] = field(default_factory=list)
    stalls_start: list[float] = field(default_factory=list)
    stalls_drop: list[float] = field(default_factory=list)
    rest: list[Memory] = field(default_factory=list)
    peak: Memory | None = None


def main(argv: list[str] | None = None) -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument("--runs", type=int, default=5, help="starts of the window (default 5)")
    parser.add_argument("--drops", type=int, default=10, help="photos dropped (default 10)")
    parser.add_argument("--screen", action="store_true", help="open windows on the real screen")
    parser.add_argument("--encoder", type=Path, default=shipped_encoder())
    parser.add_argument("--index", type=Path, default=shipped_index())
    parser.add_argument("--json", type=Path, help="also write the figures to a file")
    parser.add_argument("photos", type=Path, nargs="*", default=sample_photos())
    options = parser.parse_args(argv)
    if options.encoder is None or options.index is None or not options.photos:
        parser.error("this copy ships no demo: give --encoder, --index and photos")
    subject = Subject(
        options.encoder.absolute(), options.index.absolute(), [p.absolute() for p in options.photos]
    )
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0
    with ExitStack() as stack:
        environ = dict(os.environ)
        if not options.screen and sys.platform == "linux":
            name = stack.enter_context(screen_in_memory())
            environ |= (
                {"DISPLAY": name, "QT_QPA_PLATFORM": "xcb"}
                if name
                else {"QT_QPA_PLATFORM": "offscreen"}
            )
        if hasattr(os, "geteuid") and os.geteuid() == 0:
            environ.setdefault("QTWEBENGINE_DISABLE_SANDBOX", "1")
        engine = measure_engine(subject, environ)
        window = measure_window(subject, environ, options.runs, options.drops)
    print(heading(engine, load))
    print(table(rows_of(engine, window)))
    if options.json:
        figures = {"engine": engine, "window": window.__dict__, "load": load}
        options.json.write_text(json.dumps(figures, indent=1, default=lambda value: value.__dict__))
    return 0


def measure_engine(subject: Subject, environ: dict[str, str]) -> dict[str, Any]:
    """Encoding and searching alone."""
    print("measuring the engine ...", file=sys.stderr)
    paths = ["--encoder", str(subject.encoder), "--index", str(subject.index)]
    command = [sys.executable, "-m", "tests.benchmarks.engine_probe", *paths]
    done = subprocess.run(
        [*command, *map(str, subject.photos)],
        cwd=ROOT,
        env=environ,
        stdout=subprocess.PIPE,
        check=True,
        text=True,
    )
    return json.loads(done.stdout)


def measure_window(subject: Subject, environ: dict[str, str], runs: int, drops: int) -> Window:
    """Start the window ``runs`` times; the last one is also dropped photos on, twice ``drops``."""
    found = Window()
    with tempfile.TemporaryDirectory() as folder:
        environ = environ | {"XDG_CONFIG_HOME": folder, "XDG_CACHE_HOME": folder}
        # A file that is on the tray is not read again, so every drop is of a copy.
        copies = [
            Path(shutil.copy(subject.photos[i % len(subject.photos)], f"{folder}/{i:02d}.jpg"))
            for i in range(2 * drops)
        ]
        for run in range(runs):
            print(f"starting the window, {run + 1} of {runs} ...", file=sys.stderr)
            last = run == runs - 1
            _one_start(
                subject,
                environ,
                found,
                copies[:drops] if last else [],
                copies[drops:] if last else [],
            )
    return found


def _one_start(
    subject: Subject, environ: dict[str, str], found: Window, drops: list[Path], watched: list[Path]
) -> None:
    command = [sys.executable, "-m", "tests.benchmarks.window_probe"]
    command += ["--encoder", str(subject.encoder), "--index", str(subject.index)]
    command += [word for path in drops for word in ("--drop", str(path))]
    command += [word for path in watched for word in ("--watched", str(path))]
    command += ["--launched-ns", str(time.monotonic_ns())]
    words = Path(environ["XDG_CONFIG_HOME"]) / "words.txt"  # the web engine talks a lot
    with open(words, "wb") as chatter:
        child = subprocess.Popen(
            command, cwd=ROOT, env=environ, stdout=subprocess.PIPE, stderr=chatter, text=True
        )
    watch: PeakWatch | None = None
    for event in _events(child):
        kind = event["event"]
        if kind == "failed":
            child.kill()
            raise SystemExit(
                f"{words.read_text()}\nthe window could not be measured: {event['why']}"
            )
        if kind == "usable":
            found.usable.append(event["seconds"])
        elif kind == "demo":
            found.demo.append(event["seconds"])
        elif kind == "rest":
            found.rest.append(memory_of(child.pid))
            found.stalls_start.append(event["stall"])
        elif kind == "watched":
            watch = PeakWatch(child.pid)
            watch.start()
        elif kind == "answer" and watch is None:
            found.answers.append(event["seconds"])
            found.stalls_drop.append(event["stall"])
        elif kind == "evidence" and watch is None:
            found.evidence.append(event["seconds"])
    if watch is not None:
        found.peak = watch.stop()
    if child.wait(60) != 0:
        raise SystemExit(f"{words.read_text()}\nthe window ended with status {child.returncode}")


def _events(child: subprocess.Popen[str]) -> Iterator[dict[str, Any]]:
    assert child.stdout is not None
    for text in child.stdout:
        if text.startswith("{"):
            yield json.loads(text)


@dataclass(frozen=True)
class Row:
    """One line of the table."""

    what: str
    value: str
    spread: str = ""
    target: str = ""


def rows_of(engine: dict[str, Any], window: Window) -> list[Row]:
    """All figures, those with a target first."""
    middle, least, most = engine["median"], engine["least"], engine["most"]

    def spread(values: list[float], scale: float, digits: int) -> str:
        return f"{min(values) * scale:.{digits}f} - {max(values) * scale:.{digits}f}"

    def seconds(what: str, values: list[float], target: str = "") -> Row:
        if not values:
            return Row(what, "-", "", target)
        return Row(what, f"{statistics.median(values):.2f} s", spread(values, 1, 2), target)

    def milliseconds(what: str, name: str) -> Row:
        text = f"{least[name] * 1e3:.1f} - {most[name] * 1e3:.1f}"
        return Row(what, f"{middle[name] * 1e3:.1f} ms", text)

    def share(what: str, name: str, target: str) -> Row:
        text = f"{least[name]:.0%} - {most[name]:.0%}"
        return Row(what, f"{middle[name]:.0%}", text, target)

    rest = [memory.pss for memory in window.rest]
    rows = [
        seconds("start to a usable window", window.usable, "3 s"),
        seconds("start to the demo open", window.demo),
        seconds("drop to results", window.answers[1:] or window.answers, "0.3 s"),
        seconds("  the first photo after a start", window.answers[:1]),
        seconds("drop to evidence", window.evidence),
        share("our own share of encode + search, heading known", "own known", "20 %"),
        share("our own share of encode + search, heading unknown", "own unknown", "20 %"),
        Row(
            "memory at rest (all processes)",
            f"{statistics.median(rest):.0f} MB",
            spread(rest, 1, 0),
            "500 MB",
        ),
    ]
    if window.peak is not None:
        rows.append(Row("memory at peak (all processes)", f"{window.peak.pss:.0f} MB"))
    rss = [memory.rss for memory in window.rest]
    rows += [
        Row(
            "  of the main process at rest (RSS)",
            f"{statistics.median(rss):.0f} MB",
            spread(rss, 1, 0),
        ),
        Row("  of the command line after a search (RSS)", f"{engine['rss']:.0f} MB"),
    ]
    for name in ("known", "unknown"):
        rows += [
            milliseconds(f"encode alone, heading {name}", f"encode {name}"),
            milliseconds("  of it onnxruntime", f"encode_run {name}"),
            milliseconds(f"search alone, heading {name}", f"search {name}"),
            milliseconds("  of it faiss", f"search_run {name}"),
        ]
    rows.append(milliseconds("reading a photo", "read"))
    if "explain" in middle:
        rows.append(milliseconds("evidence of one candidate", "explain"))
    stalls = [*window.stalls_start, *window.stalls_drop]
    if stalls:
        rows.append(Row("longest standstill of the window", f"{max(stalls) * 1e3:.0f} ms"))
    return rows


def heading(engine: dict[str, Any], load: float) -> str:
    """What was measured, on what."""
    machine = f"{platform.machine()}, {os.cpu_count()} cores, load {load:.1f} at the start"
    return (
        f"{engine['encoder']} on {engine['device']}, {engine['index']} with {engine['tiles']:,} tiles; "
        f"Python {platform.python_version()}, {machine}"
    )


def table(rows: list[Row]) -> str:
    """Rows as a Markdown table with straight edges."""
    lines = [
        ("what", "median", "least - most", "target"),
        *((r.what, r.value, r.spread, r.target) for r in rows),
    ]
    widths = [max(len(line[i]) for line in lines) for i in range(4)]
    drawn = [
        "| " + " | ".join(c.ljust(w) for c, w in zip(line, widths, strict=True)) + " |"
        for line in lines
    ]
    drawn.insert(1, "| " + " | ".join("-" * w for w in widths) + " |")
    return "\n".join(drawn)
