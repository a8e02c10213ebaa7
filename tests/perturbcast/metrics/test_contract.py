"""What every metric promises: a new module is under test before its author writes one."""

from __future__ import annotations

import dataclasses
import re

import numpy as np
import pytest

from perturbcast import catalog
from perturbcast.errors import UsageError
from perturbcast.metrics import PANELS, Metric, metric, panel

NAMES = catalog.names("metrics")


@pytest.fixture(params=NAMES)
def module(request):
    return catalog.load("metrics", request.param)


def _cells(means, *, n=40, seed=0):
    rng = np.random.default_rng(seed)
    return [mean + 0.3 * rng.standard_normal((n, len(mean))) for mean in means]


@pytest.fixture
def perfect(make_comparison):
    rng = np.random.default_rng(1)
    delta = rng.normal(size=(5, 30))
    cells = _cells(2 + delta)
    return make_comparison(
        delta=delta,
        error=0.02,
        contexts=["a", "a", "a", "b", "b"],
        half_widths={0.9: 0.5},
        cells=cells,
        predicted_cells=cells,
    )


def test_module_says_what_it_measures(module):
    assert isinstance(module.METRIC, Metric)
    assert len(module.__doc__.strip().splitlines()) > 3, "formula and source"
    assert dataclasses.is_dataclass(module.Config)
    assert module.Config.__dataclass_params__.frozen
    for field in dataclasses.fields(module.Config):
        assert re.search(rf"\b{field.name}: ", module.Config.__doc__), f"unit of {field.name}"


def test_module_is_named_after_its_id(module):
    room, name = module.METRIC.id.split("@")[0].split(".")
    expected = name if room == "perturbcast" else f"{room}_{name}"
    assert module.__name__.rsplit(".", 1)[1] == expected


def test_ids_are_unique():
    ids = [catalog.load("metrics", name).METRIC.id for name in NAMES]
    assert len(set(ids)) == len(ids)


def test_perfect_prediction_reaches_the_optimum(module, perfect):
    scores = module.score(perfect, module.Config())
    assert scores.shape == (5,)
    if module.METRIC.needs == "intervals":
        assert (scores == 1.0).all(), "a perfect point prediction lies in every interval"
    else:
        np.testing.assert_allclose(scores, module.METRIC.optimum, atol=1e-9)


def test_worse_prediction_scores_worse(module, perfect, make_comparison):
    rng = np.random.default_rng(2)
    delta = perfect.truth.delta
    wrong = rng.normal(size=delta.shape)
    worse = make_comparison(
        delta=delta,
        predicted_delta=wrong,
        error=0.02,
        contexts=["a", "a", "a", "b", "b"],
        half_widths={0.9: 0.5},
        cells=_cells(2 + delta),
        predicted_cells=_cells(2 + wrong, seed=3),
    )
    loss = module.METRIC.loss
    good, bad = (float(module.score(c, module.Config()).mean()) for c in (perfect, worse))
    assert loss(bad) > loss(good) + 0.05


def test_prediction_of_no_change_is_scored_without_nan(module, make_comparison):
    rng = np.random.default_rng(3)
    delta = rng.normal(size=(4, 30))
    nothing = make_comparison(
        delta=delta,
        predicted_delta=np.zeros_like(delta),
        half_widths={0.9: 0.5},
        cells=_cells(2 + delta),
        predicted_cells=_cells(2 + 0 * delta, seed=4),
    )
    scores = module.score(nothing, module.Config())
    assert np.isfinite(scores).all()
    chance = module.METRIC.chance
    if chance is not None:
        expected = chance(nothing, module.Config()) if callable(chance) else chance
        np.testing.assert_allclose(scores, expected, atol=1e-12)


def test_repeating_gives_the_same_values(module, perfect):
    first, again = (module.score(perfect, module.Config()) for _ in range(2))
    np.testing.assert_array_equal(first, again)


@pytest.mark.parametrize("name", PANELS)
def test_panels_name_modules_that_exist(name):
    assert [module.__name__.rsplit(".", 1)[1] for module in panel(name)] == list(PANELS[name])


def test_unknown_panel_lists_the_known():
    with pytest.raises(UsageError, match=r"'nope' is unknown\. Known: spine"):
        panel("nope")


def test_unknown_metric_id_lists_the_known():
    with pytest.raises(UsageError, match=r"'mae' is unknown\. Known: celleval\.mae@1"):
        metric("mae")


def test_ill_formed_id_is_refused():
    with pytest.raises(ValueError, match=r"'panel\.name@version'; 'mae' is not"):
        dataclasses.replace(metric("celleval.mae@1"), id="mae")


@pytest.mark.parametrize(
    ("metric_id", "better", "worse"),
    [("celleval.mae@1", 0.1, 0.2), ("celleval.pearson_delta@1", 0.9, 0.2), ("perturbcast.coverage_90@1", 0.88, 0.97)],
)
def test_loss_follows_the_direction(metric_id, better, worse):
    assert metric(metric_id).loss(better) < metric(metric_id).loss(worse)
