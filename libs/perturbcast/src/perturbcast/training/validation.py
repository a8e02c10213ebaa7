"""The validation part as what early stopping looks at: one metric of the catalog, turned by its own direction."""

from __future__ import annotations

import numpy as np

from perturbcast.errors import UsageError
from perturbcast.metrics.comparison import Comparison, Truth
from perturbcast.metrics.descriptor import Measure
from perturbcast.metrics.panels import panel
from perturbcast.models import Validation
from perturbcast.schema import PerturbationData, Split
from perturbcast.stores import CellFile, effects

__all__ = ["STOP_BY", "held_out", "measure_to_stop_by"]

STOP_BY = "perturbench.rmse_average@1"


def measure_to_stop_by(metric: str) -> Measure:
    """A metric of the catalog that condition means suffice for.

    Raises:
        UsageError: there is no such metric, or it needs more than condition means.
    """
    by_id = {measure.metric.id: measure for measure in panel("all")}
    measure = by_id.get(metric)
    if measure is None or measure.metric.needs != "means":
        able = ", ".join(sorted(name for name, one in by_id.items() if one.metric.needs == "means"))
        raise UsageError(f"Early stopping looks at a metric of condition means; {metric!r} is none. Known: {able}.")
    return measure


def held_out(data: PerturbationData | CellFile, split: Split, *, metric: str = STOP_BY) -> Validation:
    """The validation conditions of a fold, scored by ``metric``.

    Raises:
        UsageError: there is no such metric, or it needs more than condition means.
    """
    measure = measure_to_stop_by(metric)
    cells = split.parts["validation"]
    visible = data.subset([*cells, *split.parts["train"], *split.parts["control_input"]])
    measured = effects(visible, cells=cells, conditions=split.conditions["validation"])
    truth = Truth.of(measured)

    def values(delta: np.ndarray) -> np.ndarray:
        return measure.score(Comparison(truth=truth, predicted=measured.control + delta))

    return Validation(effects=measured, metric=metric, values=values, loss=measure.metric.loss)
