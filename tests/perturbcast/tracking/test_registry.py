"""Runs, versions and the champion in a real MLflow: the default sqlite file, and a real server."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
import urllib.request

import pytest

from perturbcast import splits, tracking
from perturbcast.errors import UsageError
from perturbcast.models.control import Config
from perturbcast.schema import Condition
from perturbcast.training import fit, load_model, save_model

pytestmark = [
    pytest.mark.slow,
    # MLflow and SQLAlchemy deprecate among themselves; nothing of ours can mend it
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::ResourceWarning"),
]


@pytest.fixture(scope="module")
def folds(make_data, tmp_path_factory):
    """Two trained folds on disk."""
    folder = tmp_path_factory.mktemp("models")
    data = make_data()
    made = []
    for split in splits.make(data, "unseen_context")[:2]:
        model = fit(data, split, kind="control", plugin="control", config=Config(), seed=0)
        saved = save_model(model, folder / f"fold_{split.fold}")
        made.append(
            tracking.FoldModel(
                fold=split.fold,
                held_out=split.held_out,
                directory=folder / f"fold_{split.fold}",
                fingerprint=saved.fingerprint,
            )
        )
    return made


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """A tracking server in a process of its own."""
    folder = tmp_path_factory.mktemp("mlflow")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "mlflow", "server", "--backend-store-uri", f"sqlite:///{folder}/m.db"]
    command += [
        "--artifacts-destination",
        str(folder / "artifacts"),
        "--host",
        "127.0.0.1",
        "--port",
        str(port),
        "--workers",
        "1",
    ]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
    try:
        for _ in range(240):
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=1).close()
                break
            except OSError:
                assert process.poll() is None, (folder / "log").read_text()
                time.sleep(0.25)
        yield f"http://127.0.0.1:{port}"
    finally:
        os.killpg(process.pid, 15)
        process.wait(20)


@pytest.fixture(params=["sqlite file", "server"])
def client(request, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    if request.param == "server":
        monkeypatch.setenv("MLFLOW_TRACKING_URI", request.getfixturevalue("server"))
    else:
        monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return tracking.connect()


def make_run(folds, **changes):
    values = {
        "experiment": "made-unseen_context",
        "kind": "control",
        "key": "k1",
        "parameters": {"seed": 0},
        "metrics": {"validation/m.v1": 0.5, "test/m.v1": 0.7},
        "tags": {"data_sha256": "d", "split_sha256": "s"},
        "artifacts": (),
        "folds": folds,
    }
    return tracking.ModelRun(**(values | changes))


def test_log_choose_and_resolve(client, folds):
    first = tracking.log_run(client, make_run(folds))
    second = tracking.log_run(client, make_run(folds, kind="other", key="k2"))
    assert sorted(first) == sorted(second) == [0, 1]
    assert len({*first.values(), *second.values()}) == 4, "every fold of every run is a version of its own"
    assert tracking.log_run(client, make_run(folds)) == first, "a run is not logged twice"

    tracking.name_champion(
        client, "made-unseen_context", versions=second, rule={"metric": "m@1", "candidates": {"a": 1}}
    )
    found = tracking.resolve("models:/made-unseen_context@champion")
    assert (found.version, found.aliases) == (second[0], ("champion", "champion-fold-0"))
    assert found.validation_metrics == {"m.v1": 0.5}, "test scores are not handed on"
    assert tracking.resolve("models:/made-unseen_context@champion-fold-1").version == second[1]
    model = load_model(found.directory)
    assert model.fingerprint == folds[0].fingerprint
    context = next(iter(model.control_means))
    assert not model.predict([Condition("G0", context)]).delta.any()
    tags = client.get_registered_model("made-unseen_context").tags
    assert tags["champion.metric"] == "m@1"

    tracking.name_champion(client, "made-unseen_context", versions=first, rule={})
    assert tracking.resolve("models:/made-unseen_context@champion").version == first[0], "the alias moves back"


@pytest.mark.parametrize(
    ("uri", "message"),
    [
        ("made", r"A registered model is models:/NAME@ALIAS or models:/NAME/VERSION; got 'made'"),
        ("models:/made", "got 'models:/made'"),
        ("models:/absent@champion", r"models:/absent@champion is not .*Run 'dvc repro'"),
    ],
)
def test_a_bad_address_is_a_usage_error(monkeypatch, tmp_path, uri, message):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    with pytest.raises(UsageError, match=message):
        tracking.resolve(uri)


def test_loss_curves_are_logged_step_by_step_and_once(client):
    run = tracking.CurvesRun(
        experiment="made-pretraining",
        kind="denoising",
        key="e1",
        parameters={"width": 32},
        curves={"loss": [(step, 1 / step) for step in range(1, 1204)], "held_out_loss": [(0, 1.0), (50, 0.5)]},
        tags={"dataset": "made"},
    )
    run_id = tracking.log_curves(client, run)
    assert tracking.log_curves(client, run) == run_id
    kept = client.get_metric_history(run_id, "held_out_loss")
    assert [(point.step, point.value) for point in kept] == [(0, 1.0), (50, 0.5)]
    assert len(client.get_metric_history(run_id, "loss")) == 1203
    found = client.get_run(run_id)
    assert (found.info.status, found.data.params, found.data.tags["dataset"]) == ("FINISHED", {"width": "32"}, "made")
