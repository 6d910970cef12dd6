"""The observable state of the Library workspace: what there is, and what is looked at.

What is being built is :class:`app.library.build_list.BuildList`'s; here it is one of the entries. No widgets here. The
disk is looked at by jobs in a lane of their own; what they saw is taken over on the UI thread.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from PySide6.QtCore import QObject, QStandardPaths, Signal

from app.intake import name_of
from app.jobs import Jobs
from app.library import work
from app.library.build_list import BuildList
from app.library.builds import Build, Plan
from app.notices import Notices
from app.session import Session
from app.settings.preferences import PreferenceStore
from engine.errors import NadirError
from engine.shipped import resources

if TYPE_CHECKING:
    from engine.library import Check, Item, Kind

SCAN, CHECK = "library-scan", "library-check"

Page = Literal["item", "new", "import"]


def default_root() -> Path:
    """Where the library lies unless the user has another place."""
    place = QStandardPaths.writableLocation(QStandardPaths.StandardLocation.AppDataLocation)
    return Path(place) / "library"


@dataclass(frozen=True)
class Entry:
    """A line of the list.

    Args:
        home: "library": it lies in the library's folder; "shipped": it came with the program; "elsewhere".
    """

    item: Item
    home: Literal["library", "shipped", "elsewhere"]
    check: Check | None = None

    @property
    def path(self) -> Path:
        return self.item.path


class Library(QObject):
    """The indexes and encoders this window knows of, and the builds at work."""

    changed = Signal()  # which there are
    entry_changed = Signal(object)  # the path of one that was checked, or is being worked at
    chosen_changed = Signal()  # the entry or the page that is looked at
    build_changed = Signal(object)  # a Build that told or became something
    begun = Signal(object)  # a Build whose process was started
    live_changed = Signal()  # whether any build is at work
    installed = Signal(object)  # the path of what was brought in
    leaving = Signal(object)  # the path of what is about to be deleted: let go of its files

    def __init__(
        self, session: Session, store: PreferenceStore, parent: QObject | None = None
    ) -> None:
        super().__init__(parent)
        self.session, self.store = session, store
        self.jobs: Jobs = session.jobs
        self.notices: Notices = session.notices
        self.entries: list[Entry] = []
        self.chosen: Path | None = None
        self.page: Page = "item"
        self.loaded = False
        self.imported: dict[Path, str] = {}  # what imports of this session found out
        self.busy: dict[Path, str] = {}  # what is being done with an item, by its path
        self._opened = False
        self._root = self.root
        self._wanted: Path | None = None  # to be chosen once it has been seen
        self.building = BuildList(self.jobs, self.notices, self.busy, self)
        self.building.begun.connect(self._begun)
        self.building.begun.connect(self.begun)
        self.building.build_changed.connect(self.build_changed)
        self.building.busy_changed.connect(self.entry_changed)
        self.building.live_changed.connect(self.live_changed)
        self.building.discarded.connect(self._discarded)
        self.building.finished.connect(self.refresh)
        session.bench.ready.connect(self._bench_ready)
        store.changed.connect(self._preferences_changed)

    @property
    def root(self) -> Path:
        """The library's folder."""
        return Path(self.store.now.library) if self.store.now.library else default_root()

    @property
    def builds(self) -> list[Build]:
        """The builds at work, and those that wait to be gone on with."""
        return self.building.builds

    @property
    def live(self) -> list[Build]:
        """Builds at work."""
        return self.building.live

    def build_of(self, path: Path | None) -> Build | None:
        """The build whose index grows at a path."""
        return self.building.of(path)

    def of(self, path: Path | None) -> Entry | None:
        """The entry that lies at a path."""
        return next((entry for entry in self.entries if entry.path == path), None)

    def title(self, entry: Entry) -> str:
        """What an entry is called."""
        return name_of(entry.path)

    def listed(self, kind: Kind) -> list[Entry]:
        """Entries of one kind: those being built first, then by name."""
        found = [entry for entry in self.entries if entry.item.kind == kind]
        return sorted(
            found,
            key=lambda e: (not self.building.unfinished(e.path), self.title(e).casefold(), e.path),
        )

    def encoder_for(self, hash_: str) -> Entry | None:
        """The encoder of this hash, where there is one."""
        for entry in self.listed("encoder"):
            if entry.item.error is None and entry.item.hash == hash_:
                return entry
        return None

    def indexes_of(self, hash_: str) -> list[Entry]:
        """The indexes that were built with an encoder."""
        return [
            entry
            for entry in self.listed("index")
            if entry.item.manifest is not None and entry.item.manifest.encoder_hash == hash_
        ]

    # Finding ----------------------------------------------------------------------------------------------------

    def wake(self) -> None:
        """At the window's start: see whether a build of an earlier window is at work, or waits."""
        self.building.wake(self.root)

    def open(self) -> None:
        """The workspace is looked at."""
        self._opened = True
        self.building.open()
        self.refresh()

    def leave(self) -> None:
        """The workspace is not looked at any more."""
        self.building.leave()

    def refresh(self) -> None:
        """Look at the disk anew."""
        root = self.root
        shipped = resources()
        recent = (*self.store.now.recent_encoders, *self.store.now.recent_indexes)
        opened = [slot.path for slot in (self.session.bench.encoder, self.session.bench.index)]
        known = tuple(Path(path) for path in recent) + tuple(path for path in opened if path)
        self.jobs.start(
            self.tr("Looking at the library"),
            lambda report: work.take_stock(root, shipped, known, report),
            done=self._stock_taken,
            lane="watch",
            key=SCAN,
            quiet=True,
        )

    def _stock_taken(self, stock: work.Stock) -> None:
        homes = dict.fromkeys(stock.shipped, "shipped")
        entries = []
        for item in stock.items:
            home = homes.get(item.path) or (
                "library" if item.path.parent == self.root else "elsewhere"
            )
            entries.append(Entry(item, home, stock.checks.get(str(item.path))))  # type: ignore[arg-type]
        self.building.take(stock.builds)
        changed = entries != self.entries or not self.loaded
        self.entries, self.loaded = entries, True
        if changed:
            self.changed.emit()
        if self._wanted is not None and self.of(self._wanted) is not None:
            path, self._wanted = self._wanted, None
            self.choose(path)
        elif self.page == "item" and self.of(self.chosen) is None:
            open_index = self.session.bench.index.path
            first = self.of(open_index) or next(iter(self.listed("index")), None)
            first = first or next(iter(self.listed("encoder")), None)
            self.choose(first.path if first is not None else None)

    def _preferences_changed(self) -> None:
        if self.root != self._root:
            self._root = self.root
            self.building.forget(lambda build: not build.live)
            if self._opened:
                self.refresh()

    def _bench_ready(self) -> None:
        if self._opened:
            self.refresh()

    # Choosing ---------------------------------------------------------------------------------------------------

    def choose(self, path: Path | None) -> None:
        """Look at an entry."""
        if (path, self.page) != (self.chosen, "item"):
            self.chosen, self.page = path, "item"
            self.chosen_changed.emit()

    def show(self, page: Page) -> None:
        """Look at the guided task, or at the import."""
        if page != self.page:
            self.page = page
            self.chosen_changed.emit()

    @property
    def entry(self) -> Entry | None:
        """The entry looked at."""
        return self.of(self.chosen) if self.page == "item" else None

    # Doing with items -------------------------------------------------------------------------------------------

    def install(self, sources: list[Path]) -> None:
        """Bring encoders and indexes into the library."""
        root = self.root
        for source in sources:
            self.jobs.start(
                self.tr("Adding {0}").format(source.name),
                lambda report, source=source: work.bring_in(source, root, report),
                done=self.brought,
                lane="library",
            )

    def brought(self, brought: work.Brought, imported: str = "") -> None:
        """Something was brought in: tell, and look at it.

        Args:
            imported: what its import has found out.
        """
        name = brought.path.name
        if imported:
            self.imported[brought.path] = imported
        if brought.how == "there":
            self.notices.post("info", self.tr("{0} was in the library already.").format(name))
        elif brought.how == "listed":
            self.notices.post(
                "info",
                self.tr("{0} does not hold its imagery, so it stays where it is.").format(name),
            )
        else:
            words = self.tr("{0} was checked and added.").format(name)
            self.notices.post("info", words, imported)
        self._wanted = brought.path
        self.refresh()  # which chooses it, too
        self.installed.emit(brought.path)

    def verify(self, path: Path) -> None:
        """Check every file of an item."""
        root = self.root

        def done(check: Check) -> None:
            self.entries = [
                Entry(e.item, e.home, check) if e.path == path else e for e in self.entries
            ]
            self._over(path)
            if check.good:
                self.notices.post("info", self.tr("{0}: every file is whole.").format(path.name))

        self._do(
            path,
            self.tr("Checking {0}").format(path.name),
            lambda report: work.verify(path, root, report),
            done,
        )

    def remove(self, path: Path) -> None:
        """Delete an item that lies in the library; forget one that lies elsewhere."""
        root, entry = self.root, self.of(path)
        if entry is None or entry.home == "shipped":
            return
        owned = entry.home == "library"
        self.session.bench.let_go(path)
        self.leaving.emit(path)
        forgotten = str(path)
        now = self.store.now
        self.store.change(
            recent_encoders=tuple(p for p in now.recent_encoders if p != forgotten),
            recent_indexes=tuple(p for p in now.recent_indexes if p != forgotten),
            encoder="" if now.encoder == forgotten else now.encoder,
            index="" if now.index == forgotten else now.index,
        )

        def done(_: object) -> None:
            self.entries = [e for e in self.entries if e.path != path]
            self.building.forget(lambda build: build.out == path)
            self._over(path)
            self.changed.emit()
            self.refresh()

        self._do(
            path,
            self.tr("Removing {0}").format(path.name),
            lambda report: work.remove(path, root, owned),
            done,
        )

    def use(self, path: Path) -> None:
        """Open an item in Locate, with what it needs where that is here."""
        entry = self.of(path)
        if entry is None:
            return
        if entry.item.kind == "encoder":
            self.session.bench.open(path, None)
            return
        manifest = entry.item.manifest
        encoder = self.encoder_for(manifest.encoder_hash) if manifest is not None else None
        opened = self.session.bench.encoder.value
        if encoder is None or (
            opened is not None and manifest and opened.hash == manifest.encoder_hash
        ):
            self.session.bench.open(None, path)
        else:
            self.session.bench.open(encoder.path, path)

    def _do(
        self,
        path: Path,
        title: str,
        act: Callable[..., object],
        done: Callable[..., None],
        key: str | None = None,
    ) -> None:
        if path in self.busy:
            return
        self.busy[path] = title
        self.entry_changed.emit(path)

        def failed(error: NadirError) -> None:
            self._over(path)
            self.notices.post_error(error)
            self.refresh()

        self.jobs.start(
            title,
            act,
            done=done,
            failed=failed,
            cancelled=lambda: self._over(path),
            lane="library",
            key=key,
        )

    def _over(self, path: Path) -> None:
        self.busy.pop(path, None)
        self.entry_changed.emit(path)

    # Doing with builds ------------------------------------------------------------------------------------------

    def begin(self, plan: Plan, tiles: int) -> None:
        """Start building an index."""
        self.building.begin(self.root, plan, tiles)

    def resume(self, build: Build) -> None:
        """Go on with a build."""
        self.building.resume(build)

    def pause(self, build: Build) -> None:
        """Have a build finish what it is at, and end."""
        self.building.pause(build)

    def discard(self, build: Build) -> None:
        """Give a build up, and delete what it has made."""
        self.building.discard(build)

    def _begun(self, build: Build) -> None:
        if self.of(build.out) is None:
            from engine.library import Item

            begun = Entry(Item("index", build.out, build.name, unfinished=True), "library")
            self.entries = [*self.entries, begun]
            self.changed.emit()
        self._wanted = None
        self.choose(build.out)

    def _discarded(self, build: Build) -> None:
        self.entries = [e for e in self.entries if e.path != build.out]
        self.changed.emit()
        self.refresh()
