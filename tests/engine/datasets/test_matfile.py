"""The MAT reader against SciPy's writer, and against damage."""

from __future__ import annotations

import numpy as np
import pytest

from engine.datasets.matfile import read_mat
from engine.errors import DatasetError

scipy_io = pytest.importorskip("scipy.io", reason="the oracle is SciPy's writer")

CONTENT = {
    "numbers": np.arange(12.0).reshape(3, 4),
    "small": np.array([[1, 2, 3]], np.uint8),
    "many": np.arange(-5, 5, dtype=np.int32).reshape(2, 5),
    "deep": np.arange(24, dtype=np.float32).reshape(2, 3, 4),
    "texts": np.array(["one", "three", "5"]),
    "umlaut": "Straße",
    "nested": {"a": {"b": np.array([[7.0]])}, "c": "x"},
    "empty": np.zeros((0, 3)),
}


@pytest.mark.parametrize("compressed", [False, True])
def test_values(tmp_path, compressed):
    cells = np.empty(3, object)
    cells[:] = ["a", np.array([1.0, 2.0]), "ccc"]
    scipy_io.savemat(tmp_path / "x.mat", CONTENT | {"cells": cells}, do_compression=compressed)
    values = read_mat(tmp_path / "x.mat")
    for name in ("numbers", "small", "many", "deep", "empty"):
        assert np.array_equal(values[name], CONTENT[name])
        assert values[name].dtype == np.asarray(CONTENT[name]).dtype
    assert values["texts"] == ["one", "three", "5"]
    assert values["umlaut"] == ["Straße"]
    assert values["nested"]["a"]["b"] == [[7.0]] and values["nested"]["c"] == ["x"]
    assert values["cells"][0] == ["a"] and values["cells"][1].tolist() == [[1.0, 2.0]]


def test_damage_is_an_error_and_nothing_else(tmp_path):
    scipy_io.savemat(tmp_path / "x.mat", CONTENT)
    raw = (tmp_path / "x.mat").read_bytes()
    rng = np.random.default_rng(0)
    refused = 0
    for trial in range(300):
        broken = bytearray(raw)
        if trial % 2:
            broken = broken[: int(rng.integers(0, len(raw)))]
        else:
            for _ in range(8):
                broken[int(rng.integers(128, len(raw)))] = int(rng.integers(256))
        (tmp_path / "y.mat").write_bytes(broken)
        try:
            read_mat(tmp_path / "y.mat")
        except DatasetError as error:
            refused += 1
            assert "cannot be read as a MATLAB file" in str(error)
    assert refused > 100


def test_other_versions_are_named(tmp_path):
    (tmp_path / "x.mat").write_bytes(b"MATLAB 7.3 MAT-file, Platform: GLNXA64" + b" " * 200)
    with pytest.raises(DatasetError, match=r"version 7\.3; save it in MATLAB"):
        read_mat(tmp_path / "x.mat")
    (tmp_path / "x.mat").write_bytes(b"hello")
    with pytest.raises(DatasetError, match="no header of a MAT-file"):
        read_mat(tmp_path / "x.mat")
    with pytest.raises(DatasetError, match="cannot be read"):
        read_mat(tmp_path / "none.mat")
