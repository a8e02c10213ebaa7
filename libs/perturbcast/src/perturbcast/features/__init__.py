"""What is known of a perturbation before it is measured: features of genes and drugs, from one source per file."""

from perturbcast.features.axes import principal_axes
from perturbcast.features.doses import reference_doses, strengths
from perturbcast.features.perturbation_features import FeatureChoice, encode, gather, kind_signs
from perturbcast.features.target_features import TargetFeatures

__all__ = [
    "FeatureChoice",
    "TargetFeatures",
    "encode",
    "gather",
    "kind_signs",
    "principal_axes",
    "reference_doses",
    "strengths",
]
