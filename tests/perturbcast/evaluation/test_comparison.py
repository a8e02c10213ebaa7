"""Models on the same conditions: paired, adjusted, seeds combined, and refused on other terms."""

from __future__ import annotations

import numpy as np
import pytest

from perturbcast.errors import UsageError
from perturbcast.evaluation import compare

MAE, PEARSON, COVERAGE = "celleval.mae@1", "celleval.pearson_delta@1", "perturbcast.coverage_90@1"


def _compare(*stored, metric_id=MAE, baseline="base"):
    return compare({one.directory.name: one for one in stored}, metric_id=metric_id, baseline=baseline)


def test_a_small_but_steady_difference_is_found_under_a_large_spread(make_stored):
    spread = np.linspace(1, 20, 12)
    found = _compare(make_stored("base", spread), make_stored("steady", spread - 0.1 - 0.01 * (np.arange(12) % 3)))
    row = found["models"]["steady"]
    assert row["difference"] == pytest.approx(-0.11)
    assert -0.13 < row["difference_interval"][0] < row["difference_interval"][1] < -0.09
    assert row["p_value"] == pytest.approx(2 / 2**12), "all signs agree: one of 2^12 flips, on each side"
    assert row["verdict"] == "better"
    wide = row["interval"]
    assert wide[1] - wide[0] > 5, "the spread between conditions is not the spread of the difference"


def test_p_values_are_adjusted_together(make_stored):
    base = np.zeros(4)
    models = [make_stored("base", base), make_stored("x", base + 1), make_stored("y", [1.0, -1.0, 1.0, -1.0])]
    rows = _compare(*models)["models"]
    assert rows["x"]["p_value"] == pytest.approx(2 / 16)
    assert rows["x"]["p_adjusted"] == pytest.approx(2 * 2 / 16), "Benjamini-Hochberg: the smallest of two, twice"
    assert rows["y"]["p_adjusted"] == rows["y"]["p_value"] == 1.0
    assert rows["y"]["verdict"] == "undecided"


@pytest.mark.parametrize(
    ("metric_id", "shift", "verdict"),
    [(MAE, 0.1, "worse"), (MAE, -0.1, "better"), (PEARSON, 0.1, "better"), (COVERAGE, 0.1, "better")],
)
def test_the_metrics_direction_decides(make_stored, metric_id, shift, verdict):
    base = np.linspace(0.5, 0.7, 10)
    found = _compare(
        make_stored("base", base, metric_id=metric_id),
        make_stored("x", base + shift, metric_id=metric_id),
        metric_id=metric_id,
    )
    assert found["models"]["x"]["verdict"] == verdict


def test_equal_models_do_not_differ(make_stored):
    row = _compare(make_stored("base", [1.0, 2.0, 3.0]), make_stored("x", [1.0, 2.0, 3.0]))["models"]["x"]
    assert (row["difference"], row["p_value"], row["verdict"]) == (0.0, 1.0, "undecided")


def test_seeds_are_combined_per_condition(make_stored):
    base = make_stored("base", [1.0, 2.0, 3.0])
    seeds = [make_stored(f"m{k}", [0.5 + k, 1.5 + k, 2.5 + k], model="m", model_seed=k) for k in range(2)]
    found = _compare(base, *seeds)["models"]
    assert list(found) == ["base", "m0"]
    assert found["m0"]["seeds"] == [0, 1]
    assert found["m0"]["value"] == pytest.approx(2.0), "the mean of both seeds"


def test_undefined_conditions_are_shared_out(make_stored):
    nan = float("nan")
    found = _compare(make_stored("base", [1.0, 2.0, nan, 4.0]), make_stored("x", [2.0, nan, 1.0, 5.0]))
    assert (found["n"], found["n_excluded"]) == (2, 2)
    assert found["models"]["x"]["difference"] == pytest.approx(1.0)


@pytest.mark.parametrize(
    "difference", [{"part": "test"}, {"dataset_hash": "other"}, {"folds": [{"split_sha256": "other"}]}]
)
def test_other_terms_are_refused(make_stored, difference):
    with pytest.raises(ValueError, match="compared on the same part, data and folds"):
        _compare(make_stored("base", [1.0, 2.0]), make_stored("x", [1.0, 2.0], **difference))


def test_a_baseline_and_a_second_model_are_needed(make_stored):
    with pytest.raises(UsageError, match="of two models or more, one of them the baseline"):
        _compare(make_stored("base", [1.0, 2.0]))
    with pytest.raises(UsageError, match="the baseline is 'nobody'"):
        _compare(make_stored("base", [1.0, 2.0]), make_stored("x", [1.0, 2.0]), baseline="nobody")
