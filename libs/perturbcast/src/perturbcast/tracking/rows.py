"""One MLflow run per row of a scorecard: what was trained, how well it did on validation, what it took."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

from mlflow.entities import Metric, Param, RunTag
from mlflow.tracking import MlflowClient

from perturbcast.tracking.registry import KEY, experiment_id

__all__ = ["Row", "log_rows"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Row:
    """A row of an experiment.

    Attributes:
        name: of the run.
        key: sha256 of what it is; a run with the same key is not logged twice.
        parameters: name -> value.
        metrics: metric name -> value.
        tags: provenance.
        failed: it did not end well.
    """

    name: str
    key: str
    parameters: Mapping[str, object]
    metrics: Mapping[str, float]
    tags: Mapping[str, str]
    failed: bool


def log_rows(client: MlflowClient, name: str, rows: Sequence[Row]) -> int:
    """Log the rows that experiment ``name`` does not have yet, and return how many those were."""
    number = experiment_id(client, name)
    there: set[str] = set()
    page = client.search_runs([number], max_results=1000)
    while True:
        there |= {run.data.tags.get(KEY, "") for run in page if run.info.status in ("FINISHED", "FAILED")}
        if not page.token:
            break
        page = client.search_runs([number], max_results=1000, page_token=page.token)
    new = [row for row in rows if row.key not in there]
    for row in new:
        run = client.create_run(number, run_name=row.name)
        client.log_batch(
            run.info.run_id,
            metrics=[Metric(key, value, run.info.start_time, 0) for key, value in sorted(row.metrics.items())],
            params=[Param(key, str(value)) for key, value in sorted(row.parameters.items())],
            tags=[RunTag(key, value) for key, value in sorted({**row.tags, KEY: row.key}.items())],
        )
        client.set_terminated(run.info.run_id, "FAILED" if row.failed else "FINISHED")
    return len(new)
