"""A trained model under the name that callers use, and what the engine asks of it."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Collection, Mapping, Sequence
from typing import Protocol

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from perturbcast import schema
from perturbcast_client.messages import ModelInfo, gene_list_hash

__all__ = ["QUICK_CONDITIONS", "QUICK_S", "Model", "ServedModel", "describe"]

QUICK_CONDITIONS = 32
QUICK_S = 0.005  # as long as a thread of Python may keep the others waiting anyway (sys.getswitchinterval)


class Model(Protocol):
    """What the engine asks of a trained model; ``perturbcast.training.TrainedModel`` is one."""

    @property
    def kind(self) -> str: ...
    @property
    def dataset(self) -> str: ...
    @property
    def dataset_hash(self) -> str: ...
    @property
    def split_hash(self) -> str: ...
    @property
    def fingerprint(self) -> str: ...
    @property
    def scale(self) -> str: ...
    @property
    def genes(self) -> tuple[str, ...]: ...
    @property
    def control_means(self) -> Mapping[str, NDArray[np.float64]]: ...
    @property
    def control_cells(self) -> Mapping[str, sp.csr_matrix]: ...
    @property
    def train_conditions(self) -> tuple[schema.Condition, ...]: ...
    @property
    def levels(self) -> tuple[float, ...]: ...

    def predict(
        self,
        conditions: Sequence[schema.Condition],
        *,
        control_means: Mapping[str, NDArray[np.float64]] | None = None,
        levels: Collection[float] | None = None,
    ) -> schema.Prediction:
        """Rows in the order asked, with intervals of ``levels`` (None for all of the model's).

        Raises:
            UnanswerableError: a question that the model cannot answer.
        """
        ...


@dataclasses.dataclass(frozen=True, kw_only=True)
class ServedModel:
    """A trained model under the name that callers use.

    Attributes:
        name: registered name.
        version: registry version; empty for a model from a directory.
        aliases: names that stand for this version.
        model: the trained model.
        validation_metrics: metric id -> value at registration.
        quick: whether ``QUICK_CONDITIONS`` are answered within ``QUICK_S``, by this process, without intervals.
        quick_intervals: whether they are with all of the model's intervals.
    """

    name: str
    version: str = ""
    aliases: tuple[str, ...] = ()
    model: Model
    validation_metrics: Mapping[str, float] = dataclasses.field(default_factory=dict)
    quick: bool = False
    quick_intervals: bool = False

    @functools.cached_property
    def knows_doses(self) -> bool:
        """Whether training states doses, so that a label with one means something to the model."""
        return any(dose is not None for condition in self.model.train_conditions for dose in condition.doses)


def describe(served: ServedModel) -> ModelInfo:
    """What a caller is told of the model, in full."""
    model = served.model
    inputs = ("perturbation", "context") if model.control_means else ("perturbation", "context", "controls")
    return ModelInfo(
        name=served.name,
        version=served.version,
        aliases=served.aliases,
        kind=model.kind,
        dataset=model.dataset,
        dataset_hash=model.dataset_hash,
        split=model.split_hash,
        fingerprint=model.fingerprint,
        scale=model.scale,
        gene_count=len(model.genes),
        genes_sha256=gene_list_hash(model.genes),
        genes=model.genes,
        contexts=tuple(sorted(model.control_means)),
        perturbations=tuple(sorted({condition.perturbation for condition in model.train_conditions})),
        inputs=inputs,
        validation_metrics=served.validation_metrics,
        interval_levels=model.levels,
        stored_cells={context: cells.shape[0] for context, cells in sorted(model.control_cells.items())},
    )
