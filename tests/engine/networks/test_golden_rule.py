"""The rule of the golden numbers gives the values that its makers wrote down, and the comparison tells differences."""

from __future__ import annotations

import numpy as np
import pytest

from tests.golden_rule import assert_matches, rule_input, rule_tensor, rule_z


@pytest.mark.parametrize(
    ("name", "shape", "first"),
    [
        ("model_grd.backbone.norm.weight", (384,), (-0.43965277, 0.58190465, 0.08095616)),
        ("model_grd.backbone.pos_embed", (1, 256, 384), (0.63406, 0.00852672, -0.3593094)),
        ("backbone.1.running_var", (64,), (-0.71840143, -0.85687506, -0.64294887)),
        ("aggregation.1.p", (1,), (0.27581385,)),
    ],
)
def test_numbers_belong_to_names(
    name: str, shape: tuple[int, ...], first: tuple[float, ...]
) -> None:
    np.testing.assert_allclose(rule_z(name, shape).ravel()[:3], first, rtol=1e-6)


def test_inputs_are_the_makers() -> None:
    z = rule_input(1001, (2, 3, 128, 512))
    np.testing.assert_allclose(
        z.flatten()[:4], (0.9350507, -0.8705857, -0.8805552, 0.01341116), rtol=1e-6
    )
    squares = (rule_input(1001, (2, 3, 128, 512), True) - z) / 2
    np.testing.assert_allclose(
        squares[0, 0, 0, [0, 64, 128]], (-1.6846632, -0.33355904, 0.07949398), atol=1e-6
    )


def test_kinds_of_tensors_are_told_apart() -> None:
    assert float(rule_tensor("a.logit_scale", ())) == pytest.approx(2.6592600)
    assert int(rule_tensor("bn.num_batches_tracked", (), "int64")) == 0
    assert float(rule_tensor("bn.running_var", (64,)).min()) >= 1
    assert float(rule_tensor("x.gamma", (64,)).mean()) == pytest.approx(3, abs=0.1)
    assert float(rule_tensor("x.norm.weight", (64,)).mean()) == pytest.approx(1, abs=0.1)
    assert float(rule_tensor("fc.weight", (64, 100)).std()) == pytest.approx(0.1, rel=0.1)


def test_differences_are_told() -> None:
    values = np.arange(12.0).reshape(2, 6)
    whole = {"x": values}
    parts = {
        "x__first4096": values.ravel()[:4],
        "x__shape": np.array([2, 6]),
        "x__l2": np.linalg.norm(values),
        "x__sum": values.sum(),
        "x__rows_every": values[:, ::3],
        "x__rows_step": np.array(3),
    }
    for golden in (whole, parts):
        assert_matches(values, golden, "x", 1e-6)
        with pytest.raises(AssertionError, match="is not"):
            assert_matches(values.T, golden, "x", 1e-6)
        for place in range(12):
            wrong = values.copy()
            wrong.ravel()[place] += 0.01
            with pytest.raises(AssertionError, match="x"):
                assert_matches(wrong, golden, "x", 1e-6)
        wrong = values * np.nan
        with pytest.raises(AssertionError, match="x"):
            assert_matches(wrong, golden, "x", 1e-6)
