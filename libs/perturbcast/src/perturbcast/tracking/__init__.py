"""MLflow runs and registry."""

from perturbcast.tracking.curves import CurvesRun, log_curves
from perturbcast.tracking.registry import (
    DEFAULT_URI,
    FoldModel,
    ModelRun,
    ResolvedModel,
    connect,
    current_version,
    log_run,
    name_champion,
    resolve,
)

__all__ = [
    "DEFAULT_URI",
    "CurvesRun",
    "FoldModel",
    "ModelRun",
    "ResolvedModel",
    "connect",
    "current_version",
    "log_curves",
    "log_run",
    "name_champion",
    "resolve",
]
