"""The builds that this window knows of: those at work, paused or broken off; starting, pausing and watching them.

No widgets here. How builds stand is looked at by jobs; what they saw is taken over on the UI thread.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

from PySide6.QtCore import QObject, QTimer, Signal

from app.jobs import Jobs
from app.library import builds
from app.library.builds import Build, Plan, State
from app.notices import Notices
from engine.errors import NadirError

WATCH_MS = 500


class BuildList(QObject):
    """Builds of indexes, each a process of its own.

    Args:
        busy: what is being done with the item at a path; shared with who shows items.
    """

    build_changed = Signal(object)  # a Build that told or became something
    begun = Signal(object)  # a Build whose process was started
    discarded = Signal(object)  # a Build that was given up, with what it had made
    finished = Signal()  # an index is whole, and its build put away
    busy_changed = Signal(object)  # the path of an index that is being worked at
    live_changed = Signal()  # whether any build is at work

    def __init__(
        self, jobs: Jobs, notices: Notices, busy: dict[Path, str], parent: QObject | None = None
    ) -> None:
        super().__init__(parent)
        self._jobs, self._notices, self._busy = jobs, notices, busy
        self.builds: list[Build] = []
        self._opened = self._looking = False
        self._live = False
        self._watch = QTimer(self)
        self._watch.setInterval(WATCH_MS)
        self._watch.timeout.connect(self._look)

    @property
    def live(self) -> list[Build]:
        """Builds at work."""
        return [build for build in self.builds if build.live]

    def of(self, path: Path | None) -> Build | None:
        """The build whose index grows at a path."""
        return next((build for build in self.builds if build.out == path), None)

    def unfinished(self, path: Path) -> bool:
        """Whether the index at a path is still to be built."""
        build = self.of(path)
        return build is not None and build.state != State.DONE

    # Finding ----------------------------------------------------------------------------------------------------

    def wake(self, root: Path) -> None:
        """At the window's start: see whether a build of an earlier window is at work, or waits."""
        self._jobs.start(
            "",
            lambda report: builds.find_builds(root),
            done=self._woken,
            lane="watch",
            quiet=True,
        )

    def _woken(self, found: list[Build]) -> None:
        if self._opened or not found:
            return
        self.take(found)
        for build in found:
            if build.live:
                words = self.tr("“{0}” is still being built.").format(build.name)
                self._notices.post("info", words)
            elif build.state in (State.BROKEN_OFF, State.FAILED):
                words = self.tr("The index “{0}” is not finished.").format(build.name)
                self._notices.post("warning", words, self.tr("Go on with it in the Library."))

    def open(self) -> None:
        """They are looked at."""
        self._opened = True
        self._watch.start()

    def leave(self) -> None:
        """They are not looked at any more."""
        if not self.live:
            self._watch.stop()

    def take(self, found: list[Build]) -> None:
        """Take over what was found on the disk."""
        known = {build.folder: build for build in self.builds}
        for build in found:
            if build.folder not in known:
                self.builds.append(build)
                if build.state == State.DONE:  # while no window was there to see it
                    self._became(build)
        there = {build.folder for build in found}
        self.builds = [b for b in self.builds if b.folder in there or b.alive]
        self._tell_live()

    def forget(self, which: Callable[[Build], bool]) -> None:
        """Leave some out of the list."""
        self.builds = [build for build in self.builds if not which(build)]

    # Doing ------------------------------------------------------------------------------------------------------

    def begin(self, root: Path, plan: Plan, tiles: int) -> None:
        """Start building an index in a library's folder."""
        self._act(
            root / f"{plan.name}.index",
            self.tr("Starting {0}").format(plan.name),
            lambda: builds.begin(root, plan, tiles),
            self._begun,
        )

    def resume(self, build: Build) -> None:
        """Go on with a build."""
        self._act(
            build.out,
            self.tr("Starting {0}").format(build.name),
            lambda: builds.resume(build),
            self._begun,
        )

    def _begun(self, build: Build) -> None:
        self.builds = [other for other in self.builds if other.folder != build.folder]
        self.builds.append(build)
        self._watch.start()
        self.begun.emit(build)
        self.build_changed.emit(build)
        self._tell_live()

    def pause(self, build: Build) -> None:
        """Have a build finish what it is at, and end."""
        self._act(
            build.out,
            self.tr("Pausing {0}").format(build.name),
            lambda: builds.pause(build),
            lambda _: self._look(),
        )

    def discard(self, build: Build) -> None:
        """Give a build up, and delete what it has made."""

        def done(_: object) -> None:
            self.builds = [other for other in self.builds if other is not build]
            self.discarded.emit(build)
            self._tell_live()

        self._act(
            build.out,
            self.tr("Deleting {0}").format(build.name),
            lambda: builds.discard(build),
            done,
        )

    def _act(
        self, out: Path, title: str, act: Callable[[], object], done: Callable[..., None]
    ) -> None:
        if out in self._busy:
            return
        self._busy[out] = title
        self.busy_changed.emit(out)

        def over() -> None:
            self._busy.pop(out, None)
            self.busy_changed.emit(out)

        def acted(value: object) -> None:
            over()
            done(value)

        def failed(error: NadirError) -> None:
            over()
            self._notices.post_error(error)

        self._jobs.start(
            title,
            lambda report: act(),
            done=acted,
            failed=failed,
            cancelled=over,
            lane="library",
            quiet=True,
        )

    # Watching ---------------------------------------------------------------------------------------------------

    def _look(self) -> None:
        if self._looking or not self.builds:
            return
        self._looking = True
        watched = [build for build in self.builds if build.state != State.DONE]

        def over() -> None:
            self._looking = False

        self._jobs.start(
            "",
            lambda report: [(build, build.look()) for build in watched],
            done=self._seen,
            failed=lambda error: over(),
            cancelled=over,
            lane="watch",
            quiet=True,
        )

    def _seen(self, seen: Iterable[tuple[Build, builds.Look]]) -> None:
        self._looking = False
        for build, look in seen:
            if build not in self.builds:
                continue
            before = build.state
            if not build.take(look):
                continue
            self.build_changed.emit(build)
            if before != build.state:
                self._became(build)
        self._tell_live()

    def _became(self, build: Build) -> None:
        if build.state == State.DONE:
            self._notices.post("info", self.tr("“{0}” is built.").format(build.name))
            self._jobs.start(
                "",
                lambda report: builds.put_away(build),
                done=lambda _: self.finished.emit(),
                lane="watch",
                quiet=True,
            )
        elif build.state == State.FAILED:
            from app.library.words import why_failed

            headline, remedy = why_failed(build)
            self._notices.post("error", f"{build.name}: {headline}", remedy, quiet=True)

    def _tell_live(self) -> None:
        live = bool(self.live)
        if live != self._live:
            self._live = live
            if live:
                self._watch.start()
            self.live_changed.emit()
