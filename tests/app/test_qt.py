"""The Qt binding that is installed fits this Python."""

from __future__ import annotations

import sys

from PySide6.QtCore import QObject, Signal


class Speaker(QObject):
    said = Signal(object)


def test_calls_leave_the_counts_of_none_and_true_alone(qapp) -> None:
    """PySide6 6.12.0 under Python 3.11 lost a reference a call; some thousand calls later the program died."""
    speaker = Speaker()
    before = sys.getrefcount(None), sys.getrefcount(True)
    for _ in range(500):
        speaker.setObjectName("a")
        speaker.said.emit(1)
    after = sys.getrefcount(None), sys.getrefcount(True)
    assert abs(after[0] - before[0]) < 100
    assert abs(after[1] - before[1]) < 100
