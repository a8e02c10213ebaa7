"""Mean shifts in a latent space of cells: what scGen does, with principal components for the autoencoder.

The latent space is spanned by the first principal axes of all train cells. A perturbation shifts every cell by the mean
difference of its cells' latent positions from those of matched controls: of the same context where train holds it, else
the mean over train contexts. A combination that train does not hold shifts by the sum over its targets. The shift is
decoded and added to the cell as it is; what a cell holds outside the space is never taken away, so no shift means no
change. Against the mean delta it removes what lies outside the space, sampling noise and response alike.

Variance: as for the mean delta, the spread of train deltas around the decoded shifts (of the condition itself, of the
same perturbation in other contexts, of all conditions); sampling error is in them, and added to the first.

Source: Lotfollahi, Wolf and Theis 2019 (scGen), the vector arithmetic of equation 7.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Self

import numpy as np

from perturbcast.features import principal_axes
from perturbcast.models.interface import Response, TrainingSet
from perturbcast.models.spread import effect_variance, sampling_variance
from perturbcast.schema import Condition

__all__ = ["Config", "Model"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    """Parameters.

    Attributes:
        components: dimensions of the latent space, count; of condition profiles where there are no cells.
    """

    components: int = 20

    def __post_init__(self) -> None:
        if self.components < 1:
            raise ValueError(f"A latent space has at least one dimension; got components {self.components}.")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Model:
    """Latent axes and shifts.

    Attributes:
        axes: [gene, k] orthonormal.
        pairs: [perturbation, context] of the P train conditions.
        shift: [P, k] latent shift of each.
        own: [gene] variance of train deltas around their own decoded shift, plus sampling error.
        across_contexts: [gene] around the shift of the same perturbation in other contexts.
        across_perturbations: [gene] around the mean shift.
    """

    axes: np.ndarray
    pairs: list[list[str]]
    shift: np.ndarray
    own: np.ndarray
    across_contexts: np.ndarray
    across_perturbations: np.ndarray

    @classmethod
    def fit(cls, train: TrainingSet, config: Config, *, generator: np.random.Generator) -> Self:
        """Axes of train cells and shifts of train conditions; ``generator`` is not drawn from."""
        effects = train.effects
        if train.cells is not None:
            x, one = train.cells.x, np.zeros(train.cells.x.shape[0])
            axes = principal_axes(x, one, components=config.components)
        else:
            profiles = np.concatenate([effects.mean, effects.control])
            axes = principal_axes(profiles, np.zeros(len(profiles)), components=config.components)
        length = np.sqrt((axes**2).sum(axis=0))
        axes = axes / np.where(length > 0, length, 1)
        shift = effects.delta @ axes
        names = np.array([condition.perturbation for condition in effects.conditions])
        unique = np.unique(names)
        n = len(names)
        elsewhere = []
        for name in unique:
            rows = np.flatnonzero(names == name)
            total = shift[rows].sum(axis=0)
            elsewhere += [
                effects.delta[i] - (total - shift[i]) / (len(rows) - 1) @ axes.T for i in rows if len(rows) > 1
            ]
        overall = effect_variance(effects.delta - shift.mean(axis=0) @ axes.T, degrees=n - 1)
        return cls(
            axes=axes,
            pairs=[[condition.perturbation, condition.context] for condition in effects.conditions],
            shift=shift,
            own=effect_variance(effects.delta - shift @ axes.T, degrees=n) + sampling_variance(effects.error),
            across_contexts=effect_variance(np.array(elsewhere), degrees=len(elsewhere)) if elsewhere else overall,
            across_perturbations=overall,
        )

    def predict(self, conditions: Sequence[Condition], *, control: np.ndarray) -> Response:
        """The decoded shift of each condition."""
        shift = np.zeros((len(conditions), self.axes.shape[1]))
        variance = np.zeros_like(control, dtype=np.float64)
        notes: list[tuple[str, ...]] = []
        held = {pair[0] for pair in self.pairs}
        for i, condition in enumerate(conditions):
            parts = (condition.perturbation,) if condition.perturbation in held else condition.targets
            said: list[str] = []
            for part in parts:
                moved, spread, note = self._shift(part, condition.context)
                shift[i] += moved
                variance[i] += spread
                said += [note] if note else []
            notes.append(tuple(said))
        return Response(delta=shift @ self.axes.T, variance=variance, notes=tuple(notes))

    def _shift(self, perturbation: str, context: str) -> tuple[np.ndarray, np.ndarray, str]:
        """Latent shift [k], its variance [gene], and what a reader must know of it."""
        rows = [i for i, pair in enumerate(self.pairs) if pair[0] == perturbation]
        own = [i for i in rows if self.pairs[i][1] == context]
        if own:
            return self.shift[own[0]], self.own, ""
        if rows:
            note = f"{perturbation}: mean shift over {len(rows)} train contexts"
            return self.shift[rows].mean(axis=0), self.across_contexts, note
        note = f"{perturbation} is not in train: the mean shift of all {len(self.pairs)} train conditions stands in"
        return self.shift.mean(axis=0), self.across_perturbations, note
