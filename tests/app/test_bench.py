"""What was named is opened; what was only remembered or known gives way to it, or comes along where it fits."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from app.bench import Load
from app.session import Session
from engine.encoder import zip_encoder
from tests.sights import Sights

SOON = 20_000


@pytest.fixture
def session(qtbot) -> Iterator[Session]:
    made = Session()
    yield made
    assert made.shut_down()


def settled(session: Session) -> bool:
    return not session.bench.loading


@pytest.mark.parametrize("zipped", [False, True])
def test_a_named_index_brings_its_encoder_whatever_was_used_last(
    session: Session, sights: Sights, tmp_path: Path, qtbot, zipped: bool
) -> None:
    fitting = zip_encoder(sights.encoder, tmp_path / "mine.encoder.zip") if zipped else None
    bench, known = session.bench, fitting or sights.encoder
    bench.known = ((sights.other_encoder, known), ())
    bench.open(None, sights.index, remembered=sights.other_encoder)
    qtbot.waitUntil(lambda: settled(session), timeout=SOON)
    assert bench.pair is not None and bench.encoder.path == known
    assert bench.encoder.name == ("mine" if zipped else "linear")
    assert not session.notices.kept


def test_a_named_index_that_nothing_fits_says_whose_it_is(session, sights, qtbot) -> None:
    bench = session.bench
    bench.open(None, sights.index, remembered=sights.other_encoder)
    qtbot.waitUntil(lambda: settled(session), timeout=SOON)
    assert bench.encoder.path == sights.other_encoder and bench.index.error is not None
    assert "linear" in str(bench.index.error) and "other" in str(bench.index.error)


def test_a_remembered_index_gives_way_to_a_named_encoder(session, sights, qtbot) -> None:
    bench, said = session.bench, []
    session.notices.arrived.connect(lambda notice: said.append(notice.headline))
    bench.open(sights.other_encoder, None, remembered=sights.index)
    qtbot.waitUntil(lambda: settled(session), timeout=SOON)
    assert bench.encoder.load == Load.READY and bench.index.load == Load.NONE
    assert bench.index.error is None and not session.notices.kept
    assert any(words.startswith("flat was not opened") for words in said)


def test_a_remembered_index_that_fits_is_opened_with_the_named_encoder(
    session, sights, qtbot
) -> None:
    session.bench.open(sights.encoder, None, remembered=sights.index)
    qtbot.waitUntil(lambda: session.bench.pair is not None, timeout=SOON)
    assert session.bench.index.path == sights.index


def test_an_encoder_in_a_zip_finds_its_index(session, sights, tmp_path, qtbot) -> None:
    bench = session.bench
    bench.known = ((), (sights.index,))
    bench.open(sights.other_encoder, None)
    qtbot.waitUntil(lambda: settled(session), timeout=SOON)
    bench.open(zip_encoder(sights.encoder, tmp_path / "mine.encoder.zip"), sights.index)
    qtbot.waitUntil(lambda: bench.pair is not None, timeout=SOON)


def test_a_renamed_index_goes_by_its_folders_name(session, sights, tmp_path, qtbot) -> None:
    renamed = sights.copy_index(tmp_path).rename(tmp_path / "town.index")
    session.bench.open(sights.encoder, renamed)
    qtbot.waitUntil(lambda: session.bench.pair is not None, timeout=SOON)
    assert session.bench.index.name == "town"
