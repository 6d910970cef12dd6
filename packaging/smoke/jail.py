"""Where the program runs in the proof: an empty home, an unprivileged user, no network, no source tree."""

from __future__ import annotations

import os
import platform
import shlex
import shutil
import stat
import subprocess
from dataclasses import dataclass
from pathlib import Path

USER = 61184  # a user nobody has, where the proof itself is run by root


@dataclass(frozen=True)
class Jail:
    """How programs are started.

    Attributes:
        home: the user's empty home.
        hidden: folders that are not to be seen from inside.
        display: the X display.
        cut_off: whether network and hidden folders really are out of reach; False where this system forbids it.
        sandbox: whether the browser's sandbox can work; False where this system keeps programs from making namespaces.
        fuse: what stands in the place of ``/dev/fuse``; None: the system's own.
        spoiled: libraries of the system that cannot be loaded inside, as where they are not installed.
    """

    home: Path
    hidden: tuple[Path, ...]
    display: str
    cut_off: bool
    sandbox: bool = True
    fuse: Path | None = None
    spoiled: tuple[Path, ...] = ()

    def command(self, program: list[str]) -> list[str]:
        """The whole command that runs a program inside."""
        environ = [f"HOME={self.home}", "PATH=/usr/bin:/bin", "LANG=C.UTF-8"]
        environ += [f"DISPLAY={self.display}", f"XDG_RUNTIME_DIR={self.home}/.run"]
        if not self.sandbox:
            environ.append("QTWEBENGINE_DISABLE_SANDBOX=1")
        clean = ["env", "-i", *environ, *program]
        root = os.geteuid() == 0
        drop = ["setpriv", "--ambient-caps=-all", "--inh-caps=-all"]
        if root:
            drop = ["setpriv", f"--reuid={USER}", f"--regid={USER}", "--clear-groups"]
        if not self.cut_off:
            return [*drop, *clean] if root else clean
        steps = ["mount --make-rprivate / 2>/dev/null || :"]
        steps += [f"mount -t tmpfs none {shlex.quote(str(path))}" for path in self.hidden]
        if root:  # setuid programs such as fusermount3 want the user to have a name
            steps.append(f"mount --bind {shlex.quote(str(_passwd(self.home)))} /etc/passwd")
        steps += [f"mount --bind /dev/null {shlex.quote(str(path))}" for path in self.spoiled]
        if self.fuse is not None:
            steps.append(f"mount --bind {shlex.quote(str(self.fuse))} /dev/fuse")
        steps.append(f"cd {shlex.quote(str(self.home))}")
        steps.append(f"exec {shlex.join([*drop, *clean])}")
        spaces = ["unshare", "--net", "--mount"]
        if not root:
            spaces += ["--user", "--map-current-user", "--keep-caps"]
        return [*spaces, "sh", "-ec", "\n".join(steps)]

    def run(self, program: list[str], timeout: float = 300) -> subprocess.CompletedProcess[str]:
        """Run something to its end."""
        return subprocess.run(
            self.command(program),
            cwd=self.home,
            capture_output=True,
            text=True,
            timeout=timeout,
            stdin=subprocess.DEVNULL,
            check=False,
        )


def make_jail(home: Path, hidden: tuple[Path, ...], display: str) -> Jail:
    """An empty home and the way into it; tries whether this system lets programs be cut off."""
    shutil.rmtree(home, ignore_errors=True)
    (home / ".run").mkdir(parents=True, mode=0o700)
    if os.geteuid() == 0:
        for path in (home, home / ".run"):
            os.chown(path, USER, USER)
        known = Path("/etc/passwd").read_text("utf-8")
        _passwd(home).write_text(f"{known}person:x:{USER}:{USER}::{home}:/bin/sh\n", "utf-8")
    hidden = tuple(path for path in hidden if path.is_dir())
    # What lies in a hidden folder is hidden with it, and cannot be mounted over any more.
    hidden = tuple(path for path in hidden if not any(other in path.parents for other in hidden))
    jail = Jail(home, hidden, display, True)
    try:
        works = jail.run(["true"], timeout=30).returncode == 0
    except OSError:
        works = False
    jail = Jail(home, hidden, display, works)
    sandbox = jail.run(["unshare", "--user", "true"], timeout=30).returncode == 0
    return Jail(home, hidden, display, works, sandbox)


def carried(program: Path) -> tuple[Path, ...]:
    """The system's copies of the libraries of X that the program brings along: not every desktop has them."""
    names = [path.name for path in (program / "_internal").glob("lib*.so*")]
    places = [Path("/usr/lib") / f"{platform.machine()}-linux-gnu", Path("/usr/lib64")]
    return tuple(
        place / name
        for place in places
        for name in names
        if name.startswith(("libxcb-", "libxkbcommon")) and (place / name).is_file()
    )


def _passwd(home: Path) -> Path:
    return home.with_name("passwd")


def fuse_for_users(folder: Path) -> Path | None:
    """A ``/dev/fuse`` that every user may open, as desktops have it; None where there is no FUSE.

    Only root can make one, and machines without a desktop often keep their own to root.
    """
    node = folder / "fuse"
    try:
        device = os.stat("/dev/fuse").st_rdev
        os.mknod(node, 0o666 | stat.S_IFCHR, device)
        node.chmod(0o666)
        os.close(os.open(node, os.O_RDWR))
    except OSError:
        return None
    return node


def family(pid: int) -> list[int]:
    """A process and all that descend from it."""
    parents: dict[int, list[int]] = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                stat = Path(f"/proc/{entry}/stat").read_text()
            except OSError:
                continue
            parents.setdefault(int(stat.rpartition(")")[2].split()[1]), []).append(int(entry))
    found, todo = [], [pid]
    while todo:
        found.append(todo.pop())
        todo += parents.get(found[-1], [])
    return found


def words_of(pid: int) -> list[str]:
    """The command line of a process; empty where it is gone."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().decode("utf-8", "replace").split("\0")
    except OSError:
        return []


def running(program: Path) -> list[int]:
    """The processes that run a program file."""
    found = []
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                if Path(f"/proc/{entry}/exe").readlink() == program:
                    found.append(int(entry))
            except OSError:
                continue
    return found
