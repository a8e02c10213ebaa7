"""Simulated screens taken all the way: simulate, split, fit, predict, evaluate.

A screen holds 36 genes, 8 knock-downs and 6 pairs of them, some 25 cells a condition; 20 seeds of it are the
units that intervals are taken over, since conditions of one screen share their controls.
"""

from __future__ import annotations

import dataclasses
import functools

import numpy as np
import pytest

from perturbcast import catalog
from perturbcast.evaluation import (
    evaluate_predictions,
    mean_interval,
    summarise,
    train_profile,
)
from perturbcast.evaluation.held_out import interpolation_weight
from perturbcast.simulation import ScreenConfig, simulate
from perturbcast.splits import make
from perturbcast.stores import control_means
from perturbcast.training import fit

SEEDS = range(20)
FLOORS = ("control", "train_mean")
# a fit takes a second and not a fortieth of one: these are held to fewer screens
BY_GRADIENT = tuple(n for n in catalog.names("models") if getattr(catalog.load("models", n), "BY_GRADIENT", False))
PARAMETERS = {"unseen_combination": {"folds": 2}, "unseen_perturbation": {"folds": 2}}
CLOSED_FORM = tuple(name for name in catalog.names("models") if name not in BY_GRADIENT)


@functools.cache
def _simulate(seed, changes):
    sane = {"nodes": 36, "contexts": 4, "perturbations": 8, "combinations": 6, "cells": 1800, "truth_draws": 1024}
    return simulate(ScreenConfig(**{**sane, **dict(changes)}, seed=seed))[0]


def _mixed_up(prediction, generator):
    """The same answers, handed to the conditions of the same context in random order."""
    contexts = np.array([condition.context for condition in prediction.conditions])
    rows = np.arange(len(contexts))
    for context in np.unique(contexts):
        own = np.flatnonzero(contexts == context)
        rows[own] = generator.permutation(own)
    return dataclasses.replace(
        prediction,
        delta=prediction.delta[rows],
        variance=prediction.variance[rows],
        intervals={level: half[rows] for level, half in prediction.intervals.items()},
    )


def _loss(entry):
    if entry["direction"] == "target":
        return abs(entry["value"] - entry["optimum"])
    return entry["value"] if entry["direction"] == "lower" else -entry["value"]


@functools.cache
def _folds(rule, seed, changes):
    config = catalog.configure("splits", rule, PARAMETERS.get(rule, {}))
    return make(_simulate(seed, changes), rule, config=config, seed=seed)


@functools.cache
def _predictions(model, rule, seed, changes):
    """Answers to the test conditions of each fold."""
    data = _simulate(seed, changes)
    controls = control_means(data)
    answers = []
    for fold in _folds(rule, seed, changes):
        config = catalog.configure("models", model, {})
        fitted = fit(data, fold, kind=model, plugin=model, config=config, seed=seed)
        conditions = fold.conditions["test"]
        inputs = {condition.context: controls[condition.context] for condition in conditions}
        answers.append(fitted.predict(conditions, control_means=inputs))
    return answers


@functools.cache
def _losses_of(models, rule, seed, mixed_up, changes, panel_name):
    """Model -> metric id -> (loss, entry of metrics.json) over the test conditions of all folds, scored in one pass."""
    data, scored = _simulate(seed, changes), {model: [] for model in models}
    for k, fold in enumerate(_folds(rule, seed, changes)):
        answers = {model: _predictions(model, rule, seed, changes)[k] for model in models}
        if mixed_up:
            answers = {m: _mixed_up(answer, np.random.default_rng([seed, k])) for m, answer in answers.items()}
        given = {"cells": fold.parts["test"], "train_mean": None, "panel_name": panel_name, "bounds": False}
        for model, found in evaluate_predictions(data, answers, **given).items():
            scored[model].append(found.scored)
    return {
        model: {
            name: (_loss(entry), entry)
            for name, entry in summarise(folds).metrics.items()
            if entry["value"] is not None
        }
        for model, folds in scored.items()
    }


def _losses(model, rule, seed, mixed_up, changes, panel_name="spine"):
    together = (model,) if model in BY_GRADIENT else CLOSED_FORM
    return _losses_of(together, rule, seed, mixed_up, changes, panel_name)[model]


@functools.cache
def _bounded(model, rule, seed, changes):
    """The entries of metrics.json over the test conditions of all folds, ceilings and degenerate rows among them."""
    data, scored = _simulate(seed, changes), []
    for fold, prediction in zip(_folds(rule, seed, changes), _predictions(model, rule, seed, changes), strict=True):
        profile = train_profile(data, cells=fold.parts["train"], conditions=fold.conditions["train"])
        validation = {"cells": fold.parts["validation"], "conditions": fold.conditions["validation"]}
        weight = interpolation_weight(data, **validation, train_mean=profile, seed=seed)
        given = {"cells": fold.parts["test"], "train_mean": profile, "weight": weight, "seed": seed}
        scored.append(evaluate_predictions(data, {model: prediction}, **given)[model].scored)
    return summarise(scored).metrics


@dataclasses.dataclass(frozen=True, kw_only=True)
class Screens:
    """Twenty screens under one rule; losses are metric values turned so that smaller is better."""

    rule: str
    changes: tuple[tuple[str, object], ...]

    seeds = SEEDS
    models = CLOSED_FORM
    learned = tuple(name for name in models if name not in (*FLOORS, "truth"))
    by_gradient = BY_GRADIENT

    def entries(self, model, seed, panel_name="spine"):
        """Metric id -> (loss, entry of metrics.json) of one screen."""
        return _losses(model, self.rule, seed, False, self.changes, panel_name)

    def bounded(self, model, seed):
        """Metric id -> entry of metrics.json with ceilings and degenerate rows, of one screen."""
        return _bounded(model, self.rule, seed, self.changes)

    def losses(self, model, metric, *, mixed_up=False, seeds=SEEDS):
        """Loss [seed], the mean over test conditions of each screen."""
        return np.array([_losses(model, self.rule, s, mixed_up, self.changes)[metric][0] for s in seeds])

    def chance(self, metric, *, seeds=SEEDS):
        """Chance value [seed]."""
        return np.array([self.entries("control", seed)[metric][1]["chance"] for seed in seeds])


@pytest.fixture(scope="session")
def screens():
    """Factory: ``screens(rule, **changes of ScreenConfig)``; equal ones are computed once."""
    return lambda rule, **changes: Screens(rule=rule, changes=tuple(sorted(changes.items())))


@pytest.fixture(scope="session")
def interval():
    """Interval of a mean over seeds, so wide that ``of`` of them hold at once 95 times in 100 (Bonferroni)."""
    return lambda values, of=1: mean_interval(values, seed=0, level=1 - 0.05 / of, resamples=100_000)
