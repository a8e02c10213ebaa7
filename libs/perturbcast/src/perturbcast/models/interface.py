"""What a response model is given, what it answers, and how it is kept.

A model module declares ``Config`` (frozen, keyword-only) and ``Model`` (a frozen dataclass whose fields are
float arrays or JSON values, so that every model is saved and loaded in one way, without pickles).

Axes: C conditions asked for, P conditions fitted, G genes.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol, Self

import numpy as np

from perturbcast.encoders import Encoder
from perturbcast.graphs import GeneGraph
from perturbcast.schema import Condition, PerturbationData
from perturbcast.stores import Effects

__all__ = ["Response", "ResponseModel", "TrainingSet", "Validation", "from_state", "to_state"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Validation:
    """Held-out conditions that early stopping looks at.

    Attributes:
        effects: their measured effects; a model reads conditions and controls.
        metric: name of the metric.
        values: predicted delta [condition, gene] -> the metric [condition], NaN where undefined.
        loss: turns a value of the metric by its own direction, so that smaller is better.
    """

    effects: Effects
    metric: str
    values: Callable[[np.ndarray], np.ndarray]
    loss: Callable[[float], float]

    def score(self, delta: np.ndarray) -> tuple[float, float]:
        """Loss and value of a prediction: the mean over conditions where the metric is defined.

        Raises:
            ValueError: it is defined for none.
        """
        values = self.values(delta)
        if np.isnan(values).all():
            raise ValueError(
                f"Early stopping needs a defined value; {self.metric} is undefined on all {len(values)} validation "
                "conditions. Stop by another metric."
            )
        value = float(np.nanmean(values))
        return self.loss(value), value


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainingSet:
    """Everything a model may fit: effects and cells of the train part, and nothing of any other part.

    Attributes:
        effects: measured effects of the P train conditions.
        truth: ``uns["truth"]`` of a simulated dataset; only the oracle reads it.
        cells: the cells of the train part, controls included; None where effects are all there is.
        graphs: gene graphs over the genes of ``effects``, by name; those made from cells know train cells only.
        encoder: pretrained on unperturbed cells, none of which is held out; None for a model that reads none.
        ood_axes: what will be new in the conditions asked about: ``context``, ``perturbation``, ``combination``.
        validation: what a model may stop by; never fitted.
        learner: trains a network, where a model has one; None for the plain loop in this process.
    """

    effects: Effects
    truth: Mapping[str, Any] | None = None
    cells: PerturbationData | None = None
    graphs: Mapping[str, GeneGraph] = dataclasses.field(default_factory=dict)
    encoder: Encoder | None = None
    ood_axes: tuple[str, ...] = ()
    validation: Validation | None = None
    learner: Callable[[Any], None] | None = None

    def __post_init__(self) -> None:
        if self.cells is not None and self.cells.genes != self.effects.genes:
            raise ValueError(
                "Cells and effects of a training set stand in one gene order; these differ. "
                "Compute the effects from these cells."
            )
        for graph in self.graphs.values():
            graph.check_genes(self.effects.genes)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Response:
    """Answer of a model before calibration.

    Attributes:
        delta: [condition, gene] predicted delta in the units of X.
        variance: [condition, gene] variance of the measured delta around the prediction.
        notes: per condition, which fallback was used.
    """

    delta: np.ndarray
    variance: np.ndarray
    notes: tuple[tuple[str, ...], ...]


class ResponseModel(Protocol):
    """A fitted model. Rows of a prediction do not depend on each other."""

    @classmethod
    def fit(cls, train: TrainingSet, config: Any, *, generator: np.random.Generator) -> Self:
        """Fit on train effects; every random draw comes from ``generator``."""
        ...

    def predict(self, conditions: Sequence[Condition], *, control: np.ndarray) -> Response:
        """Answer ``conditions`` given their control means ``control`` [condition, gene]."""
        ...


def to_state(model: Any) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Arrays and JSON values of a fitted model, by field name."""
    fields = {field.name: getattr(model, field.name) for field in dataclasses.fields(model)}
    arrays = {name: np.ascontiguousarray(value) for name, value in fields.items() if isinstance(value, np.ndarray)}
    return arrays, {name: value for name, value in fields.items() if name not in arrays}


def from_state(cls: type[Any], arrays: Mapping[str, np.ndarray], values: Mapping[str, Any]) -> Any:
    """The model again; refuses a state whose fields are not the model's.

    Raises:
        ValueError: a field is missing or unknown (the state was written by other code).
    """
    fields = {field.name for field in dataclasses.fields(cls)}
    state = {**arrays, **values}
    if set(state) != fields:
        raise ValueError(
            f"A saved model has the fields of its class; missing: {sorted(fields - set(state))}, unknown: "
            f"{sorted(set(state) - fields)}. It was written by another version; train it again."
        )
    return cls(**state)
