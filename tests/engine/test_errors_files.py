"""Messages a person reads, and files that are whole or absent."""

from __future__ import annotations

import errno
import hashlib
import json
import math
import os
from pathlib import Path

import pytest

from engine import errors
from engine.files import atomic_write, only_one, sha256_of, write_json


def test_a_message_names_the_file_the_problem_and_the_remedy():
    error = errors.PhotoError("this is text", Path("/photos/Straße 1.jpg"), "Choose a JPEG")
    assert str(error) == "Straße 1.jpg: this is text. Choose a JPEG."
    assert (error.problem, error.remedy) == ("this is text", "Choose a JPEG")
    assert error.path == Path("/photos/Straße 1.jpg")


def test_a_message_without_file_or_remedy():
    assert str(errors.EncoderError("the graph is damaged")) == "the graph is damaged."
    assert str(errors.ImageryError("it is empty", "/")) == "/: it is empty."


def test_all_errors_are_one_family_and_cancelling_is_not_one_of_them():
    kinds = [v for v in vars(errors).values() if isinstance(v, type)]
    family = [k for k in kinds if issubclass(k, Exception) and k is not errors.Cancelled]
    assert all(issubclass(k, errors.NadirError) for k in family)
    assert len(family) >= 8
    assert not issubclass(errors.Cancelled, errors.NadirError)


def test_an_atomic_write_replaces_the_whole_file(tmp_path: Path):
    path = tmp_path / "a.bin"
    path.write_bytes(b"old and longer")
    with atomic_write(path) as file:
        file.write(b"new")
        assert path.read_bytes() == b"old and longer"
    assert path.read_bytes() == b"new"
    assert os.listdir(tmp_path) == ["a.bin"]


def test_a_failed_write_leaves_what_was_there_and_nothing_else(tmp_path: Path):
    path = tmp_path / "a.json"
    write_json(path, {"kept": True})
    with pytest.raises(RuntimeError), atomic_write(path, "w") as file:
        file.write("half of")
        raise RuntimeError
    with pytest.raises(ValueError):
        write_json(path, {"bad": math.nan})
    assert json.loads(path.read_text()) == {"kept": True}
    assert os.listdir(tmp_path) == ["a.json"]


def test_the_longest_names_and_other_alphabets_can_be_written(tmp_path: Path):
    path = tmp_path / ("街" * 83 + ".json")
    assert len(path.name.encode()) > 250
    write_json(path, {"Straße": "улица"})
    assert "улица" in path.read_text(encoding="utf-8")


def test_writing_into_a_missing_folder_says_so(tmp_path: Path):
    with pytest.raises(FileNotFoundError), atomic_write(tmp_path / "none" / "a"):
        pass


@pytest.mark.parametrize("name", ["none/a", "folder"])
def test_a_refused_write_names_the_target_and_not_a_temporary_file(tmp_path: Path, name: str):
    (tmp_path / "folder").mkdir()
    with pytest.raises(OSError) as caught, atomic_write(tmp_path / name) as file:
        file.write(b"x")
    assert caught.value.filename == str(tmp_path / name)
    assert os.listdir(tmp_path) == ["folder"] and os.listdir(tmp_path / "folder") == []


def test_what_a_full_disk_refused_is_named(tmp_path: Path):
    with pytest.raises(OSError) as caught, atomic_write(tmp_path / "a") as file:
        file.write(b"x")
        raise OSError(errno.ENOSPC, "No space left on device")
    assert caught.value.filename == str(tmp_path / "a")


def test_a_link_is_written_through_and_a_pipe_is_not_replaced(tmp_path: Path):
    (tmp_path / "there").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "there" / "a")
    with atomic_write(tmp_path / "link", "w") as file:
        file.write("kept")
    assert (tmp_path / "link").is_symlink() and (tmp_path / "there" / "a").read_text() == "kept"
    os.mkfifo(tmp_path / "pipe")
    reader = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    with atomic_write(tmp_path / "pipe") as file:
        file.write(b"through")
    assert os.read(reader, 100) == b"through"
    os.close(reader)
    assert (tmp_path / "pipe").is_fifo()


def test_names_that_are_no_text_or_steer_a_terminal_can_be_shown():
    assert str(errors.PhotoError("no", Path("a\n\x1b[2J\udcff.jpg"))) == "a��[2J�.jpg: no."
    assert (
        str(errors.EncoderError("not with a\x1b[2J", None, "Use \x07")) == "not with a�[2J. Use �."
    )
    assert errors.printable("Straße 街 \u200d👩") == "Straße 街 \u200d👩"


def test_sha256_is_that_of_the_bytes(tmp_path: Path):
    path = tmp_path / "a"
    path.write_bytes(b"nadir" * 100_000)
    assert sha256_of(path) == hashlib.sha256(b"nadir" * 100_000).hexdigest()


def test_only_one_holds_a_lock(tmp_path: Path) -> None:
    with only_one(tmp_path / "lock"):
        with pytest.raises(BlockingIOError), only_one(tmp_path / "lock"):
            pass
    with only_one(tmp_path / "lock"):
        pass
