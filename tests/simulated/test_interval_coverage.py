"""Conformal intervals hold what they promise on in-distribution simulated data, and are measured under shift.

Fifty screens of 24 genes, two contexts and ten knock-downs each, some 32 cells a condition. Calibration and test have
the same share of each condition's cells: an interval is about a measured delta, and fewer cells measure it worse.
"""

from __future__ import annotations

import functools

import numpy as np
import pytest

from perturbcast import catalog
from perturbcast.evaluation.curves import interval_curve
from perturbcast.metrics import Comparison, Truth
from perturbcast.schema import PerturbationData, content_hash
from perturbcast.simulation import ScreenConfig, design
from perturbcast.simulation.cells import draw_cells
from perturbcast.splits import make
from perturbcast.stores import control_means, effects
from perturbcast.training import fit

pytestmark = pytest.mark.slow

SEEDS = range(50)
LEVELS = (0.5, 0.8, 0.9, 0.95)
SHARES = {"validation": 0.1, "calibration": 0.3, "test": 0.3}


@functools.cache
def _cells(seed, contexts):
    """A simulated screen without its truth, which takes most of the time and is not looked at here."""
    screen = design(
        ScreenConfig(nodes=24, contexts=contexts, perturbations=10, combinations=0, cells=400 * contexts, seed=seed)
    )
    drawn = draw_cells(screen)
    meta = {"dataset": "simulated", "scale": "log1p(counts per 10 000)", "unit": "cell"}
    meta["content_hash"] = content_hash(drawn.x, screen.genes, drawn.obs)
    return PerturbationData(x=drawn.x, genes=screen.genes, obs=drawn.obs, meta=meta)


def _curve(fitted, data, *, cells, conditions):
    """Coverage of each level on the named conditions, as measured by ``cells``."""
    measured = effects(data, cells=cells, conditions=conditions)
    answer = fitted.predict(conditions, control_means=control_means(data))
    comparison = Comparison(
        truth=Truth.of(measured), predicted=measured.control + answer.delta, half_widths=answer.intervals
    )
    curve = interval_curve(comparison)
    assert tuple(row["level"] for row in curve) == LEVELS
    return [row["coverage"] for row in curve]


def _fit(model, data, seed):
    fold = make(data, "in_distribution", config=catalog.configure("splits", "in_distribution", SHARES), seed=seed)[0]
    return fold, fit(data, fold, kind=model, plugin=model, config=catalog.configure("models", model, {}), seed=seed)


@functools.cache
def _coverage(model):
    """Covered share [seed, level] of held-out cells of the conditions that train holds."""
    curves = []
    for seed in SEEDS:
        data = _cells(seed, 2)
        fold, fitted = _fit(model, data, seed)
        curves.append(_curve(fitted, data, cells=fold.parts["test"], conditions=fold.conditions["test"]))
    return np.array(curves)


@pytest.mark.parametrize("model", ["control", "mean_delta"])
@pytest.mark.parametrize("level", LEVELS)
def test_coverage_is_within_two_points_of_the_level_over_fifty_seeds(model, level):
    covered = _coverage(model)[:, LEVELS.index(level)]
    assert covered.mean() == pytest.approx(level, abs=0.02)
    assert covered.std(ddof=1) / np.sqrt(len(covered)) < 0.005, "fifty seeds can tell two points from none"


def test_under_context_shift_the_curve_shows_that_the_promise_is_broken():
    """Calibrated on two contexts, asked about a third: the train mean carries the baselines of the wrong ones."""
    curves = []
    for seed in SEEDS[:10]:
        data = _cells(seed, 3)
        new = data.contexts[-1]
        known = data.subset(data.obs.index[data.obs["context"].astype(str) != new])
        fold, fitted = _fit("train_mean", known, seed)
        of_new = [condition for condition in data.conditions if condition.context == new]
        third = data.obs.index[::3]  # of the cells, as the test part holds
        curves.append(
            (
                _curve(fitted, data, cells=fold.parts["test"], conditions=fold.conditions["test"]),
                _curve(fitted, data, cells=third, conditions=of_new),
            )
        )
    within, shifted = np.mean(curves, axis=0)[:, LEVELS.index(0.9)]
    assert within == pytest.approx(0.9, abs=0.02)
    assert shifted < 0.85
