"""Messages a person reads, and files that are whole or absent."""

from __future__ import annotations

import hashlib
import json
import math
import os
from pathlib import Path

import pytest

from engine import errors
from engine.files import atomic_write, sha256_of, write_json


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


def test_sha256_is_that_of_the_bytes(tmp_path: Path):
    path = tmp_path / "a"
    path.write_bytes(b"nadir" * 100_000)
    assert sha256_of(path) == hashlib.sha256(b"nadir" * 100_000).hexdigest()
