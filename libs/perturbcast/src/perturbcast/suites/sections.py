"""What a suite and a sweep say of themselves: the sections ``suites:`` and ``sweeps:`` of params.yaml."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import pydantic

__all__ = ["Budget", "Range", "Section", "Sweep", "Training"]

Name = Annotated[str, pydantic.StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")]
Seeds = Annotated[list[Annotated[int, pydantic.Field(ge=0)]], pydantic.Field(min_length=1)]
Scalar = bool | int | float | str


class _Strict(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="forbid", frozen=True)


class Budget(_Strict):
    """What each run may spend, the same for every model.

    Attributes:
        seconds: wall clock of one run (training, prediction and scores of all folds); a run beyond it failed.
        steps: optimiser steps of a model that learns by gradient, whatever its own section says.
        samples: conditions that such a model looks at, repeats counted: steps times its batch.
    """

    seconds: float | None = pydantic.Field(default=None, gt=0)
    steps: int | None = pydantic.Field(default=None, ge=1)
    samples: int | None = pydantic.Field(default=None, ge=1)

    @pydantic.model_validator(mode="after")
    def _one_of(self) -> Budget:
        if self.steps is not None and self.samples is not None:
            raise ValueError("a budget gives steps or samples, not both: one follows from the other and the batch")
        return self


class Training(_Strict):
    """Options of ``perturbcast train`` for models that learn by gradient.

    Attributes:
        accelerator: ``cpu``, ``gpu`` or ``auto``, one process per run; None for cpu, and on SLURM for a card that the
            site file asks for.
        precision: as ``32-true``.
        checkpoint_every: steps between checkpoints; 0 for a signal only.
        graphs: folders below ``artifacts/graphs/SPLIT`` to read gene graphs from.
    """

    accelerator: Literal["cpu", "gpu", "auto"] | None = None
    precision: Literal["32-true", "bf16-mixed", "16-mixed"] = "32-true"
    checkpoint_every: int = pydantic.Field(default=0, ge=0)
    graphs: list[Name] = []


class _SplitForm(_Strict):
    dataset: str
    rule: str
    config: dict[str, Any] = {}


class _Terms(_Strict):
    """What suites and sweeps share.

    Attributes:
        datasets: dataset -> file, where it is not ``artifacts/datasets/DATASET.h5ad``.
        splits: names of ``splits:``, or name -> dataset, rule and config.
        folds: numbers of the folds to run; None for all.
        seeds: every model is trained with each, and judged by all.
        metric: what validation decides by.
        panel: set of metrics that is scored.
        bounds: score ceilings on validation too, which the share of range wants; test always has them.
        budget: of each run.
        training: of models that learn by gradient.
        finalists: how many of the best models of a split are opened on test.
    """

    datasets: dict[str, str] = {}
    splits: list[Name] | dict[Name, _SplitForm] = pydantic.Field(min_length=1)
    folds: Seeds | None = None
    seeds: Seeds = [0]
    metric: str
    panel: str = "spine"
    bounds: bool = False
    budget: Budget = Budget()
    training: Training = Training()
    finalists: int = pydantic.Field(default=1, ge=0)

    @pydantic.model_validator(mode="after")
    def _each_once(self) -> _Terms:
        for field in ("splits", "folds", "seeds"):
            given = list(getattr(self, field) or ())
            if len(set(given)) < len(given):
                raise ValueError(f"{field} name each once; got {', '.join(map(str, given))}")
        return self


class Section(_Terms):
    """A suite.

    Attributes:
        models: names of ``models:`` or of plugins, or name -> parameters (``plugin`` where the module's name differs).
    """

    models: list[Name] | dict[Name, dict[str, Any]] = pydantic.Field(min_length=1)


class Range(_Strict):
    """Numbers between two ends, both included.

    Attributes:
        low: smallest; above 0 where ``log``.
        high: largest.
        log: evenly on a logarithmic scale.
        integer: whole numbers.
    """

    low: float
    high: float
    log: bool = False
    integer: bool = False

    @pydantic.model_validator(mode="after")
    def _is_one(self) -> Range:
        if self.low >= self.high or (self.log and self.low <= 0):
            raise ValueError(f"a range goes up, and from above 0 where log; got {self.low:g} to {self.high:g}")
        if self.integer and (self.low % 1 or self.high % 1):
            raise ValueError(f"a range of whole numbers has whole ends; got {self.low:g} to {self.high:g}")
        return self


def _form(value: object) -> str:
    return "choice" if isinstance(value, list) else "range" if isinstance(value, dict | Range) else "value"


# the form decides what is checked, so that an error is of the form that was meant
Field = Annotated[
    Annotated[Scalar, pydantic.Tag("value")]
    | Annotated[list[Scalar], pydantic.Field(min_length=1), pydantic.Tag("choice")]
    | Annotated[Range, pydantic.Tag("range")],
    pydantic.Discriminator(_form),
]


class Sweep(_Terms):
    """A sweep.

    Attributes:
        models: name -> parameters: a value is fixed, a list is a choice, ``{low, high}`` a range.
        method: every point of a grid, random draws, or the tree-structured Parzen estimator of Optuna.
        trials: configurations per model, the same for each; a grid may leave it out.
        parallel: trials per model that TPE asks for before it looks at scores again.
        seed: of the draws.
    """

    models: dict[Name, dict[str, Field]] = pydantic.Field(min_length=1)
    method: Literal["grid", "random", "tpe"]
    trials: int | None = pydantic.Field(default=None, ge=1)
    parallel: int = pydantic.Field(default=1, ge=1)
    seed: int = pydantic.Field(default=0, ge=0)

    @pydantic.model_validator(mode="after")
    def _fits(self) -> Sweep:
        if self.method != "grid" and self.trials is None:
            raise ValueError(f"method {self.method} needs trials, the number of configurations per model")
        if self.method != "tpe" and self.parallel != 1:
            raise ValueError("parallel is for method tpe; the others know all their trials at once")
        return self

    @property
    def rounds(self) -> int:
        """How often trials are drawn."""
        return 1 if self.method != "tpe" or self.trials is None else -(-self.trials // self.parallel)
