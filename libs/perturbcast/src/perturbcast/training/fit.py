"""Fits one model on one fold: effects of train cells, fit, conformal calibration on calibration cells.

Nothing here can reach a test cell: the data is cut to train, calibration and their controls before anything
is computed.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from perturbcast import catalog
from perturbcast.calibration import Calibration, calibrate
from perturbcast.encoders import Encoder
from perturbcast.graphs import GeneGraph
from perturbcast.models import TrainingSet, Validation
from perturbcast.schema import PerturbationData, Split
from perturbcast.stores import CellFile, control_means, effects
from perturbcast.stores.cell_sample import sample
from perturbcast.training import stored_controls
from perturbcast.training.trained_model import TrainedModel

__all__ = ["fit"]


def fit(
    data: PerturbationData | CellFile,
    split: Split,
    *,
    kind: str,
    plugin: str,
    config: Any,
    seed: int,
    graphs: Sequence[GeneGraph] = (),
    encoder: Encoder | None = None,
    validation: Validation | None = None,
    learner: Callable[[Any], None] | None = None,
) -> TrainedModel:
    """Fit ``plugin`` with ``config`` on the train part and calibrate it.

    Args:
        data: the dataset that the split was made for, in memory or on disk. On disk, effects come from passes over the
            file, and a model that looks at cells is given a sample of the train part.
        split: one frozen fold.
        kind: the model's name in params.yaml.
        plugin: module in ``models/``.
        config: its ``Config``.
        seed: decides every draw of the fit.
        graphs: gene graphs that the model may use; matched to the data's genes by name.
        encoder: of the control state, pretrained on cells of which the fold holds none out.
        validation: what a model that learns by gradient stops by; the others have no use for it.
        learner: what trains a network; None for the plain loop in this process.

    Raises:
        ValueError: a graph covers too few of the data's genes, or was made from cells of another fold; the encoder has
            seen a cell that the fold holds out, or the data has too few of its genes.
    """
    for graph in graphs:
        made_from = graph.provenance.get("cells_sha256")
        if made_from not in (None, split.barcode_hashes["train"]):
            raise ValueError(
                f"A graph that was made from cells knows the train cells of its own fold only; {graph.name!r} was made "
                f"from other cells than the train part of fold {split.fold}. Build it for this split with "
                "'perturbcast graph build --split'."
            )
    if encoder is not None:
        encoder.check_has_not_seen(split, data.meta)
    train = data.subset(split.parts["train"])
    measured = effects(train, cells=split.parts["train"], conditions=split.conditions["train"])
    generator = np.random.default_rng([seed, split.fold])
    model = catalog.load("models", plugin).Model.fit(
        TrainingSet(
            effects=measured,
            truth=data.truth,
            cells=sample(train, seed=seed) if isinstance(train, CellFile) else train,
            graphs={graph.name: graph.matched(data.genes) for graph in graphs},
            encoder=encoder,
            ood_axes=split.ood_axes,
            validation=validation,
            learner=learner,
        ),
        config,
        generator=generator,
    )
    fitted = TrainedModel(
        model=model,
        kind=kind,
        plugin=plugin,
        parameters=dataclasses.asdict(config),
        seed=seed,
        dataset=data.dataset,
        dataset_hash=data.hash,
        split_hash=split.hash,
        fold=split.fold,
        scale=str(data.meta["scale"]),
        preprocessing=tuple(map(str, data.meta.get("preprocessing", ()))),
        genes=data.genes,
        control_means=control_means(train),
        control_cells=stored_controls.draw(train.obs, train.rows),
        train_conditions=split.conditions["train"],
        encoder="" if encoder is None else encoder.hash,
        calibration=Calibration(factors={}, edges=(), pairs=(), conditions=(), cells_sha256="", origin=""),
    )
    return dataclasses.replace(fitted, calibration=_calibrate(fitted, data, split))


def _calibrate(fitted: TrainedModel, data: PerturbationData | CellFile, split: Split) -> Calibration:
    cells = split.parts["calibration"]
    visible = data.subset([*cells, *split.parts["train"], *split.parts["control_input"]])
    measured = effects(visible, cells=cells, conditions=split.conditions["calibration"])
    answer = fitted.predict(measured.conditions, control_means=control_means(visible))
    return calibrate(
        measured=measured.delta,
        predicted=answer.delta,
        variance=answer.variance,
        control=answer.control,
        train_control=np.array(list(fitted.control_means.values())),
        conditions=measured.conditions,
        cells=cells,
        forbidden=[*split.parts["train"], *split.parts["validation"], *split.parts["test"]],
        origin=f"part 'calibration' of split {split.hash}",
    )
