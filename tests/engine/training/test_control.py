"""Asking a training to stop or pause, by files and by signals."""

from __future__ import annotations

import os
import signal
import threading
from pathlib import Path

import pytest

from engine.training.control import PAUSE, STARTED_BY_WINDOW, STOP, Control


def test_files_say_what_is_wanted_and_stopping_goes_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(STARTED_BY_WINDOW, raising=False)
    control = Control(tmp_path)
    assert control.wanted() == "go"
    (tmp_path / PAUSE).touch()
    assert control.wanted() == "pause"
    (tmp_path / STOP).touch()
    assert control.wanted() == "stop"
    control.clear()
    assert control.wanted() == "go" and not list(tmp_path.iterdir())


def test_a_stop_asked_by_the_window_while_training_is_loaded_holds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(STARTED_BY_WINDOW, "1234")
    control = Control(tmp_path)
    (tmp_path / STOP).touch()
    control.clear()
    assert control.wanted() == "stop"


def test_holding_lasts_until_the_file_is_gone_or_a_stop_is_asked_for(tmp_path: Path) -> None:
    control = Control(tmp_path)
    assert control.hold() < 0.1
    for end in (lambda: (tmp_path / PAUSE).unlink(), lambda: (tmp_path / STOP).touch()):
        (tmp_path / PAUSE).touch()
        later = threading.Timer(0.15, end)
        later.start()
        assert 0.1 < control.hold(poll_s=0.01) < 5
        later.join()
    assert control.wanted() == "stop"


@pytest.mark.skipif(os.name == "nt", reason="sends POSIX signals")
def test_a_signal_is_a_wish_and_a_second_one_an_order(tmp_path: Path) -> None:
    before = signal.getsignal(signal.SIGTERM)
    control = Control(tmp_path)
    with control.signals():
        os.kill(os.getpid(), signal.SIGTERM)
        assert control.wanted() == "stop"
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
            threading.Event().wait(1)
    assert signal.getsignal(signal.SIGTERM) is before
