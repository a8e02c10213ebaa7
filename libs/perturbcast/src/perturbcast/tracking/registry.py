"""MLflow: where runs are logged and models are registered; the only importer of mlflow.

The tracking server is the one that ``MLFLOW_TRACKING_URI`` names, by default the file ``mlflow.db`` of the
working directory with artifacts beside it. An experiment is one split of one dataset, so that its runs
compare in the UI; a registered model has the same name, and each of its versions is one model fitted on one fold.
"""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")  # a lab's runs are nobody else's business

import mlflow
from mlflow.entities import Metric, Param, Run, RunTag
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient

from perturbcast.errors import UsageError

__all__ = [
    "DEFAULT_URI",
    "KEY",
    "FoldModel",
    "ModelRun",
    "ResolvedModel",
    "connect",
    "current_version",
    "experiment_id",
    "finished_run",
    "log_run",
    "name_champion",
    "resolve",
]

DEFAULT_URI = "sqlite:///mlflow.db"
KEY = "perturbcast.key"


@dataclasses.dataclass(frozen=True, kw_only=True)
class FoldModel:
    """One trained model directory of a run.

    Attributes:
        fold: index of the fold it was fitted on; ``held_out`` says what that fold tests.
        directory: the model directory.
        fingerprint: its sha256.
    """

    fold: int
    held_out: str
    directory: Path
    fingerprint: str


@dataclasses.dataclass(frozen=True, kw_only=True)
class ModelRun:
    """What one run (a model on a split of a dataset) is logged with.

    Attributes:
        experiment: name of the split, also the name of the registered model.
        kind: the model's name.
        key: sha256 of everything logged; a run with the same key is not logged twice.
        parameters: name -> value.
        metrics: metric name -> value.
        tags: provenance (data, split and config hash, commit, versions, command).
        artifacts: files to keep with the run.
        folds: the trained models.
    """

    experiment: str
    kind: str
    key: str
    parameters: Mapping[str, Any]
    metrics: Mapping[str, float]
    tags: Mapping[str, str]
    artifacts: Sequence[Path]
    folds: Sequence[FoldModel]


@dataclasses.dataclass(frozen=True, kw_only=True)
class ResolvedModel:
    """A registered version and its files on this machine."""

    name: str
    version: str
    aliases: tuple[str, ...]
    directory: Path
    validation_metrics: Mapping[str, float]


def connect() -> MlflowClient:
    """A client of the tracking server."""
    uri = os.environ.get("MLFLOW_TRACKING_URI", DEFAULT_URI)
    mlflow.set_tracking_uri(uri)
    return MlflowClient(tracking_uri=uri)


def experiment_id(client: MlflowClient, name: str) -> str:
    """The experiment of that name, made where there is none."""
    found = client.get_experiment_by_name(name)
    if found is not None:
        return str(found.experiment_id)
    # a server decides where its artifacts go; beside the default file they are kept in one folder
    local = mlflow.get_tracking_uri() == DEFAULT_URI
    location = (Path("mlartifacts").resolve() / name).as_uri() if local else None
    return str(client.create_experiment(name, artifact_location=location))


def finished_run(client: MlflowClient, experiment: str, *, key: str) -> Run | None:
    """The run that was logged whole with that key; None where there is none."""
    query = f"tags.`{KEY}` = '{key}' and attributes.status = 'FINISHED'"
    found = client.search_runs([experiment], filter_string=query, max_results=1)
    return found[0] if found else None


def log_run(client: MlflowClient, run: ModelRun) -> dict[int, str]:
    """Log a run with its models as registered versions; what is there already is left as it is.

    Returns:
        fold -> version of the registered model ``run.experiment``.
    """
    experiment = experiment_id(client, run.experiment)
    try:
        client.create_registered_model(run.experiment)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    parent = finished_run(client, experiment, key=run.key) or _log_parent(client, experiment, run)
    versions = {
        int(version.tags["fold"]): str(version.version)
        for version in client.search_model_versions(f"run_id = '{parent.info.run_id}'")
    }
    for fold in run.folds:
        if fold.fold not in versions:
            versions[fold.fold] = _register_fold(client, parent, run, fold)
    return versions


def _log_parent(client: MlflowClient, experiment: str, run: ModelRun) -> Run:
    tags = {**run.tags, KEY: run.key, "model": run.kind}
    parent = client.create_run(experiment, run_name=run.kind, tags=tags)
    run_id = parent.info.run_id
    time = parent.info.start_time
    client.log_batch(
        run_id,
        metrics=[Metric(name, value, time, 0) for name, value in sorted(run.metrics.items())],
        params=[Param(name, str(value)) for name, value in sorted(run.parameters.items())],
        tags=[RunTag("n_folds", str(len(run.folds)))],
    )
    for path in run.artifacts:
        client.log_artifact(run_id, str(path))
    for fold in run.folds:
        client.log_artifacts(run_id, str(fold.directory), artifact_path=f"model/fold_{fold.fold}")
    client.set_terminated(run_id, "FINISHED")
    return parent


def _register_fold(client: MlflowClient, parent: Run, run: ModelRun, fold: FoldModel) -> str:
    version = client.create_model_version(
        run.experiment,
        source=f"{parent.info.artifact_uri}/model/fold_{fold.fold}",
        run_id=parent.info.run_id,
        tags={
            "model": run.kind,
            "fold": str(fold.fold),
            "held_out": fold.held_out[:500],
            "fingerprint": fold.fingerprint,
        },
    )
    return str(version.version)


def name_champion(client: MlflowClient, name: str, *, versions: Mapping[int, str], rule: Mapping[str, Any]) -> None:
    """Point ``champion`` at fold 0 of the selected model and ``champion-fold-K`` at each, with the rule as tags.

    Args:
        client: of the tracking server.
        name: registered model.
        versions: fold -> version of the selected model.
        rule: what the choice was made by (metric, direction, candidates and their validation scores).
    """
    client.set_registered_model_alias(name, "champion", versions[min(versions)])
    for fold, version in sorted(versions.items()):
        client.set_registered_model_alias(name, f"champion-fold-{fold}", version)
    for key, value in rule.items():
        text = value if isinstance(value, str) else json.dumps(value, sort_keys=True)
        client.set_registered_model_tag(name, f"champion.{key}", text)


def current_version(uri: str) -> str:
    """The version that ``models:/NAME@ALIAS`` stands for now; nothing is fetched.

    Raises:
        UsageError: the registry has no such model or alias, or does not answer.
    """
    name, _, alias = uri.removeprefix("models:/").partition("@")
    try:
        return str(connect().get_model_version_by_alias(name, alias).version)
    except MlflowException as error:
        raise UsageError(
            f"An alias stands for a version; {uri} does not ({error.message}). Set it with 'perturbcast register', or "
            "see whether MLFLOW_TRACKING_URI answers."
        ) from error


def resolve(uri: str) -> ResolvedModel:
    """Find ``models:/NAME@ALIAS`` or ``models:/NAME/VERSION`` and fetch its files.

    Raises:
        UsageError: the address is malformed, or the registry has no such model, version or alias.
    """
    address = uri.removeprefix("models:/")
    name, at, alias = address.partition("@")
    number = ""
    if not at:
        name, _, number = address.partition("/")
    if not uri.startswith("models:/") or not name or not (alias or number):
        raise UsageError(
            f"A registered model is models:/NAME@ALIAS or models:/NAME/VERSION; got {uri!r}. "
            "For example models:/kang2018-unseen_context@champion."
        )
    client = connect()
    try:
        version = client.get_model_version_by_alias(name, alias) if at else client.get_model_version(name, number)
        aliases = client.get_registered_model(name).aliases
        run = client.get_run(str(version.run_id))
    except MlflowException as error:
        known = ", ".join(sorted(model.name for model in client.search_registered_models())) or "none"
        raise UsageError(
            f"A model to serve is in the registry; {uri} is not ({error.message}). Registered: {known}. "
            "Run 'dvc repro' or 'perturbcast register', or set MLFLOW_TRACKING_URI."
        ) from error
    directory = mlflow.artifacts.download_artifacts(artifact_uri=version.source)
    return ResolvedModel(
        name=name,
        version=str(version.version),
        aliases=tuple(sorted(alias for alias, number in aliases.items() if str(number) == str(version.version))),
        directory=Path(directory),
        validation_metrics={
            metric.removeprefix("validation/"): float(value)
            for metric, value in run.data.metrics.items()
            if metric.startswith("validation/")
        },
    )
