"""``perturbcast suite`` and ``sweep``: killed and resumed, failed runs, budgets, test for the finalists alone."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest
import yaml

PERTURBCAST = str(Path(sys.executable).with_name("perturbcast"))
METRIC = "perturbench.rmse_average@1"
SECTIONS = {
    "seed": 1,
    "splits": {"sim": {"dataset": "simulated", "rule": "unseen_context", "config": {"contexts": ""}}},
    "sweeps": {
        "ridge": {
            "splits": ["sim"],
            "folds": [0],
            "seeds": [0, 1],
            "metric": METRIC,
            "method": "grid",
            "models": {"ridge": {"ridge": [0.01, 0.1, 0.3, 1.0, 3.0, 10.0], "interaction": [0.5, 1.0]}},
        },
    },
    "suites": {
        "small": {
            "splits": ["sim"],
            "folds": [0],
            "models": {
                "mean_delta": {},
                "truth": {},
                "broken": {"plugin": "ridge", "gene_sets": "none.gmt.gz"},
                "slow": {"plugin": "cgio", "steps": 100_000, "patience": 100_000},
            },
            "metric": METRIC,
            "budget": {"seconds": 5},
        },
    },
}


def start(folder, *words):
    environment = {name: value for name, value in os.environ.items() if name != "MLFLOW_TRACKING_URI"}
    environment["COLUMNS"] = "200"
    return subprocess.Popen(
        [PERTURBCAST, *words],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def run(folder, *words, code=0):
    process = start(folder, *words)
    said, _ = process.communicate(timeout=300)
    assert process.returncode == code, said
    return said


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    size = ("--nodes", "12", "--contexts", "4", "--perturbations", "4", "--combinations", "0", "--cells", "600")
    run(folder, "simulate", *size, "--out", "simulated.h5ad")
    return folder / "simulated.h5ad"


def make_workspace(folder, data):
    (folder / "artifacts/datasets").mkdir(parents=True)
    shutil.copy(data, folder / "artifacts/datasets/simulated.h5ad")
    (folder / "sweep.yaml").write_text(yaml.safe_dump(SECTIONS, sort_keys=False))
    return folder


@pytest.fixture(scope="module")
def whole(data, tmp_path_factory):
    """A workspace in which the sweep of 12 configurations x 2 seeds ran undisturbed."""
    folder = make_workspace(tmp_path_factory.mktemp("whole"), data)
    run(folder, "sweep", "run", "ridge", "--params", "sweep.yaml", "--no-track", "--jobs", "2")
    return folder


def test_a_sweep_killed_half_way_and_resumed_ends_in_the_same_leaderboard(whole, data, tmp_path):
    folder = make_workspace(tmp_path / "killed", data)
    words = ("sweep", "run", "ridge", "--params", "sweep.yaml", "--no-track")
    process = start(folder, *words)
    for _ in range(3000):
        records = len(list(folder.glob("artifacts/sweeps/ridge/runs/*/*/*/record.json")))
        if records >= 10:
            break
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert 10 <= records < 20, "killed in the middle"
    assert not (folder / "artifacts/sweeps/ridge/leaderboard.json").exists()
    said = run(folder, *words, "--jobs", "2")
    assert "24/24" not in said, "what was done is not done again"
    ours, theirs = (one / "artifacts/sweeps/ridge/leaderboard.json" for one in (folder, whole))
    assert ours.read_bytes() == theirs.read_bytes()
    assert len(json.loads(ours.read_text())["splits"]["sim"]["candidates"]) == 12


def test_rows_say_where_they_come_from_and_the_finalist_alone_was_opened_on_test(whole):
    folder = whole / "artifacts/sweeps/ridge"
    board = json.loads((folder / "leaderboard.json").read_text())
    selected = board["splits"]["sim"]["selected"]
    assert board["part"] == "validation"
    assert {path.parts[-3] for path in folder.glob("runs/sim/*/*/test")} == {selected}
    card = json.loads((folder / "scorecard.json").read_text())
    assert (len(card["rows"]), card["trials"]) == (24, {"ridge": 12})
    for row in card["rows"]:
        assert (row["state"], row["test"] is not None) == ("done", row["model"] == selected)
        assert row["config_sha256"].startswith(row["model"].removeprefix("ridge-")), "a hash without the seed"
        assert row["model_fingerprints"]
        assert row["commands"][0].startswith("perturbcast train --split artifacts/sweeps/ridge/splits/sim")
        assert row["wall_s"] > 0
        assert row["cpu_s"] > 0
        assert row["peak_rss_mb"] > 50
    losses = pd.DataFrame(card["rows"]).groupby("model")["validation"].mean()
    assert losses.idxmin() == selected
    assert set(card["finalists"]["sim"][selected]["1"]["test"][METRIC]["floor"]) == {"control", "train_mean"}


def test_the_leaderboard_refuses_test_scores(whole, tmp_path):
    folder = whole / "artifacts/sweeps/ridge"
    opened = next(folder.glob("runs/sim/*/seed_0/test"))
    said = run(tmp_path, "leaderboard", "--metric", METRIC, "--evaluations", str(opened), code=1)
    assert "A choice is made by validation scores" in said
    copy = tmp_path / "ridge"
    shutil.copytree(folder, copy)
    run_folder = copy / opened.parent.relative_to(folder)
    shutil.rmtree(run_folder / "validation")
    (run_folder / "test").rename(run_folder / "validation")
    said = run(tmp_path, "sweep", "scorecard", "--out", "ridge", "--no-track", code=1)
    assert "A choice is made by validation scores" in said


def test_a_failed_run_is_recorded_and_the_others_go_on(data, tmp_path):
    folder = make_workspace(tmp_path / "suite", data)
    said = run(folder, "suite", "run", "small", "--params", "sweep.yaml", "--no-track", code=1)
    assert "2 of 4 runs failed: sim/broken/seed_0, sim/slow/seed_0" in said
    rows = pd.read_csv(folder / "artifacts/suites/small/scorecard.csv").set_index("model")
    assert rows["state"].to_dict() == {"mean_delta": "done", "truth": "done", "broken": "failed", "slow": "failed"}
    assert "none.gmt.gz" in rows.loc["broken", "reason"]
    assert "used up its budget of 5 s" in rows.loc["slow", "reason"]
    board = json.loads((folder / "artifacts/suites/small/leaderboard.json").read_text())
    assert board["splits"]["sim"]["selected"] == "mean_delta", "an oracle is no candidate"
    status = run(folder, "suite", "status", "small")
    assert "2 " in status
    # another section under the same name is not mixed in
    changed = json.loads(json.dumps(SECTIONS))
    changed["suites"]["small"]["seeds"] = [3]
    (folder / "sweep.yaml").write_text(yaml.safe_dump(changed, sort_keys=False))
    said = run(folder, "suite", "run", "small", "--params", "sweep.yaml", "--no-track", code=1)
    assert "was started with other seeds" in said


def test_what_is_not_there_is_a_usage_error(call, tmp_path):
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(SECTIONS))
    done = call("sweep", "run", "rigde")
    assert done.code == 2
    assert "'rigde' is not there. There is: ridge" in done.err
    done = call("suite", "status", "x")
    assert (done.code, "Beside it there is: none" in done.err) == (2, True)
    (tmp_path / "params.yaml").write_text(yaml.safe_dump({**SECTIONS, "suits": {}}))
    assert "suits" in call("sweep", "run", "ridge").err


def test_a_run_that_is_killed_is_a_failure_of_its_own(data, tmp_path):
    folder = make_workspace(tmp_path / "suite", data)
    sections = json.loads(json.dumps(SECTIONS))
    sections["suites"]["small"] |= {
        "models": {"slow": SECTIONS["suites"]["small"]["models"]["slow"], "mean_delta": {}},
        "budget": {},
    }
    (folder / "sweep.yaml").write_text(yaml.safe_dump(sections, sort_keys=False))
    process = start(folder, "suite", "run", "small", "--params", "sweep.yaml", "--no-track")
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    for _ in range(3000):
        if (folder / "artifacts/suites/small/runs/sim/slow/seed_0/log.txt").exists():
            break
        time.sleep(0.02)
    for child in map(int, children.read_text().split()):
        os.kill(child, signal.SIGKILL)
    said, _ = process.communicate(timeout=300)
    assert process.returncode == 1
    assert "ended by SIGKILL, as the kernel does where memory runs out" in said
    rows = json.loads((folder / "artifacts/suites/small/scorecard.json").read_text())["rows"]
    assert {row["model"]: row["state"] for row in rows} == {"mean_delta": "done", "slow": "failed"}
    assert all(row["commit"] and row["commands"] for row in rows), "provenance in every row"
