"""A fitted model with what a prediction needs beside it: genes, stored controls, calibration, what train held.

The ``predict`` stage and the prediction service answer through the same method, so that their numbers are equal.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
import scipy.sparse as sp

from perturbcast.calibration import Calibration, Support
from perturbcast.errors import UnanswerableError
from perturbcast.models import ResponseModel
from perturbcast.schema import CONTROL, Condition, Prediction

__all__ = ["TrainedModel"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainedModel:
    """One model fitted on one fold of one split.

    Attributes:
        model: the fitted response model.
        kind: its name in params.yaml; ``plugin`` is the module it is built from.
        parameters: the fields of its ``Config``.
        genes: G genes; every row it predicts is in this order.
        control_means: context -> stored control mean [gene] of train contexts.
        train_conditions: conditions that it was fitted on.
        calibration: interval factors.
        control_cells: context -> control cells of train [cell, gene], some of those that ``control_means`` is over; a
            model that was saved without any has none.
        encoder: sha256 of the pretrained encoder that it reads; empty without one.
        fingerprint: sha256 over data, split, config, weights and code; empty until saved.
    """

    model: ResponseModel
    kind: str
    plugin: str
    parameters: Mapping[str, Any]
    seed: int
    dataset: str
    dataset_hash: str
    split_hash: str
    fold: int
    scale: str
    preprocessing: tuple[str, ...]
    genes: tuple[str, ...]
    control_means: Mapping[str, np.ndarray]
    train_conditions: tuple[Condition, ...]
    calibration: Calibration
    control_cells: Mapping[str, sp.csr_matrix] = dataclasses.field(default_factory=dict)
    encoder: str = ""
    fingerprint: str = ""

    @property
    def levels(self) -> tuple[float, ...]:
        """Interval levels that calibration offers."""
        return tuple(sorted(self.calibration.factors))

    @functools.cached_property
    def _support(self) -> Support:
        return Support.of(self.train_conditions, control_means=self.control_means)

    def predict(
        self,
        conditions: Sequence[Condition],
        *,
        control_means: Mapping[str, np.ndarray] | None = None,
        levels: Collection[float] | None = None,
    ) -> Prediction:
        """Predict conditions, one row each, in the order asked.

        Args:
            conditions: perturbed conditions; repeats are allowed.
            control_means: context -> control mean [gene] in the model's units and gene order; a context that is
                not in it uses the stored controls of train.
            levels: of the intervals that are wanted, of those that calibration offers; None for all.

        Raises:
            UnanswerableError: a condition is unperturbed, or its context has no controls given or stored.
            ValueError: a control mean has the wrong shape or is not finite.
        """
        given = dict(control_means or {})
        for name, mean in given.items():
            if mean.shape != (len(self.genes),) or not np.isfinite(mean).all():
                raise ValueError(
                    f"A control mean is finite and has one value per gene ({len(self.genes)}); that of {name!r} has "
                    f"shape {mean.shape}. Give the mean over control cells in the model's gene order."
                )
        means = {**self.control_means, **given}
        for condition in conditions:
            if condition.perturbation == CONTROL:
                raise UnanswerableError(
                    f"A prediction is asked for a perturbation; {str(condition)!r} is none. "
                    "Leave it out: its delta is 0."
                )
            if condition.context not in means:
                raise UnanswerableError(
                    f"A prediction starts from control cells of its context; {condition.context!r} was not in training "
                    f"({', '.join(sorted(self.control_means))}) and no control cells were given. Give them."
                )
        genes = len(self.genes)
        control = np.array([means[c.context] for c in conditions], dtype=np.float64).reshape(len(conditions), genes)
        response = self.model.predict(conditions, control=control)
        support = self._support
        return Prediction(
            conditions=tuple(conditions),
            genes=self.genes,
            delta=response.delta,
            variance=response.variance,
            control=control,
            intervals=self.calibration.half_widths(response.variance, control=control, levels=levels),
            seen=np.array(
                [
                    [c.perturbation in support.labels, c.context in support.contexts, c in support.conditions]
                    for c in conditions
                ],
                dtype=bool,
            ).reshape(len(conditions), 3),
            notes=response.notes,
            model=self.fingerprint,
            ood_score=support.distance(conditions, control=control),
            kind=self.kind,
            seed=self.seed,
        )
