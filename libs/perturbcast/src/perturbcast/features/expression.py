"""Gene embeddings from expression: where a gene sits among the programmes in which train controls differ.

Principal axes of the control cells of the train part, each context centred. Where effects are all there is (signatures
without cells), of the profiles of train conditions. Only measured genes have such features.
"""

from __future__ import annotations

import numpy as np

from perturbcast.features.axes import principal_axes
from perturbcast.features.target_features import TargetFeatures
from perturbcast.schema import PerturbationData
from perturbcast.stores import Effects

__all__ = ["of_controls", "of_profiles"]


def of_controls(train: PerturbationData, *, components: int) -> TargetFeatures:
    """Features of every measured gene from control cells [cell, gene] of ``train``."""
    control = np.flatnonzero(train.obs["is_control"].to_numpy())
    context = train.obs["context"].astype(str).to_numpy()[control]
    return TargetFeatures(
        names=train.genes, vectors=principal_axes(train.x[control], context, components=components)
    ).scaled()


def of_profiles(effects: Effects, *, components: int) -> TargetFeatures:
    """Features of every measured gene from the perturbed means of train conditions."""
    context = np.array([condition.context for condition in effects.conditions])
    return TargetFeatures(
        names=effects.genes, vectors=principal_axes(effects.mean, context, components=components)
    ).scaled()
