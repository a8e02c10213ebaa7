"""What every metric promises: a new module is under test before its author writes one."""

from __future__ import annotations

import dataclasses
import re

import numpy as np
import pytest

from perturbcast import catalog
from perturbcast.errors import UsageError
from perturbcast.metrics import PANELS, Comparison, Metric, metric, panel
from perturbcast.metrics.descriptor import measures

NAMES = catalog.names("metrics")
MEASURES = {measure.metric.id: measure for name in NAMES for measure in measures(catalog.load("metrics", name))}

CONTEXTS = ["a"] * 4 + ["b"] * 4
LABELS = ["P0", "P1", "P2", "P0+P1", "P3", "P4", "P5", "P6"]
GENES, CELLS = 120, 40
LEVELS = (0.5, 0.8, 0.9, 0.95)
NOVEL = [False, True] * 4


@pytest.fixture(params=NAMES)
def module(request):
    return catalog.load("metrics", request.param)


@pytest.fixture(params=MEASURES)
def measure(request):
    return MEASURES[request.param]


def _cells(means, *, seed=0):
    rng = np.random.default_rng(seed)
    return [np.maximum(mean + 0.3 * rng.standard_normal((CELLS, GENES)), 0) for mean in means]


def _effects(seed=1):
    """Deltas of which most genes have none, so that a condition has differential genes and others."""
    rng = np.random.default_rng(seed)
    delta = rng.normal(size=(8, GENES)) * (rng.random((8, GENES)) < 0.3)
    return delta * np.linspace(0.3, 1.0, 8)[:, None]  # some conditions are stronger than others


def _make(make_comparison, claimed=None, *, seed=None, half_width=0.5, variance=0.02, ood_score=NOVEL):
    """Truth as the contract tests share it, beside the truth itself or a prediction of effects; means of its cells."""
    cells = _cells(2 + _effects())
    of_context = {name: _cells(np.full((1, GENES), 2.0), seed=10 + k)[0] for k, name in enumerate("ab")}
    controls = [of_context[name] for name in CONTEXTS]
    predicted = cells if claimed is None else _cells(2 + claimed, seed=seed)
    mean, control, guess = (np.stack([group.mean(axis=0) for group in side]) for side in (cells, controls, predicted))
    error = [(a.var(axis=0, ddof=1) + b.var(axis=0, ddof=1)) / CELLS for a, b in zip(cells, controls, strict=True)]
    return make_comparison(
        delta=mean - control,
        predicted_delta=guess - control,
        control=control,
        error=np.stack(error),
        contexts=CONTEXTS,
        labels=LABELS,
        half_widths=dict.fromkeys(LEVELS, half_width),
        variance=variance,
        ood_score=ood_score,
        novel=NOVEL,
        cells=cells,
        predicted_cells=predicted,
        control_cells=controls,
        train_mean=np.full(GENES, 2.1) + 0.1 * np.random.default_rng(3).standard_normal(GENES),
    )


@pytest.fixture(scope="module")
def perfect(make_comparison):
    return _make(make_comparison)


@pytest.fixture(scope="module")
def wrong(make_comparison):
    """Deltas of other genes, of the wrong strengths, and surest where they are worst."""
    claimed = _effects(seed=2)[::-1]
    sure = np.arange(8, 0, -1)[:, None] / 100
    return _make(make_comparison, claimed, seed=4, half_width=0.001, variance=sure, ood_score=np.arange(8)[::-1])


@pytest.fixture(scope="module")
def nothing(make_comparison):
    """No change at all: the predicted cells are the control cells."""
    truth = _make(make_comparison).truth
    return Comparison(
        truth=truth,
        predicted=truth.control,
        half_widths={level: np.full(truth.mean.shape, 0.5) for level in LEVELS},
        variance=np.full(truth.mean.shape, 0.02),
        ood_score=np.zeros(8),
        novel=np.array(NOVEL),
        cells=truth.control_cells,
    )


def test_module_says_what_it_measures(module):
    assert all(isinstance(measure.metric, Metric) for measure in measures(module))
    assert len(module.__doc__.strip().splitlines()) > 3, "formula and source"
    assert dataclasses.is_dataclass(module.Config)
    assert module.Config.__dataclass_params__.frozen
    for field in dataclasses.fields(module.Config):
        assert re.search(rf"\b{field.name}: ", module.Config.__doc__), f"unit of {field.name}"


def test_module_is_named_after_its_ids(module):
    stem = module.__name__.rsplit(".", 1)[1]
    for measure in measures(module):
        room, name = measure.metric.id.split("@")[0].split(".")
        name = name if room == "perturbcast" else f"{room}_{name}"
        # a family is named after what its members share; two forms of one correlation are one family
        assert name.startswith(stem) or (stem, name[:23]) == ("scperturbench_pearson", "scperturbench_pcc_delta")


def test_ids_are_unique():
    ids = [measure.metric.id for name in NAMES for measure in measures(catalog.load("metrics", name))]
    assert len(set(ids)) == len(ids)


def test_a_member_of_a_family_says_what_sets_it_apart(module):
    configs = [measure.config for measure in measures(module)]
    assert len(set(configs)) == len(configs)


def test_perfect_prediction_reaches_the_optimum(measure, perfect):
    scores = measure.score(perfect)
    assert scores.shape == (8,)
    optimum = measure.of_rule(measure.metric.optimum, perfect)
    # a perfect mean lies in every interval, whatever the interval promises
    of_intervals = {"coverage": 1.0, "interval_width": 1.0, "interval_ece": np.mean([1 - level for level in LEVELS])}
    for name, value in of_intervals.items():
        if measure.metric.id.startswith(f"perturbcast.{name}"):
            optimum = np.full(8, value)
    asked = ~np.isnan(scores)
    if measure.metric.id == "gears.genetic_interaction_magnitude@1":
        assert asked.tolist() == [label == "P0+P1" for label in LABELS], "the one double"
    else:
        assert asked.all()
    np.testing.assert_allclose(scores[asked], optimum[asked], atol=1e-9)


def test_worse_prediction_scores_worse(measure, perfect, wrong):
    def off(comparison):
        scores = measure.score(comparison)
        if callable(measure.metric.optimum):
            return float(np.nanmean(np.abs(scores - measure.of_rule(measure.metric.optimum, comparison))))
        return measure.metric.loss(float(np.nanmean(scores)))

    if measure.metric.id.startswith("perturbcast.interval_width"):
        assert off(wrong) < off(perfect), "the intervals of the wrong prediction are narrower, and hold nothing"
    elif measure.metric.id == "perturbcast.coverage_50@1":
        assert np.nanmean(measure.score(wrong)) < 0.1, (
            "an interval that never holds is as far off as one that always does"
        )
    elif measure.metric.id == "celleval.de_nsig_counts_real@1":
        assert off(wrong) == off(perfect) == 0.0, "a number of the truth alone"
    else:
        assert off(wrong) > off(perfect) + 0.004


def test_prediction_of_no_change_is_scored_without_nan(measure, nothing, perfect):
    scores = measure.score(nothing)
    asked = ~np.isnan(measure.score(perfect))
    assert np.isfinite(scores[asked]).all(), "what is excluded depends on the truth alone"
    chance = measure.metric.chance
    against_another_reference = "pearson_delta_perturbed" in measure.metric.id
    if chance is not None and not against_another_reference:
        expected = measure.of_rule(chance, nothing)
        if measure.metric.id.startswith(("systema.centroid_accuracy", "celleval.discrimination_score_l")):
            # truths are ranked by their distance to one point: exactly chance on average over the conditions
            scores, expected = scores.mean(), expected.mean()
        np.testing.assert_allclose(scores, expected, atol=1e-12)


def test_no_prediction_gives_an_infinite_or_missing_score(measure, wrong, perfect):
    asked = ~np.isnan(measure.score(perfect))
    assert np.isfinite(measure.score(wrong)[asked]).all()


def test_repeating_gives_the_same_values(measure, make_comparison):
    first, again = (measure.score(_make(make_comparison, _effects(seed=2), seed=4)) for _ in range(2))
    np.testing.assert_array_equal(first, again)


@pytest.mark.parametrize("name", PANELS)
def test_panels_name_modules_that_exist(name):
    modules = list(dict.fromkeys(measure.module.__name__.rsplit(".", 1)[1] for measure in panel(name)))
    assert modules == list(PANELS[name])
    if name not in ("spine", "signatures"):
        room = "perturbcast" if name == "uncertainty" else name
        assert all(measure.metric.id.startswith(f"{room}.") for measure in panel(name))


def test_the_panel_of_all_holds_every_metric_once():
    assert sorted(measure.metric.id for measure in panel("all")) == sorted(MEASURES)


def test_unknown_panel_lists_the_known():
    with pytest.raises(UsageError, match=r"'nope' is unknown\. Known: spine, perturbench, .*, all\."):
        panel("nope")


def test_unknown_metric_id_lists_the_known():
    with pytest.raises(UsageError, match=r"'mae' is unknown\. Known: .*celleval\.mae@1"):
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


def test_a_metric_without_one_optimum_ranks_nothing():
    with pytest.raises(ValueError, match=r"one optimum; that of celleval\.de_nsig_counts_pred@1 differs"):
        metric("celleval.de_nsig_counts_pred@1").loss(3.0)


def test_a_metric_of_cells_says_so_where_there_are_none(make_comparison):
    with pytest.raises(ValueError, match="the comparison holds means only"):
        MEASURES["celleval.roc_auc@1"].score(make_comparison(delta=np.eye(3)))
