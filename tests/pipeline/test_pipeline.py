"""The pipeline as a user runs it: real DVC, real MLflow, a real server, a client in an environment of its own.

It runs in a scratch checkout without measured data, so that the fall-back to the simulated dataset is what is seen.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

pytestmark = pytest.mark.slow

BIN = Path(sys.executable).parent
SPLIT = "simulated-unseen_context"


def run(*command, cwd, code=0):
    environment = {**os.environ, "PATH": f"{BIN}:{os.environ['PATH']}", "COLUMNS": "120"}
    for name in ("PERTURBCAST_DATA", "MLFLOW_TRACKING_URI"):
        environment.pop(name, None)
    done = subprocess.run(
        [str(c) for c in command], cwd=cwd, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == code, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout + done.stderr


def stages_run(output):
    return re.findall(r"Running stage '([^']+)'", output)


@pytest.fixture(scope="module")
def checkout(root, tmp_path_factory):
    """A git checkout with what the pipeline reads, two models, one measured split (unreachable) and one simulated."""
    folder = tmp_path_factory.mktemp("scratch") / "main"
    source = Path("libs/perturbcast/src/perturbcast")
    shutil.copytree(root / source, folder / source, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("dvc.yaml", ".dvcignore"):
        shutil.copy(root / name, folder / name)
    params = yaml.safe_load((root / "params.yaml").read_text())
    params["splits"] = {name: params["splits"][name] for name in ("kang2018-unseen_context", SPLIT)}
    params["run"] = {"splits": ["kang2018-unseen_context", SPLIT], "models": ["control", "mean_delta"]}
    params["oracle"] = {"splits": [SPLIT], "models": ["truth"]}
    (folder / "params.yaml").write_text(yaml.safe_dump(params))
    run("git", "init", "-q", cwd=folder)
    run("dvc", "init", "-q", cwd=folder)
    run("git", "add", "-A", cwd=folder)
    run("git", "-c", "user.name=t", "-c", "user.email=t@t", "commit", "-q", "-m", "Start", cwd=folder)
    return folder


@pytest.fixture(scope="module")
def client_python(root, tmp_path_factory):
    """An environment that holds perturbcast-client only."""
    folder = tmp_path_factory.mktemp("client")
    run(sys.executable, "-m", "venv", folder, cwd=folder)
    words = ("-m", "pip", "install", "-q", "-c", root / "constraints.txt", root / "libs/perturbcast-client")
    run(folder / "bin/python", *words, cwd=folder)
    return folder / "bin/python"


@pytest.fixture(scope="module")
def first_demo(root, checkout, client_python):
    words = ("--client-python", client_python, "--example", root / "libs/perturbcast-client/examples/ask.py")
    return lambda: run("perturbcast", "demo", *words, cwd=checkout)


@pytest.fixture(scope="module")
def output(first_demo):
    return first_demo()


def test_without_measured_data_the_simulated_dataset_stands_in(output):
    assert (
        output.count("No measured dataset can be reached (see 'perturbcast datasets'): using the simulated dataset.")
        == 1
    )
    assert f"train@{SPLIT}-mean_delta" in stages_run(output)
    assert not [stage for stage in stages_run(output) if "kang" in stage]


def test_the_service_gave_the_offline_numbers_to_a_client_without_torch(output, client_python):
    difference = float(re.search(r"differ by at most (\S+) ", output)[1])
    assert difference <= 1e-6
    listed = run(client_python, "-m", "pip", "list", "--format", "freeze", cwd=".").lower()
    for heavy in ("torch", "mlflow", "anndata", "pandas"):
        assert f"{heavy}==" not in listed


def test_the_scorecard_and_where_to_look(output, checkout):
    assert re.search(r"unseen_context\s+(mean_delta|control)\*?\s+0\.\d+ \[0\.\d+, 0\.\d+\]", output)
    assert f"report:  {(checkout / 'artifacts/report/report.html').resolve()}" in output
    assert "mlflow ui --backend-store-uri sqlite:///mlflow.db" in output
    report = json.loads((checkout / "artifacts/report/report.json").read_text())["splits"][SPLIT]
    rmse = {model: entry["perturbench.rmse_average@1"]["value"] for model, entry in report["models"].items()}
    assert report["champion"] != "truth"
    assert rmse["truth"] == min(rmse.values()), "the oracle is a row of the table"


def test_run_again_it_redoes_nothing(output, first_demo):
    assert stages_run(first_demo()) == []


def test_a_removed_registry_is_filled_again(output, checkout, first_demo):
    (checkout / "mlflow.db").unlink()
    shutil.rmtree(checkout / "mlartifacts")
    assert stages_run(first_demo()) == ["register"]


def test_adding_a_model_fits_that_model_only(output, checkout):
    path = checkout / "params.yaml"
    params = yaml.safe_load(path.read_text())
    params["run"] = {"splits": [SPLIT], "models": ["control", "mean_delta", "additive"]}
    params["splits"] = {SPLIT: params["splits"][SPLIT]}
    path.write_text(yaml.safe_dump(params))
    ran = stages_run(run("dvc", "repro", "report", cwd=checkout))
    of_split = [f"{verb}@{SPLIT}" for verb in ("predict", "evaluate")]
    assert ran == ["modules", f"train@{SPLIT}-additive", *of_split, "leaderboard", "report"]
    said = run("dvc", "params", "diff", cwd=checkout)
    assert "additive" in said


def test_a_code_change_reruns_what_uses_it(output, checkout):
    run("dvc", "repro", "report", cwd=checkout)
    module = checkout / "libs/perturbcast/src/perturbcast/models/mean_delta.py"
    module.write_text(module.read_text() + "\n# a change without effect\n")
    ran = stages_run(run("dvc", "repro", "report", cwd=checkout))
    assert [stage for stage in ran if not hashes(stage)] == [f"train@{SPLIT}-mean_delta"]


def hashes(stage):
    return stage == "modules" or stage.startswith("code@")


def test_a_preset_runs_and_what_is_no_longer_run_is_no_longer_scored(output, checkout):
    """The folder of the model that was taken out stays where it was."""
    path = checkout / "params.yaml"
    params = yaml.safe_load(path.read_text())
    params["models"]["stiff"] = {"plugin": "linear", "ridge": 5.0}
    params["run"]["models"] = ["control", "additive", "stiff"]
    path.write_text(yaml.safe_dump(params))
    ran = stages_run(run("dvc", "repro", "report", cwd=checkout))
    assert ran == ["modules", f"train@{SPLIT}-stiff", f"predict@{SPLIT}", f"evaluate@{SPLIT}", "leaderboard", "report"]
    assert (checkout / f"artifacts/models/{SPLIT}/mean_delta").is_dir()
    report = json.loads((checkout / "artifacts/report/report.json").read_text())["splits"][SPLIT]
    assert set(report["models"]) == {"control", "additive", "stiff", "truth"}
    module = checkout / "libs/perturbcast/src/perturbcast/models/linear.py"
    module.write_text(module.read_text() + "\n# a change without effect\n")
    ran = stages_run(run("dvc", "repro", "report", cwd=checkout))
    assert [stage for stage in ran if not hashes(stage)] == [f"train@{SPLIT}-stiff"]


def test_metrics_and_plots_are_useful(output, checkout):
    shown = run("dvc", "metrics", "show", "--md", cwd=checkout)
    assert f"{SPLIT}.additive.perturbench.rmse_average" in shown
    run("dvc", "plots", "show", "-o", "plots", cwd=checkout)
    assert "additive" in (checkout / "plots/index.html").read_text()


def test_a_failed_step_fails_the_demo(output, checkout, root, client_python):
    words = ("--client-python", client_python, "--example", root / "libs/perturbcast-client/examples/absent.py")
    said = run("perturbcast", "demo", *words, cwd=checkout, code=1)
    assert re.search(r"error: A step of the demo failed: .*absent\.py .*exit code 2", said)
    assert "Traceback" not in said
