"""The share of range by hand, and what is said where there is none."""

from __future__ import annotations

import pytest

from perturbcast.evaluation.bounds import share_of_range
from perturbcast.metrics import metric

MAE, PEARSON, COVERAGE = (
    metric(name) for name in ("celleval.mae@1", "celleval.pearson_delta@1", "perturbcast.coverage_90@1")
)


@pytest.mark.parametrize(
    ("of", "value", "trivial", "ceilings", "share"),
    [
        (MAE, 0.4, [1.0, 0.8, None], [None, 0.3, 0.2], 4 / 6),
        (MAE, 0.8, [1.0, 0.8], [0.2], 0.0),
        (MAE, 0.2, [1.0, 0.8], [0.2], 1.0),
        (MAE, 1.1, [1.0, 0.8], [0.2], -0.5),
        (PEARSON, 0.5, [0.0, 0.1], [0.6, 0.9], 0.5),
        (COVERAGE, 0.8, [0.5], [0.95], 6 / 7),
    ],
    ids=["between", "floor", "ceiling", "below the floor", "higher", "target"],
)
def test_share_is_linear_between_the_best_trivial_answer_and_the_best_ceiling(of, value, trivial, ceilings, share):
    found, why = share_of_range(of, value, trivial=trivial, ceilings=ceilings, optimum=of.optimum)
    assert found == pytest.approx(share)
    assert why is None


@pytest.mark.parametrize("ceiling", [0.8, 0.9])
def test_no_share_where_the_ceiling_does_not_beat_the_floor(ceiling):
    found, why = share_of_range(MAE, 0.4, trivial=[1.0, 0.8], ceilings=[ceiling], optimum=0.0)
    assert found is None
    assert "not better than the best trivial answer" in why


@pytest.mark.parametrize(
    ("value", "trivial", "ceilings"), [(None, [1.0], [0.1]), (0.5, [None], [0.1]), (0.5, [1.0], [])]
)
def test_no_share_without_a_number_on_each_side(value, trivial, ceilings):
    assert share_of_range(MAE, value, trivial=trivial, ceilings=ceilings, optimum=0.0) == (None, None)
