"""How good a prediction can be on these cells: the data themselves as the prediction.

- ``split_half``: the mean and cells of one half of a condition's cells predict the other half. Both have twice the
  sampling variance of the whole, so that a model that knows the true mean can do better than this ceiling; it is what
  an experiment repeated at half the size would score.
- ``interpolated``: the mean of the first half is shrunk towards the train mean, ``w * half + (1 - w) * train``,
  which is what makes a noisy replicate a good prediction. ``w`` minimises the squared error over the validation
  conditions of the fold (in closed form), whatever part is scored; test cells take no part in it. The cells are
  those of the half, moved.
- ``resampled``: effects of the measured size as the prediction of a truth drawn anew around them, from the measured
  cells and controls with replacement. An oracle that knows the true effect D is off by the sampling error e of the
  measured effect d = D + e; here the prediction is off by e*, of the same variance (an (n - 1) / n part of it). So
  errors (RMSE, MAE) of this ceiling are those of an oracle. Correlations, ranks and overlaps also depend on how large
  effects are beside the noise, and d is larger than D by its own noise; its variance s^2 is therefore taken out of each
  gene, ``sign(d) sqrt(max(0, d^2 - s^2))``, which on average is never smaller than D^2: the ceiling is no lower than
  an oracle, and not much higher.

Metrics of cells have the first of them alone (see ``bounds``): distances with a null of 0 between two samples of one
population, whatever their size, are bounded by it.

The best of the three by a metric's own loss is the 1 of its share of range.

Axes: C conditions, G genes.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from perturbcast.evaluation.cells import MovedCells
from perturbcast.evaluation.replicates import Halves, Measured, replicate
from perturbcast.metrics import Comparison, Truth

__all__ = ["best_weight", "ceilings_of"]


def best_weight(divided: Halves, *, train_mean: np.ndarray) -> float:
    """The weight of a half, 0 to 1, with the least squared error of the other half over conditions and genes.

    Args:
        divided: halves of the *validation* conditions.
        train_mean: [gene] mean perturbed train profile.
    """
    keep = divided.divided
    known = (divided.first_mean - train_mean)[keep]
    wanted = (divided.truth.mean - train_mean)[keep]
    size = float((known**2).sum())
    return float(np.clip((known * wanted).sum() / size, 0.0, 1.0)) if size > 0 else 1.0


def ceilings_of(
    measured: Measured, divided: Halves, *, weight: float | None, seed: int, again: Truth | None = None
) -> tuple[dict[str, Comparison], dict[str, np.ndarray]]:
    """The ceilings of a truth, and the conditions that they cannot answer.

    Args:
        measured: the truth and its cells.
        divided: its halves.
        weight: of the half in ``interpolated``, from validation; None leaves it out.
        seed: of the bootstrap.
        again: ``replicate`` of the truth where it was drawn elsewhere; None draws it.

    Returns:
        Ceiling -> comparison, and ceiling -> [condition] bool of undefined conditions.
    """
    truth, other = measured.truth, divided.truth
    again = replicate(measured, seed=seed) if again is None else again
    effect = np.sign(truth.delta) * np.sqrt(np.maximum(truth.delta**2 - truth.error, 0.0))
    again = dataclasses.replace(again, mean=again.mean - truth.delta + effect, _shared={})
    predicted = (again.control if measured.relative else truth.control) + effect
    found = {
        "split_half": Comparison(truth=other, predicted=divided.first_mean, cells=divided.first),
        "resampled": Comparison(truth=again, predicted=predicted),
    }
    if weight is not None:
        assert truth.train_mean is not None
        shift = (1 - weight) * (truth.train_mean - divided.first_mean)
        found["interpolated"] = Comparison(
            truth=other,
            predicted=divided.first_mean + shift,
            cells=MovedCells(controls=divided.first, delta=shift, smallest=measured.smallest),
        )
    return found, {name: ~divided.divided for name in found if name != "resampled"}
