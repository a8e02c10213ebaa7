"""How good a prediction can be on these cells: the data themselves as the prediction.

- ``split_half``: the mean and cells of one half of a condition's cells predict the other half. Both have twice the
  sampling variance of the whole, so that a model that knows the true mean can do better than this ceiling; it is what
  an experiment repeated at half the size would score.
- ``interpolated``: the mean of the first half is shrunk towards the train mean, ``w * half + (1 - w) * train``,
  which is what makes a noisy replicate a good prediction. ``w`` minimises the squared error over the validation
  conditions of the fold (in closed form), whatever part is scored; test cells take no part in it. The cells are
  those of the half, moved.
- ``resampled``: the measured effect as the prediction of a truth drawn anew from its own cells and controls, with
  replacement. Between a truth with true effect D and measured effect d = D + e, an oracle is off by e; here d is off
  by e*, of the same variance (a (n - 1) / n part of it). So errors (RMSE, MAE) of this ceiling are those of an
  oracle. Where a score also depends on how large effects are beside the noise (correlations, ranks, overlaps), the
  measured effects are larger than the true ones by their own noise, so that the ceiling lies above an oracle. Cells
  that are drawn twice bring distances of 0, so that distances between distributions are low as well.

  A set of significant genes (``perturbcast.de_overlap_top50``) is the exception: noisy effects, measured once more,
  have more genes just beyond the threshold, so that an oracle can lie some 5 % of the range above this ceiling.

  Of two samples of cells ``perturbcast.energy_distance`` is 0 on average whatever their size; there ``split_half``
  bounds the oracle, and the repeated cells of a resampled truth make it a little worse.

The best of the three by a metric's own loss is the 1 of its share of range.

Axes: C conditions, G genes.
"""

from __future__ import annotations

import numpy as np

from perturbcast.evaluation.cells import MovedCells
from perturbcast.evaluation.replicates import Halves, Measured, replicate
from perturbcast.metrics import Comparison

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
    measured: Measured, divided: Halves, *, weight: float | None, seed: int
) -> tuple[dict[str, Comparison], dict[str, np.ndarray]]:
    """The ceilings of a truth, and the conditions that they cannot answer.

    Args:
        measured: the truth and its cells.
        divided: its halves.
        weight: of the half in ``interpolated``, from validation; None leaves it out.
        seed: of the bootstrap.

    Returns:
        Ceiling -> comparison, and ceiling -> [condition] bool of undefined conditions.
    """
    truth, other = measured.truth, divided.truth
    again = replicate(measured, seed=seed)
    predicted = truth.mean + (again.control - truth.control) if measured.relative else truth.mean
    found = {
        "split_half": Comparison(truth=other, predicted=divided.first_mean, cells=divided.first),
        "resampled": Comparison(truth=again, predicted=predicted, cells=measured.cells),
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
