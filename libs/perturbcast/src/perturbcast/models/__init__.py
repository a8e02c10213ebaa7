"""Response models, one file each; what they share is in ``interface`` and ``spread``."""

from perturbcast.models.interface import Response, ResponseModel, TrainingSet, Validation

__all__ = ["Response", "ResponseModel", "TrainingSet", "Validation"]
