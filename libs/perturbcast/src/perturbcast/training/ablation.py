"""What each part of ``cgio`` is worth: one change at a time, scored on validation against the whole model.

A part is switched off, replaced or added; everything else, the folds and the seeds stay. The difference is paired over
validation conditions, each the mean over seeds, so that how hard a condition is does not count. Test is not looked at.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from perturbcast import catalog
from perturbcast.encoders import Encoder
from perturbcast.graphs import GeneGraph
from perturbcast.schema import PerturbationData, Split
from perturbcast.stores import control_means
from perturbcast.training.fit import fit
from perturbcast.training.validation import STOP_BY, held_out

__all__ = ["WHOLE", "Row", "ablate", "variants"]

WHOLE = "whole"
PLUGIN = "cgio"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Row:
    """One variant.

    Attributes:
        name: what was changed.
        fields: the fields of ``Config`` that differ from the whole model's.
        values: [condition] the metric over the validation conditions of all folds, mean over seeds.
    """

    name: str
    fields: Mapping[str, Any]
    values: np.ndarray


def variants(config: Any) -> dict[str, dict[str, Any]]:
    """Name -> changed fields of each single change that means something beside ``config``."""
    found: dict[str, dict[str, Any]] = {WHOLE: {}}
    if config.graphs:
        found["graph off"] = {"graphs": "", "shuffle": False, "gate": "none"}
        found["graph shuffled"] = {"shuffle": True}
        found |= {f"gate {kind}": {"gate": kind} for kind in ("none", "scalar", "node", "lowrank", "mlp")}
    found |= {f"context {kind}": {"context": kind} for kind in ("none", "id", "features")}
    if config.perturbation == "features":
        found["context levels"] = {"context": "levels"}
    if config.operator != "bases":
        other = {"encoder": "", "encoder_tuned": False} if config.encoder else {}
        found |= {f"state {kind}": {"state": kind, **other} for kind in ("none", "mlp", "transformer")}
    if config.encoder:
        found |= {"encoder frozen": {"encoder_tuned": False}, "encoder tuned": {"encoder_tuned": True}}
    found |= {f"adapter {kind}": {"adapter": kind} for kind in ("none", "film", "lowrank", "experts")}
    found["base off"] = {"over": ""}
    own = dataclasses.asdict(config)
    return {
        name: fields
        for name, fields in found.items()
        if name == WHOLE or any(own[field] != value for field, value in fields.items())
    }


def ablate(
    data: PerturbationData,
    folds: Sequence[Split],
    config: Any,
    *,
    seeds: Sequence[int],
    graphs: Callable[[Split], Sequence[GeneGraph]],
    encoder: Callable[[Split], Encoder | None] | None = None,
    only: Sequence[str] = (),
    metric: str = STOP_BY,
) -> Iterator[Row]:
    """One row per variant, the whole model first, each as soon as it is there.

    Args:
        data: the dataset.
        folds: folds of one split.
        config: ``Config`` of the whole model.
        seeds: of the fits.
        graphs: the graphs of a fold.
        encoder: the pretrained encoder of a fold, where the config names one.
        only: variants to run beside the whole model; all if empty.
        metric: of the validation part; also what early stopping looks at.
    """
    controls = control_means(data)
    held = [held_out(data, fold, metric=metric) for fold in folds]
    given = [(graphs(fold), None if encoder is None else encoder(fold)) for fold in folds]
    for name, fields in variants(config).items():
        if only and name not in (WHOLE, *only):
            continue
        changed = catalog.configure("models", PLUGIN, dataclasses.asdict(config) | fields)
        values = []
        for seed in seeds:
            of_seed = []
            for fold, validation, (of_fold, pretrained) in zip(folds, held, given, strict=True):
                trained = fit(
                    data,
                    fold,
                    kind=PLUGIN,
                    plugin=PLUGIN,
                    config=changed,
                    seed=seed,
                    graphs=of_fold,
                    encoder=pretrained if changed.encoder else None,
                    validation=validation,
                )
                answer = trained.predict(validation.effects.conditions, control_means=controls)
                of_seed.append(validation.values(answer.delta))
            values.append(np.concatenate(of_seed))
        yield Row(name=name, fields=fields, values=np.mean(values, axis=0))
