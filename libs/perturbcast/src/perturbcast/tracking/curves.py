"""Loss curves in MLflow: a run of what is learned step by step and is no response model (a pretrained encoder)."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Mapping, Sequence

from mlflow.entities import Metric, Param
from mlflow.tracking import MlflowClient

from perturbcast.tracking.registry import KEY, experiment_id, finished_run

__all__ = ["CurvesRun", "log_curves"]

AT_ONCE = 1000  # metrics in one call, the most that a server takes


@dataclasses.dataclass(frozen=True, kw_only=True)
class CurvesRun:
    """What one run is logged with.

    Attributes:
        experiment: name of the experiment.
        kind: name of the run.
        key: sha256 of what was learned; a run with the same key is not logged twice.
        parameters: name -> value.
        curves: metric name -> (step, value).
        tags: provenance.
    """

    experiment: str
    kind: str
    key: str
    parameters: Mapping[str, object]
    curves: Mapping[str, Sequence[tuple[int, float]]]
    tags: Mapping[str, str]


def log_curves(client: MlflowClient, run: CurvesRun) -> str:
    """Log a run and return its id; what is there already is left as it is."""
    experiment = experiment_id(client, run.experiment)
    found = finished_run(client, experiment, key=run.key)
    if found is not None:
        return str(found.info.run_id)
    made = client.create_run(experiment, run_name=run.kind, tags={**run.tags, KEY: run.key})
    run_id, time = str(made.info.run_id), made.info.start_time
    points = (Metric(name, value, time, step) for name, curve in run.curves.items() for step, value in curve)
    client.log_batch(run_id, params=[Param(name, str(value)) for name, value in sorted(run.parameters.items())])
    while batch := list(itertools.islice(points, AT_ONCE)):
        client.log_batch(run_id, metrics=batch)
    client.set_terminated(run_id, "FINISHED")
    return run_id
