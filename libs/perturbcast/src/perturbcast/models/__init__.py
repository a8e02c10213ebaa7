"""Response models, one file each; what they share is in ``interface`` and ``spread``."""

from perturbcast.models.interface import Response, ResponseModel, TrainingSet

__all__ = ["Response", "ResponseModel", "TrainingSet"]
