"""Predictions survive the disk to the last bit, and a broken file says so."""

from __future__ import annotations

import numpy as np
import pytest

from perturbcast.errors import UsageError
from perturbcast.schema import Condition, Prediction
from perturbcast.stores import predictions


def make_prediction(**changes):
    rng = np.random.default_rng(0)
    values = {
        "conditions": (Condition("B+A", "x"), Condition("A", "y")),
        "genes": ("g1", "g2", "g3"),
        "delta": rng.standard_normal((2, 3)),
        "variance": rng.random((2, 3)),
        "control": rng.random((2, 3)),
        "intervals": {0.9: rng.random((2, 3)), 0.95: np.full((2, 3), np.inf)},
        "seen": np.array([[True, False, False], [True, True, False]]),
        "notes": (("A was not measured alone",), ()),
        "model": "abc",
        "ood_score": np.array([0.5, 2.0]),
    }
    return Prediction(**(values | changes))


def test_round_trip_and_equal_bytes(tmp_path):
    made = make_prediction()
    for name in ("one", "two"):
        predictions.write(made, tmp_path / f"{name}.npz")
    assert (tmp_path / "one.npz").read_bytes() == (tmp_path / "two.npz").read_bytes()
    read = predictions.read(tmp_path / "one.npz")
    assert (read.conditions, read.genes, read.notes, read.model) == (made.conditions, made.genes, made.notes, "abc")
    assert read.conditions[0].perturbation == "A+B"
    for field in ("delta", "variance", "control", "seen", "ood_score"):
        np.testing.assert_array_equal(getattr(read, field), getattr(made, field))
    np.testing.assert_array_equal(read.intervals[0.95], np.inf)
    np.testing.assert_array_equal(read.intervals[0.9], made.intervals[0.9])


def test_a_prediction_without_a_score_comes_back_without_one(tmp_path):
    predictions.write(make_prediction(ood_score=None), tmp_path / "p.npz")
    assert predictions.read(tmp_path / "p.npz").ood_score is None
    with pytest.raises(ValueError, match=r"one finite value per condition \(2\); it came as \(3,\)"):
        make_prediction(ood_score=np.ones(3))


def test_a_truncated_file_is_refused(tmp_path):
    path = tmp_path / "p.npz"
    predictions.write(make_prediction(), path)
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(ValueError, match=r"cannot be read whole .* Run 'perturbcast predict' again"):
        predictions.read(path)
    with pytest.raises(UsageError, match="does not exist"):
        predictions.read(tmp_path / "absent.npz")


@pytest.mark.parametrize("field", ["delta", "variance", "control"])
def test_nan_is_refused_by_name(field):
    bad = np.ones((2, 3))
    bad[1, 2] = np.nan
    with pytest.raises(ValueError, match=f"'{field}' has 1 entries that are not"):
        make_prediction(**{field: bad})


def test_wrong_shape_and_negative_variance_are_refused():
    with pytest.raises(ValueError, match=r"'delta' is \[condition, gene\] = \(2, 3\); it came as \(3, 2\)"):
        make_prediction(delta=np.ones((3, 2)))
    with pytest.raises(ValueError, match="variance is not negative"):
        make_prediction(variance=-np.ones((2, 3)))
