"""Databases from strangers: plain tables are read, whatever computes is refused, and no question goes on for ever."""

from __future__ import annotations

import sqlite3
import time
from contextlib import closing
from pathlib import Path

import pytest

from engine.sqlite import StrangeDatabase

SLOW = "printf('%.*c', 90000, 'a') LIKE '%a%a%a%a%a%a%b'"


def write(path: Path, script: str) -> Path:
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.executescript(script)
    return path


PLAIN = """CREATE TABLE t (id INTEGER PRIMARY KEY, v REAL NOT NULL DEFAULT 0, w TEXT UNIQUE REFERENCES t(w))
WITHOUT ROWID; CREATE INDEX i ON t (v, w); CREATE VIRTUAL TABLE r USING rtree(id, x0, x1);
INSERT INTO t VALUES (1, 2.0, 'a b');"""


def test_plain_tables(tmp_path: Path) -> None:
    path = write(tmp_path / "plain.db", PLAIN)
    before = path.read_bytes()
    database = StrangeDatabase(path, 1000, 1)
    assert database.query("SELECT v, w FROM t WHERE id = ?", (1,)) == [(2.0, "a b")]
    assert database.query("SELECT count(*) FROM r") == [(0,)]
    for change in ("DELETE FROM t", "CREATE TABLE x (y)", "ATTACH ':memory:' AS other"):
        with pytest.raises(sqlite3.Error):
            database.query(change)
    database.close()
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["plain.db"]


@pytest.mark.parametrize(
    "script",
    [
        f"CREATE VIEW v AS SELECT {SLOW}",
        "CREATE TRIGGER g AFTER INSERT ON t BEGIN DELETE FROM t; END",
        f"CREATE TABLE x (id INTEGER PRIMARY KEY, y AS ({SLOW}))",
        f"CREATE TABLE x (id INTEGER PRIMARY KEY, y GENERATED ALWAYS as\n({SLOW}) STORED)",
        f"CREATE TABLE x (id INTEGER PRIMARY KEY, y CHECK/**/({SLOW}))",
        "CREATE INDEX x ON t (abs(v))",
        "CREATE INDEX x ON t (v) WHERE v > 0",
        "CREATE VIRTUAL TABLE x USING fts5(y)",
        "CREATE VIRTUAL TABLE x USING rtree_i32(id, x0, x1)",
        ";".join(f"CREATE TABLE x{n} (y)" for n in range(101)),
    ],
)
def test_what_is_more_than_a_table(tmp_path: Path, script: str) -> None:
    path = write(tmp_path / "more.db", f"{PLAIN} {script}")
    with pytest.raises(sqlite3.DatabaseError, match=r"more than a plain table|too many tables"):
        StrangeDatabase(path, 1000, 1)


@pytest.mark.parametrize(
    "content", [b"", b"SQLite format 3\x00" + bytes(4000), b"GIF89a", b"x" * 5000]
)
def test_what_is_no_database(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "no.db").write_bytes(content)
    try:
        database = StrangeDatabase(tmp_path / "no.db", 1000, 1)
    except sqlite3.Error:
        return
    assert database.query("SELECT * FROM sqlite_schema") == []


def test_text_that_is_none(tmp_path: Path) -> None:
    path = write(
        tmp_path / "text.db", "CREATE TABLE t (v); INSERT INTO t VALUES (CAST(x'ff41fe' AS TEXT))"
    )
    database = StrangeDatabase(path, 1000, 1)
    with pytest.raises(sqlite3.DatabaseError):
        database.query("SELECT v FROM t")
    path = write(tmp_path / "name.db", "CREATE TABLE tttt (v)")
    path.write_bytes(path.read_bytes().replace(b"tttt", b"\xff\xfe\x88t"))
    with pytest.raises(sqlite3.DatabaseError):
        StrangeDatabase(path, 1000, 1)


def test_pages_woven_into_each_other(tmp_path: Path) -> None:
    """Every child of a page is the same page below it: a small file of more rows than can be counted."""
    path = write(
        tmp_path / "woven.db",
        "PRAGMA page_size=512; CREATE TABLE t (v); WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE"
        " i < 300000) INSERT INTO t SELECT 'xxxxxxxxxxxxxxxxxxxxxxxx' FROM n",
    )
    data = bytearray(path.read_bytes())
    pages = len(data) // 512
    woven = 0
    for page in range(2, pages + 1):
        at = (page - 1) * 512
        if data[at] != 5:  # an inner page of a table
            continue
        cells = int.from_bytes(data[at + 3 : at + 5], "big")
        places = [
            int.from_bytes(data[at + 12 + 2 * i : at + 14 + 2 * i], "big") for i in range(cells)
        ]
        first = bytes(data[at + places[0] : at + places[0] + 4])
        for place in places:
            data[at + place : at + place + 4] = first
        data[at + 8 : at + 12] = first
        woven += 1
    assert woven > 3
    path.write_bytes(data)
    database = StrangeDatabase(path, 1000, 1000)
    start = time.monotonic()
    for question in ("SELECT sum(1) FROM t", "SELECT v FROM t", "SELECT max(v) FROM t"):
        try:
            database.query(question)
        except sqlite3.Error as error:
            assert "interrupted" in str(error) or "malformed" in str(error)
    assert time.monotonic() - start < 5
    database.close()


def test_a_question_has_its_own_budget(tmp_path: Path) -> None:
    path = write(
        tmp_path / "rows.db",
        "CREATE TABLE t (v); WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 50000)"
        " INSERT INTO t SELECT i FROM n",
    )
    database = StrangeDatabase(path, 1000, 50_000)
    for _ in range(20):
        assert database.query("SELECT sum(v) FROM t") == [(1_250_025_000,)]
    with pytest.raises(sqlite3.OperationalError, match="interrupted"):
        database.query("SELECT count(*) FROM t AS a, t AS b, t AS c")
    assert database.query("SELECT count(*) FROM t") == [(50_000,)]
