"""What is played with the program, as a person would, and what must come of it."""

from __future__ import annotations

import json
import math
import re
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from smoke.jail import Jail, family, words_of

if TYPE_CHECKING:
    from smoke.desk import Desk

SAMPLE = "1 panorama.jpg"
TRUTH = (-48.870446, -123.387602)
"""Where the sample was taken (latitude, longitude), by the queries.csv of the town that make_demo.py renders."""
NEAR_M = 25.0
WORKSPACES = {"library": "Control_L+2", "train": "Control_L+3", "settings": "Control_L+comma"}


class SmokeError(Exception):
    """The program did not do what it must."""


@dataclass
class Report:
    """What was seen."""

    window_s: float = math.nan
    painted_s: float = math.nan
    map_s: float = math.nan
    located_s: float = math.nan
    error_m: float = math.nan
    quit_s: float = math.nan
    notes: list[str] = field(default_factory=list)

    @property
    def text(self) -> str:
        """The numbers, a line each."""
        rows = (
            ("window shown", self.window_s, "s"),
            ("window painted", self.painted_s, "s"),
            ("map painted", self.map_s, "s"),
            ("photo dropped to answer", self.located_s, "s"),
            ("answer from the truth", self.error_m, "m"),
            ("quit", self.quit_s, "s"),
        )
        lines = [f"  {name}: {value:.2f} {unit}" for name, value, unit in rows]
        return "\n".join([*lines, *(f"  {note}" for note in self.notes)])


def distance_m(a: tuple[float, float], b: tuple[float, float]) -> float:
    """Metres between two places that are near."""
    north = (a[0] - b[0]) * 111_320
    east = (a[1] - b[1]) * 111_320 * math.cos(math.radians(a[0]))
    return math.hypot(north, east)


def wait_for(what: str, look: Callable[[], object], timeout: float, every: float = 0.05) -> object:
    """Wait until something is there."""
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline:
        found = look()
        if found:
            return found
        time.sleep(every)
    raise SmokeError(f"{what}: nothing after {timeout:.0f} s")


def play_window(desk: Desk, jail: Jail, program: list[str], photo: Path, out: Path) -> Report:
    """Start the window, locate a photo, open everything, quit."""
    from smoke.desk import TITLE, colours, difference
    from smoke.x11 import Display

    report = Report()
    display = Display(jail.display)
    errors = tempfile.TemporaryFile()  # noqa: SIM115 - closed below, in the end of the story
    begun = time.monotonic()
    process = subprocess.Popen(
        jail.command(program),
        cwd=jail.home,
        stdin=subprocess.DEVNULL,
        stdout=errors,
        stderr=errors,
        start_new_session=True,
    )

    def said() -> str:
        errors.seek(0)
        return errors.read().decode("utf-8", "replace")

    def focus() -> None:
        """Let the keys go to the window. Asked anew: Qt makes it again once the map is in it."""
        found = main_window()
        if found is None:
            raise SmokeError("the window is gone")
        display.focus(found[0])

    def main_window() -> tuple[int, tuple[int, int, int, int]] | None:
        if process.poll() is not None:
            raise SmokeError(f"the program ended with {process.returncode}:\n{said()[-3000:]}")
        for window, (title, place) in display.windows().items():
            if title != TITLE and place[2] > 600 and place[3] > 400:
                return window, place
        return None

    try:
        found = wait_for("the window", main_window, 60, 0.02)
        report.window_s = time.monotonic() - begun
        assert isinstance(found, tuple)
        place = found[1]
        left = (place[0], place[1], place[2] // 2, place[3])
        right = (place[0] + place[2] // 2, place[1], place[2] // 2, place[3])
        wait_for("paint in the window", lambda: colours(desk.picture(), left) > 100, 60)
        report.painted_s = time.monotonic() - begun
        wait_for("the map's imagery", lambda: colours(desk.picture(), right) > 1500, 60, 0.1)
        report.map_s = time.monotonic() - begun
        _check_inside(process.pid, jail, report)
        desk.picture().save(str(out / "start.png"))

        focus()
        spot = desk.lay_out(photo)
        display.drag(spot, (place[0] + place[2] // 3, place[1] + place[3] // 2))
        dropped = time.monotonic()

        def answer() -> tuple[float, float] | None:
            focus()
            display.key("Control_L+Shift_L+c")
            time.sleep(0.15)
            numbers = re.findall(r"-?\d+\.\d+", desk.clipboard())
            return (float(numbers[0]), float(numbers[1])) if len(numbers) == 2 else None

        place_told = wait_for("an answer", answer, 90, 0.2)
        assert isinstance(place_told, tuple)
        report.located_s = time.monotonic() - dropped
        report.error_m = distance_m(TRUTH, place_told)
        if report.error_m > NEAR_M:
            raise SmokeError(f"the answer is {report.error_m:.0f} m from the truth: {place_told}")
        time.sleep(2.0)  # the map flies there, heat maps are drawn
        shots = {"located": desk.picture()}
        for name, keys in WORKSPACES.items():
            focus()
            display.key(keys)
            time.sleep(2.5)
            main_window()
            shots[name] = desk.picture()
            if name == "settings":
                display.key("Escape")
                time.sleep(0.5)
        focus()
        display.key("Control_L+1")
        time.sleep(1.0)
        back = desk.picture()
        # The menu by its key, from its end: Quit, then Licences.
        display.key("F10")
        time.sleep(0.6)
        display.key("Up")
        display.key("Up")
        display.key("Return")
        time.sleep(1.5)
        shots["licences"] = desk.picture()
        display.key("Escape")
        for name, shot in shots.items():
            shot.save(str(out / f"{name}.png"))
        for name in (*WORKSPACES, "licences"):
            share = difference(shots["located"], shots[name], place)
            if share < 0.02:
                raise SmokeError(f"{name} did not open: {share:.1%} of the window changed")
        share = difference(shots["located"], back, place)
        if share > 0.1:
            raise SmokeError(f"Locate did not come back as it was: {share:.1%} changed")
        time.sleep(0.5)
        focus()
        relatives = family(process.pid)
        display.key("Control_L+q")
        asked = time.monotonic()
        try:
            code = process.wait(20)
        except subprocess.TimeoutExpired:
            raise SmokeError("the program did not quit") from None
        report.quit_s = time.monotonic() - asked
        if code != 0:
            raise SmokeError(f"the program ended with {code}:\n{said()[-3000:]}")
        time.sleep(1.0)
        left_over = [pid for pid in relatives if any("nadir" in word for word in words_of(pid)[:1])]
        if left_over:
            raise SmokeError(f"processes are left: {[words_of(pid)[:3] for pid in left_over]}")
        if "Traceback" in said():
            raise SmokeError(f"it told of a fault:\n{said()[-4000:]}")
    except BaseException:
        desk.picture().save(str(out / "failed.png"))
        (out / "failed.log").write_text(said())
        raise
    finally:
        for pid in family(process.pid):
            if pid != process.pid or process.poll() is None:
                try:
                    signal.pidfd_send_signal(_open(pid), signal.SIGKILL)
                except (OSError, AttributeError):
                    continue
        errors.close()
    return report


def _open(pid: int) -> int:
    import os

    return os.pidfd_open(pid)


def _check_inside(pid: int, jail: Jail, report: Report) -> None:
    """Look at the running processes from outside: sandbox, network, what they have loaded."""
    members = family(pid)
    helpers = [p for p in members if any("QtWebEngineProcess" in w for w in words_of(p)[:1])]
    if not helpers:
        raise SmokeError("no QtWebEngineProcess runs")
    if not jail.sandbox:
        report.notes.append(
            "NOT proved: this system makes no user namespaces, so the sandbox was off"
        )
    for member in members if jail.sandbox else ():
        if any("--no-sandbox" in word for word in words_of(member)):
            raise SmokeError("the sandbox is off")
    # Renderers are forked from a zygote and keep its words: they are known by the filter on what they may call.
    outside = Path(f"/proc/{pid}/ns/user").readlink()
    renderers = [
        p for p in helpers if _is_filtered(p) and Path(f"/proc/{p}/ns/user").readlink() != outside
    ]
    if not renderers and jail.sandbox:
        raise SmokeError("no renderer runs in a sandbox")
    if jail.sandbox:
        report.notes.append(
            f"sandbox on: {len(renderers)} renderer(s) with filtered system calls, in a namespace apart"
        )
    loaded = Path(f"/proc/{pid}/maps").read_text()
    for path in jail.hidden:
        if f" {path}/" in loaded:
            raise SmokeError(f"something of {path} is loaded")
    if jail.cut_off:
        program = next(p for p in members if any("nadir" in w for w in words_of(p)[:1]))
        devices = Path(f"/proc/{program}/net/dev").read_text().splitlines()[2:]
        names = {line.partition(":")[0].strip() for line in devices}
        if names - {"lo"}:
            raise SmokeError(f"there is a network: {names}")
        report.notes.append("no network but a loopback that is down, no source tree")


def _is_filtered(pid: int) -> bool:
    status = Path(f"/proc/{pid}/status").read_text()
    return re.search(r"^Seccomp:\s*2$", status, re.MULTILINE) is not None


def play_command_line(jail: Jail, program: str, resources: Path) -> list[str]:
    """The same program as a command line; returns what was seen."""
    notes = []
    photo = resources / "samples" / SAMPLE
    began = time.monotonic()
    done = jail.run([program, "localize", str(photo), "--format", "json"])
    if done.returncode:
        raise SmokeError(f"nadir localize failed: {done.stderr[-2000:]}")
    best = _first_place(json.loads(done.stdout))
    error = distance_m(TRUTH, best)
    if error > NEAR_M:
        raise SmokeError(f"nadir localize is {error:.0f} m off")
    notes.append(f"nadir localize: {error:.1f} m off, {time.monotonic() - began:.1f} s")
    out = jail.home / "small.index"
    imagery = next(resources.glob("*.index/imagery.tif"))
    began = time.monotonic()
    done = jail.run(
        [program, "index", "build", str(out), "--imagery", str(imagery), "--stride-m", "100"]
    )
    if done.returncode:
        raise SmokeError(f"nadir index build failed: {done.stderr[-2000:]}")
    notes.append(f"nadir index build: {time.monotonic() - began:.1f} s")
    for words in (["index", "verify", str(out)], ["doctor"], ["--version"]):
        done = jail.run([program, *words])
        if done.returncode:
            raise SmokeError(f"nadir {' '.join(words)} failed: {done.stdout}{done.stderr[-2000:]}")
    jail.run(["rm", "-r", str(out)])
    done = jail.run(["env", "-u", "DISPLAY", program])
    if done.returncode != 1 or "cannot open its window" not in done.stderr:
        raise SmokeError(f"without a screen: {done.returncode} {done.stderr[-2000:]}")
    # No Python of the jail has PyTorch; the program says how to get one that has.
    done = jail.run([program, "import", "none.pth", "--out", "none.encoder"])
    if done.returncode != 1 or "--set-up-training" not in done.stderr:
        raise SmokeError(f"nadir import said without PyTorch: {done.stdout}{done.stderr[-2000:]}")
    return notes


def _first_place(told: object) -> tuple[float, float]:
    """Latitude and longitude of the first candidate, wherever the JSON keeps it."""
    todo = [told]
    while todo:
        thing = todo.pop(0)
        if isinstance(thing, dict):
            if thing.get("candidates"):
                first = thing["candidates"][0]
                return float(first["lat"]), float(first["lon"])
            todo += thing.values()
        elif isinstance(thing, list):
            todo += thing
    raise SmokeError("nadir localize told no place")
