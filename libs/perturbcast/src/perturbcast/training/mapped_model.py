"""A trained model in the gene order of whoever asks: control means come in it, and answers go out in it.

Genes are matched by name. Genes of the caller that the model lacks are not answered; the model's genes that the caller
lacks are an error, because each is an input.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Collection, Mapping, Sequence

import numpy as np

from perturbcast.schema import Condition, Prediction
from perturbcast.stores.gene_order import columns_by_name
from perturbcast.training.trained_model import TrainedModel

__all__ = ["MappedModel"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class MappedModel:
    """Answers as ``own`` does, to the last bit, over columns in another order.

    Attributes:
        own: the model as it was saved, in its own gene order.
        given: the caller's genes, at least the model's, in any order.

    Raises:
        ValueError: a gene of the model is missing, or a name is given twice.
    """

    own: TrainedModel
    given: tuple[str, ...]

    def __post_init__(self) -> None:
        _ = self._columns  # refused when it is made, not when it is asked

    @functools.cached_property
    def _columns(self) -> np.ndarray:
        """Column of each of the model's genes among the given ones."""
        return columns_by_name(self.own.genes, self.given)

    @functools.cached_property
    def _order(self) -> np.ndarray:
        """The model's genes as the caller has them."""
        return np.argsort(self._columns)

    @functools.cached_property
    def genes(self) -> tuple[str, ...]:
        """The model's genes in the caller's order: the columns of every prediction."""
        return tuple(self.own.genes[i] for i in self._order)

    def predict(
        self,
        conditions: Sequence[Condition],
        *,
        control_means: Mapping[str, np.ndarray] | None = None,
        levels: Collection[float] | None = None,
    ) -> Prediction:
        """As ``TrainedModel.predict``, over ``genes``.

        Args:
            conditions: perturbed conditions; repeats are allowed.
            control_means: context -> control mean over ``given``, in the model's units; a context that is not in it
                uses the stored controls of train.
            levels: of the intervals that are wanted; None for all.

        Raises:
            UnanswerableError: as ``TrainedModel.predict``.
            ValueError: a control mean has another length than ``given``, or is not finite.
        """
        for name, mean in (control_means or {}).items():
            if mean.shape != (len(self.given),):
                raise ValueError(
                    f"A control mean has one value per gene that the model was loaded with ({len(self.given)}); that "
                    f"of {name!r} has shape {mean.shape}. Give the mean over these columns, all of them."
                )
        mapped = {name: mean[self._columns] for name, mean in (control_means or {}).items()}
        answer = self.own.predict(conditions, control_means=mapped, levels=levels)
        return dataclasses.replace(
            answer,
            genes=self.genes,
            delta=answer.delta[:, self._order],
            variance=answer.variance[:, self._order],
            control=answer.control[:, self._order],
            intervals={level: half[:, self._order] for level, half in answer.intervals.items()},
        )
