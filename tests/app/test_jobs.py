"""Jobs: what they return, raise and report arrives on the UI thread; cancelling; the end."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest

from app.jobs import Job, Jobs, State
from app.notices import Notices
from engine.errors import NadirError


@pytest.fixture
def notices() -> Notices:
    return Notices()


@pytest.fixture
def jobs(notices: Notices) -> Iterator[Jobs]:
    made = Jobs(notices)
    yield made
    made.cancel_everything()
    assert made.shut_down(5)


def test_a_result_arrives_on_the_ui_thread(jobs: Jobs, qtbot) -> None:
    arrived: list[tuple[int, threading.Thread]] = []
    job = jobs.start(
        "adding",
        lambda report: 40 + 2,
        done=lambda value: arrived.append((value, threading.current_thread())),
    )
    qtbot.waitUntil(lambda: job.over)
    assert arrived == [(42, threading.main_thread())]
    assert job.state == State.DONE
    assert jobs.idle


def test_an_error_becomes_a_notice_unless_somebody_takes_it(jobs: Jobs, notices, qtbot) -> None:
    def fail(report):
        raise NadirError("is damaged after row 410", "portland.jpg", "Try the original")

    job = jobs.start("reading", fail, done=lambda _: None)
    qtbot.waitUntil(lambda: job.over)
    assert notices.kept[0].headline == "portland.jpg: is damaged after row 410."
    assert notices.kept[0].remedy == "Try the original."
    taken: list[NadirError] = []
    job = jobs.start("reading", fail, done=lambda _: None, failed=taken.append)
    qtbot.waitUntil(lambda: job.over)
    assert len(taken) == 1 and len(notices.kept) == 1


def test_a_fault_of_ours_is_told_as_such(jobs: Jobs, notices, qtbot, caplog) -> None:
    job = jobs.start("dividing", lambda report: 1 / 0, done=lambda _: None)
    qtbot.waitUntil(lambda: job.over)
    assert "Nadir itself" in notices.kept[0].headline
    assert "ZeroDivisionError" in caplog.text


def test_progress_is_seen_and_cancelling_stops_the_work(jobs: Jobs, qtbot) -> None:
    seen: list[tuple[int, int, str]] = []
    stopped = threading.Event()
    gone: list[bool] = []

    def count(report):
        try:
            for i in range(10_000):
                report(i, 10_000, "counting")
                time.sleep(0.002)
        finally:
            stopped.set()

    def watch(job: Job) -> None:
        seen.append(job.progress)

    jobs.changed.connect(watch)
    job = jobs.start(
        "counting", count, done=lambda _: pytest.fail("done"), cancelled=lambda: gone.append(True)
    )
    qtbot.waitUntil(lambda: len(seen) > 5)
    assert jobs.active == [job]
    job.cancel()
    assert jobs.active == []
    qtbot.waitUntil(lambda: job.over)
    assert stopped.is_set() and gone == [True]
    assert job.state == State.CANCELLED


def test_a_key_replaces_what_runs_under_it(jobs: Jobs, qtbot) -> None:
    arrived: list[str] = []
    release = threading.Event()

    def first(report):
        release.wait(5)
        return "first"

    old = jobs.start("a", first, done=arrived.append, key="locate")
    new = jobs.start("b", lambda report: "second", done=arrived.append, key="locate")
    release.set()
    qtbot.waitUntil(lambda: old.over and new.over)
    assert arrived == ["second"]
    assert old.state == State.CANCELLED


def test_jobs_of_a_lane_keep_their_order_and_thread(jobs: Jobs, qtbot) -> None:
    order: list[tuple[int, str]] = []
    started = [
        jobs.start(
            str(i), lambda report, i=i: (i, threading.current_thread().name), done=order.append
        )
        for i in range(5)
    ]
    qtbot.waitUntil(lambda: all(job.over for job in started))
    assert [number for number, _ in order] == list(range(5))
    assert len({name for _, name in order}) == 1


def test_after_the_end_nothing_starts(qtbot) -> None:
    jobs = Jobs(Notices())
    assert jobs.shut_down()
    job = jobs.start("late", lambda report: 1, done=lambda _: pytest.fail("done"))
    assert job.state == State.CANCELLED
