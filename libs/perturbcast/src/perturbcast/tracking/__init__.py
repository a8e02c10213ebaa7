"""MLflow runs and registry."""

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
    "FoldModel",
    "ModelRun",
    "ResolvedModel",
    "connect",
    "current_version",
    "log_run",
    "name_champion",
    "resolve",
]
