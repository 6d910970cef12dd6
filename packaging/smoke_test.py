#!/usr/bin/env python3
"""Prove what build.py has made: install it, use it like a person, take it away.

    python3 packaging/smoke_test.py             the archive, the AppImage and the Debian package of dist/
    python3 packaging/smoke_test.py --build     build first: the full run; notes in proven.json what was proved
    python3 packaging/smoke_test.py --build --if-changed
                                                the same, unless proven.json says that it was done already

On a screen in memory (Xvfb), in an empty home, as an unprivileged user, with the network cut off and the source tree
out of reach, the program is started cold, a sample photo is dragged into its window, the answer is compared with the
truth, every workspace is opened, and it quits. As root the Debian package is installed and removed for real.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
UNPROVED = "not-proved.txt"
sys.path.insert(0, str(ROOT / "packaging"))
sys.dont_write_bytecode = True


def parse(argv: list[str]) -> argparse.Namespace:
    """The command line."""
    assert __doc__ is not None
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--work", type=Path, default=ROOT / "build", help="(default: build)")
    parser.add_argument("--out", type=Path, default=ROOT / "dist", help="what was built")
    parser.add_argument("--build", action="store_true", help="build first")
    parser.add_argument(
        "--if-changed",
        action="store_true",
        help="nothing where packaging, needs, resources are proven",
    )
    parser.add_argument("--no-deb", action="store_true", help="leave the Debian package alone")
    parser.add_argument("--no-archive", action="store_true", help="leave the archive alone")
    parser.add_argument("--no-appimage", action="store_true", help="leave the AppImage alone")
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    return parser.parse_args(argv)


def main() -> int:
    """Have the environment and a screen, then prove."""
    options = parse(sys.argv[1:])
    options.work, options.out = options.work.resolve(), options.out.resolve()
    places = ["--work", str(options.work), "--out", str(options.out)]
    if not options.inside:
        from bootstrap.console import Console
        from bootstrap.display import screen_in_memory
        from bootstrap.trouble import Trouble
        from freeze import inputs
        from smoke.needs import ensure_needs

        if options.if_changed and inputs.is_proven(ROOT):
            say(
                "[proof] packaging, dependencies and resources are as they were proved: nothing to do."
            )
            return 0
        try:
            ensure_needs(Console(sys.stderr))
        except Trouble as trouble:
            print(f"The proof cannot begin. {trouble}", file=sys.stderr)
            return 1
        before = inputs.digest(ROOT)
        python = options.work / "venv" / "bin" / "python"
        if options.build or not python.is_file():
            done = subprocess.run([sys.executable, str(ROOT / "packaging" / "build.py"), *places])
            if done.returncode:
                return done.returncode
        with screen_in_memory() as screen:
            if screen is None:
                print("Xvfb does not start: there is no screen in memory.", file=sys.stderr)
                return 1
            environ = {**os.environ, "DISPLAY": screen, "QT_QPA_PLATFORM": "xcb"}
            environ["PYTHONPATH"] = str(ROOT / "packaging")
            for name in ("WAYLAND_DISPLAY", "QTWEBENGINE_DISABLE_SANDBOX", "NADIR_BUILD"):
                environ.pop(name, None)
            command = [str(python), str(Path(__file__).resolve()), *sys.argv[1:], "--inside"]
            status = subprocess.run([*command, *places], env=environ).returncode
        left_out = (options.out / "proof" / UNPROVED).read_text("utf-8") if status == 0 else ""
        if left_out:
            say(f"Not noted as proved, for this was not:\n{left_out}")
        elif status == 0 and options.build and inputs.digest(ROOT) == before:
            inputs.record(ROOT)
        return status
    from smoke.story import SmokeError

    try:
        return prove(options)
    except SmokeError as error:
        print(f"The proof failed: {error}", file=sys.stderr)
        return 1


def prove(options: argparse.Namespace) -> int:
    """Everything, one after the other."""
    from smoke.desk import Desk
    from smoke.jail import carried, make_jail

    unproved: list[str] = []

    def leave_out(words: str) -> None:
        unproved.append(words)
        say(f"NOT proved: {words}")

    desk = Desk()
    place = Path(os.environ.get("TMPDIR", "/var/tmp")) / f"nadir-smoke-{os.getpid()}"
    pictures = options.out / "proof"
    shutil.rmtree(pictures, ignore_errors=True)
    place.mkdir(mode=0o755)
    hidden = tuple(path for path in (ROOT, options.work, options.out) if not _holds(place, path))
    try:
        spoiled = carried(options.out / "nadir")
        jail = replace(make_jail(place / "home", hidden, os.environ["DISPLAY"]), spoiled=spoiled)
        if not jail.cut_off:
            leave_out("this system lets no program be cut off: network and sources stay in reach")
        if not jail.sandbox:
            leave_out("this system makes no user namespaces: the browser engine's sandbox was off")
        if options.no_archive:
            leave_out("the archive, by request")
        else:
            desk.play(lambda: prove_archive(desk, jail, options, place, pictures / "archive"))
        image, deb = (_newest(options.out, ending) for ending in ("AppImage", "deb"))
        if image is None or options.no_appimage:
            leave_out(
                "the AppImage: there is none" if image is None else "the AppImage, by request"
            )
        else:
            program = options.out / "nadir"
            mounted = desk.play(lambda: prove_appimage(desk, jail, image, program, place, pictures))
            if not mounted:
                leave_out("the AppImage mounted: this system lets nothing be mounted by FUSE")
        if deb is None or options.no_deb or os.geteuid() != 0:
            leave_out("the Debian package: it takes root and a package")
        else:
            jail = replace(make_jail(place / "home", hidden, jail.display), spoiled=spoiled)
            desk.play(lambda: prove_package(desk, jail, deb, place, pictures / "package"))
    finally:
        shutil.rmtree(place, ignore_errors=True)
    pictures.mkdir(exist_ok=True)
    (pictures / UNPROVED).write_text("".join(f"{words}\n" for words in unproved), "utf-8")
    say(f"{'All' if not unproved else 'The rest'} proved. Pictures are in {pictures}.")
    return 0


def _newest(folder: Path, ending: str) -> Path | None:
    """The newest file of a kind: an older version may lie beside it."""
    found = sorted(folder.glob(f"*.{ending}"), key=lambda path: path.stat().st_mtime)
    return found[-1] if found else None


def prove_archive(desk, jail, options: argparse.Namespace, place: Path, pictures: Path) -> None:
    """Unpack, install for the user, use, uninstall."""
    from smoke import story

    archive = _newest(options.out, "tar.xz") or _newest(options.out, "tar.gz")
    if archive is None:
        raise story.SmokeError(f"no archive in {options.out}: build it first")
    pictures.mkdir(parents=True)
    check_sums(options.out)
    _done(
        subprocess.run(
            ["tar", "-xf", str(archive), "-C", str(place)], capture_output=True, text=True
        ),
        "unpacking",
    )
    unpacked = next(path for path in place.iterdir() if path.name.startswith("nadir-"))
    _done(jail.run([str(unpacked / "install.sh")]), "install.sh")
    shutil.rmtree(unpacked)
    installed = jail.home / ".local/lib/nadir"
    program = jail.home / ".local/bin/nadir"
    photo = _photo(installed, place)
    drop_page_cache()
    report = story.play_window(desk, jail, [str(program)], photo, pictures)
    say(f"[archive] installed for a user\n{report.text}")
    for note in story.play_command_line(jail, str(program), installed / "_internal/resources"):
        say(f"  {note}")
    again = story.play_window(desk, jail, [str(program), str(photo)], photo, pictures / "..")
    say(f"[archive] warm start: window {again.window_s:.2f} s, painted {again.painted_s:.2f} s")
    before = _files(jail.home)
    _done(jail.run([str(installed / "uninstall.sh")]), "uninstall.sh")
    left = _files(jail.home)
    strange = [name for name in left if not name.startswith((".config/nadir", ".cache", ".run"))]
    strange = [name for name in strange if not name.startswith(".local/share/nadir")]
    if strange:
        raise story.SmokeError(f"uninstalling has left: {strange[:10]}")
    say(
        f"[archive] uninstalled: {len(before) - len(left)} files gone, {len(left)} of the user stay"
    )


def prove_appimage(desk, jail, image: Path, built: Path, place: Path, pictures: Path) -> bool:
    """Run it mounted, then where nothing can be mounted; nothing may stay behind but the user's own and a cache.

    Returns whether it could be mounted at all.
    """
    from smoke import story
    from smoke.jail import fuse_for_users, make_jail, running

    pictures = pictures / "appimage"
    pictures.mkdir(parents=True)
    jail = replace(make_jail(place / "home", jail.hidden, jail.display), spoiled=jail.spoiled)
    program = Path(shutil.copy2(image, place / "Nadir.AppImage"))
    resources = place / "resources"
    shutil.copytree(built / "_internal" / "resources", resources)
    photo = _photo(built, place)
    node = fuse_for_users(place) if jail.cut_off and os.geteuid() == 0 else None
    mountable = node is not None or (os.geteuid() != 0 and os.access("/dev/fuse", os.W_OK))
    if mountable:
        mounted = replace(jail, fuse=node)
        drop_page_cache()
        report = story.play_window(desk, mounted, [str(program)], photo, pictures)
        say(f"[appimage] mounted\n{report.text}")
        for note in story.play_command_line(mounted, str(program), resources):
            say(f"  {note}")
        again = story.play_window(desk, mounted, [str(program), str(photo)], photo, pictures / "..")
        say(
            f"[appimage] warm start: window {again.window_s:.2f} s, painted {again.painted_s:.2f} s"
        )
        story.wait_for("the end of the mount", lambda: not running(program), 15)
        if list((jail.home / ".cache").glob("nadir/appimage-*")):
            raise story.SmokeError("the AppImage has unpacked itself though it could be mounted")
    if jail.cut_off:
        bare = replace(jail, fuse=Path("/dev/null"))
        for begins, hint in ((True, "first"), (False, "next")):
            began = time.monotonic()
            done = bare.run([str(program), "--version"])
            _done(done, "the AppImage without FUSE")
            if ("Unpacking once" in done.stderr) is not begins:
                raise story.SmokeError(f"the {hint} start without FUSE said: {done.stderr[-500:]}")
            say(f"[appimage] without FUSE, {hint} start: {time.monotonic() - began:.1f} s")
        for note in story.play_command_line(bare, str(program), resources):
            say(f"  {note}")
    shutil.rmtree(resources)
    program.unlink()
    return mountable


def prove_package(desk, jail, deb: Path, place: Path, pictures: Path) -> None:
    """Install the Debian package, use it as a user, remove it."""
    from smoke import story

    pictures.mkdir(parents=True)
    if Path("/opt/nadir").exists():
        raise story.SmokeError("/opt/nadir stands there already: remove that installation first")
    environ = {**os.environ, "DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C"}
    command = ["apt-get", "install", "-y", "-q", "--no-install-recommends", str(deb)]
    done = subprocess.run(command, env=environ, capture_output=True, text=True)
    if done.returncode:
        done = subprocess.run(["dpkg", "-i", str(deb)], env=environ, capture_output=True, text=True)
    try:
        _done(done, "installing the package")
        installed = Path("/opt/nadir")
        photo = _photo(installed, place)
        drop_page_cache()
        report = story.play_window(desk, jail, ["/usr/bin/nadir"], photo, pictures)
        say(f"[package] installed by dpkg, used by user {_user(jail)}\n{report.text}")
        resources = installed / "_internal/resources"
        for note in story.play_command_line(jail, "/usr/bin/nadir", resources):
            say(f"  {note}")
    finally:
        removed = subprocess.run(
            ["dpkg", "--purge", "nadir"], env=environ, capture_output=True, text=True
        )
    _done(removed, "removing the package")
    left = [p for p in (Path("/opt/nadir"), Path("/usr/bin/nadir")) if p.exists()]
    left += list(Path("/usr/share").glob("*/nadir*")) + list(
        Path("/usr/share/icons/hicolor").rglob("nadir.*")
    )
    if left:
        raise story.SmokeError(f"removing has left: {left}")
    say("[package] removed, nothing is left of it")


def drop_page_cache() -> None:
    """Make the next start a cold one, as after switching the computer on; only root may."""
    os.sync()
    try:
        Path("/proc/sys/vm/drop_caches").write_text("3")
        say("[cold] the system's file cache was dropped")
    except OSError:
        say("[cold] the system's file cache could not be dropped: the start is a warm one")


def check_sums(out: Path) -> None:
    """Compare the archives with SHA256SUMS."""
    done = subprocess.run(
        ["sha256sum", "--check", "--quiet", "SHA256SUMS"], cwd=out, capture_output=True, text=True
    )
    _done(done, "SHA256SUMS")


def say(text: str) -> None:
    """Words on the way."""
    print(text, flush=True)


def _photo(installed: Path, place: Path) -> Path:
    """A copy of a sample, where anybody may read it."""
    from smoke.story import SAMPLE

    source = installed / "_internal" / "resources" / "samples" / SAMPLE
    target = place / "where is this.jpg"
    shutil.copyfile(source, target)
    target.chmod(0o644)
    return target


def _holds(place: Path, folder: Path) -> bool:
    return place.is_relative_to(folder)


def _files(folder: Path) -> list[str]:
    return sorted(
        str(path.relative_to(folder))
        for path in folder.rglob("*")
        if path.is_file() or path.is_symlink()
    )


def _user(jail) -> int:
    return int(jail.run(["id", "-u"]).stdout)


def _done(done: subprocess.CompletedProcess[str], what: str) -> None:
    from smoke.story import SmokeError

    if done.returncode:
        raise SmokeError(f"{what} failed: {done.stdout[-1500:]}{done.stderr[-1500:]}")


if __name__ == "__main__":
    began = time.monotonic()
    status = main()
    if "--inside" not in sys.argv:
        print(f"The proof took {time.monotonic() - began:.0f} s.", file=sys.stderr)
    sys.exit(status)
