"""Predictors that know nothing of a condition, or that a weak metric can be fooled by; and the guard on them.

- ``constant``: the mean profile of all measured conditions of a context, whatever is asked. It peeks at the truth, so
  that no constant is better. Undefined for a condition alone in its context, whose answer it would be.
- ``shuffled_labels``: the measured conditions of a context, each handed to another condition; undefined likewise.
- ``means_without_spread``: exact means, every cell equal to the mean.
- ``scaled_noise``: noise with each gene's measured effect size in the context.
- ``control`` and ``twisted_controls`` come from elsewhere: the first is the floor of that name, the second the model
  itself with its own controls altered, which must not be seen.

Where a metric asks whether a condition is told apart from others (``Metric.discrimination``), the constant, the
shuffled and the noise have no answer: they score chance, or the metric can be gamed and the run stops.

Axes: C conditions, G genes, N cells.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Hashable, Sequence

import numpy as np
import scipy.sparse as sp

from perturbcast.evaluation.bounds import Bounds
from perturbcast.evaluation.cells import MeasuredCells, MovedCells
from perturbcast.evaluation.replicates import Measured, generator_of
from perturbcast.metrics import Comparison, Measure, Truth
from perturbcast.metrics.descriptor import Rule

__all__ = ["Crowd", "EqualCells", "check_chance", "check_untwisted", "crowd_of", "degenerate_of", "ignorant"]

SIGMAS = 5.0  # a run of all panels on a hundred folds stops by bad luck less than once in ten thousand
SPREAD = 0.3  # standard deviation of a rank that is uniform on 0 to 1, rounded up
ROUNDING = 1e-9
LIFT = 0.1  # what leaving the perturbed gene out of a condition's own query brings to any answer, and some more


@dataclasses.dataclass(frozen=True, kw_only=True)
class EqualCells:
    """Cells without spread: each condition's mean, as many times as it has measured cells.

    Attributes:
        mean: [condition, gene].
        sizes: [condition] number of cells.
    """

    mean: np.ndarray
    sizes: Sequence[int]

    def draw(self, row: int, *, limit: int, seed: int) -> np.ndarray:
        """At most ``limit`` cells [cell, gene] float32 of condition ``row``."""
        return np.tile(self.mean[row].astype(np.float32), (min(limit, self.sizes[row]), 1))

    def matrix(self, row: int) -> sp.csr_matrix:
        """All cells [cell, gene] of condition ``row``."""
        return sp.csr_matrix(np.tile(self.mean[row], (self.sizes[row], 1)))

    def size(self, row: int) -> int:
        """Number of cells of condition ``row``."""
        return self.sizes[row]

    def key(self, row: int) -> Hashable:
        """No two conditions hold the same cells."""
        return (id(self), row)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Crowd:
    """What the conditions of a context say together: answers that need all of them, one row per condition asked.

    Attributes:
        constant: [condition, gene] mean of the measured conditions of its context.
        noise: [condition, gene] control mean and noise with each gene's measured effect size in the context.
        other: [condition] the condition (row of the truth) whose answer it is handed.
        alone: [condition] bool, no other condition is in its context.
    """

    constant: np.ndarray
    noise: np.ndarray
    other: np.ndarray
    alone: np.ndarray

    def of(self, rows: np.ndarray) -> Crowd:
        """The rows of some conditions; ``other`` still counts rows of the whole truth."""
        return Crowd(**{field.name: getattr(self, field.name)[rows] for field in dataclasses.fields(self)})


def crowd_of(truth: Truth, *, keys: Sequence[str], seed: int) -> Crowd:
    """From the means of all conditions; ``keys`` seed the draw of each."""
    constant, noise = np.empty_like(truth.mean), np.empty_like(truth.mean)
    other = np.arange(len(truth.conditions))
    for rows in truth.rows_of_contexts:
        constant[rows] = truth.mean[rows].mean(axis=0)
        size = np.sqrt((truth.delta[rows] ** 2).mean(axis=0))
        for row in rows:
            generator = generator_of(keys[row], purpose="noise", seed=seed)
            noise[row] = truth.control[row] + size * generator.standard_normal(len(size))
        context = truth.conditions[rows[0]].context
        order = generator_of(context, purpose="labels", seed=seed).permutation(rows)
        other[order] = np.roll(order, 1)  # each gets the next one's answer: none its own
    return Crowd(constant=constant, noise=noise, other=other, alone=other == np.arange(len(other)))


def degenerate_of(measured: Measured, *, seed: int) -> tuple[dict[str, Comparison], dict[str, np.ndarray]]:
    """The degenerate predictors of a truth, and the conditions that they cannot answer.

    Returns:
        Predictor -> comparison, and predictor -> [condition] bool of undefined conditions.
    """
    cells = measured.cells
    crowd = crowd_of(measured.truth, keys=cells.keys, seed=seed)
    others = crowd.other.tolist()
    handed = MeasuredCells(x=cells.x, rows=[cells.rows[k] for k in others], keys=[cells.keys[k] for k in others])
    return ignorant(measured, crowd, handed=handed, handed_mean=measured.truth.mean[crowd.other])


def ignorant(
    measured: Measured, crowd: Crowd, *, handed: MeasuredCells, handed_mean: np.ndarray
) -> tuple[dict[str, Comparison], dict[str, np.ndarray]]:
    """``degenerate_of`` where the answers are known: for some conditions of a truth as for all.

    Args:
        measured: the conditions.
        crowd: its rows of them.
        handed: cells of the condition whose answer each is handed.
        handed_mean: [condition, gene] their means.
    """
    truth = measured.truth

    def moved(mean: np.ndarray) -> Comparison:
        delta = mean - truth.control
        return Comparison(
            truth=truth,
            predicted=mean,
            cells=MovedCells(controls=measured.stand_ins, delta=delta, smallest=measured.smallest),
        )

    sizes = [len(rows) for rows in measured.cells.rows]
    found = {
        "constant": moved(crowd.constant),
        "shuffled_labels": Comparison(truth=truth, predicted=handed_mean, cells=handed),
        "means_without_spread": Comparison(
            truth=truth, predicted=truth.mean, cells=EqualCells(mean=truth.mean, sizes=sizes)
        ),
        "scaled_noise": moved(crowd.noise),
    }
    return found, {"constant": crowd.alone, "shuffled_labels": crowd.alone}


def check_chance(bounds: Bounds, *, panel: Sequence[Measure], truth: Truth) -> None:
    """Refuse to go on where a predictor without knowledge beats or misses chance at telling conditions apart.

    The constant is at chance exactly, on average over the conditions of a context. Shuffled labels and noise are within
    error; labels that no condition keeps sit ``1 / (2 (P - 1))`` beside chance for P conditions in a context, since the
    right answer is never drawn. A metric that says ``lifted`` is not asked about the constant, and has ``LIFT`` more
    for the others. Contexts whose conditions have different controls (matched by batch) are not asked: there every
    predicted delta holds its own batch, which tells conditions apart.

    Raises:
        ValueError: names the metric, the predictor, its score and chance.
    """
    shared = np.zeros(len(truth.conditions), dtype=bool)
    aside = np.full(len(truth.conditions), np.inf)
    for rows in truth.rows_of_contexts:
        shared[rows] = np.ptp(truth.control[rows], axis=0).max(initial=0.0) == 0
        aside[rows] = 1 / (2 * (len(rows) - 1)) if len(rows) > 1 else np.inf
    for measure in panel:
        metric = measure.metric
        if metric.discrimination is None or metric.id not in bounds.metrics:
            continue
        of_metric = bounds.metrics[metric.id].degenerate
        for name in ("constant", "shuffled_labels", "scaled_noise"):
            if name not in of_metric or (name == "constant" and metric.discrimination == "lifted"):
                continue
            chance = measure.of_rule(_chance(measure), Comparison(truth=truth, predicted=truth.mean))
            defined = shared & ~np.isnan(of_metric[name]) & ~np.isnan(chance)
            n = int(defined.sum())
            if n == 0:
                continue
            allowed = ROUNDING
            if name != "constant":
                allowed += SIGMAS * SPREAD / np.sqrt(n) + float(aside[defined].mean())
            if metric.discrimination == "lifted":
                allowed += LIFT
            score, expected = float(of_metric[name][defined].mean()), float(chance[defined].mean())
            if abs(score - expected) > allowed:
                raise ValueError(
                    f"A predictor that knows nothing of a condition tells conditions apart at chance; {metric.id} "
                    f"gives {name!r} {score:.6g} where chance is {expected:.6g} (allowed: {allowed:.2g} apart, "
                    f"{n} conditions). The metric can be gamed: mend {measure.module.__name__}, or leave it out of "
                    "the panel."
                )


def _chance(measure: Measure) -> float | Rule:
    if measure.metric.chance is None:
        raise ValueError(
            f"A metric that tells conditions apart has a chance value; {measure.metric.id} declares none. "
            f"Give it in {measure.module.__name__}."
        )
    return measure.metric.chance


def check_untwisted(plain: Comparison, twisted: Comparison) -> None:
    """Refuse a comparison that looks at the prediction's own controls.

    Args:
        plain: made from the prediction.
        twisted: made from the same prediction with its own controls altered.

    Raises:
        ValueError: they differ, so that scores could be bought with controls.
    """
    fields = ("predicted", "variance", "ood_score", "novel")
    same = all(np.array_equal(getattr(plain, name), getattr(twisted, name)) for name in fields)
    if isinstance(plain.cells, MovedCells) and isinstance(twisted.cells, MovedCells):
        same = same and np.array_equal(plain.cells.delta, twisted.cells.delta)
    same = same and list(plain.half_widths) == list(twisted.half_widths)
    same = same and all(np.array_equal(plain.half_widths[k], twisted.half_widths[k]) for k in plain.half_widths)
    if not same:
        raise ValueError(
            "A prediction's own controls play no part in its scores; with altered controls the comparison came out "
            "different. Build it from the predicted delta and the measured controls alone."
        )
