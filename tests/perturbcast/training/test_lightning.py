"""Training that survives: the plain loop's weights, one process or two, killed or not."""

from __future__ import annotations

import dataclasses
import itertools
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning.strategies import SingleDeviceStrategy
from safetensors.numpy import load_file

from perturbcast import catalog, splits
from perturbcast.nn.descent import Settings, Task
from perturbcast.nn.stream import Rows
from perturbcast.stores import h5ad
from perturbcast.training import checkpoints, fit
from perturbcast.training.lightning import Interrupted, Learner
from perturbcast.training.validation import held_out

FIELDS = {"steps": 40, "learning_rate": 0.03, "every": 3, "width": 4, "batch": 4, "patience": 100, "dropout": 0.2}


@pytest.fixture(scope="module")
def prepared(make_data):
    data = make_data(contexts=("a", "b", "c", "d"), genes=12)
    split = splits.make(data, "in_distribution", seed=1)[0]
    return data, split, held_out(data, split)


def train(prepared, learner=None, **fields):
    data, split, validation = prepared
    config = catalog.configure("models", "cgio", FIELDS | fields)
    return fit(data, split, kind="cgio", plugin="cgio", config=config, seed=0, validation=validation, learner=learner)


def make_task(*, score=None, loss=None, steps=6, config=None):
    torch.manual_seed(0)
    x = torch.arange(12.0).reshape(6, 2) / 10
    return Task(
        network=torch.nn.Linear(2, 1),
        rows=Rows(count=len(x), build=lambda at: {"x": x[at]}),
        loss=loss or (lambda network, batch: (network(batch["x"]) - 1).square().mean()),
        score=score,
        metric="rmse",
        settings=Settings(steps=steps, batch=3, learning_rate=0.1, weight_decay=0.0, every=2, patience=2),
        seed=5,
        config=config or {"width": 4},
    )


def test_lightning_and_the_plain_loop_end_in_the_same_bits(prepared, tmp_path):
    learner = Learner(folder=tmp_path, checkpoint_every=5)
    one, two = train(prepared), train(prepared, learner)
    assert_learned(one.model.weights, one.model.layout)
    assert one.model.weights.tobytes() == two.model.weights.tobytes()
    assert [step for step, _ in learner.history] == list(range(1, 41))
    assert two.levels == (0.5, 0.8, 0.9, 0.95), "conformal calibration stands on top of it as on any model"


def test_a_finished_run_is_not_trained_again(tmp_path):
    def loss(network, batch):
        raise AssertionError("a step of a finished run")

    first, second = make_task(score=lambda network: (0.5, 0.5)), make_task(loss=loss)
    before, learner = Learner(folder=tmp_path), Learner(folder=tmp_path)
    before(first)
    learner(second)
    assert learner.resumed == [4], "two looks without improvement"
    assert learner.history == before.history != []
    assert learner.looks == before.looks == [(0, 0.5), (2, 0.5), (4, 0.5)], "its curves are there again"
    assert torch.equal(first.network.weight, second.network.weight)


def test_a_signal_in_a_step_saves_and_the_same_call_goes_on_to_the_same_weights(tmp_path):
    whole = make_task()
    Learner(folder=tmp_path / "whole")(whole)
    seen = []

    def loss(network, batch):
        seen.append(batch["x"][:, 0].tolist())
        if len(seen) == 3:
            os.kill(os.getpid(), signal.SIGUSR1)
        return (network(batch["x"]) - 1).square().mean()

    with pytest.raises(Interrupted, match=r"after step 3 of 6; .*5\.ckpt is saved. The same command goes on"):
        Learner(folder=tmp_path / "cut")(make_task(loss=loss))
    again = make_task(loss=loss)
    learner = Learner(folder=tmp_path / "cut")
    learner(again)
    assert learner.resumed == [3]
    assert torch.equal(again.network.weight, whole.network.weight)
    assert len(seen) == 6
    for epoch in (seen[:2], seen[2:4], seen[4:]):
        assert sorted(itertools.chain(*epoch)) == pytest.approx([0.0, 0.2, 0.4, 0.6, 0.8, 1.0]), (
            "each row once per epoch"
        )


def test_a_signal_while_processes_agree_whether_to_stop_is_not_lost(tmp_path, monkeypatch):
    agreed = []

    def agree(self, decision, **_):
        agreed.append(decision)
        if len(agreed) == 2:
            os.kill(os.getpid(), signal.SIGTERM)
        return decision

    monkeypatch.setattr(pl.Trainer, "world_size", 3)
    monkeypatch.setattr(SingleDeviceStrategy, "reduce_boolean_decision", agree)
    with pytest.raises(Interrupted, match=r"after step 3 of 6"):
        Learner(folder=tmp_path)(make_task())
    assert agreed == [False, False, True]


def test_early_stopping_looks_at_the_score_and_leaves_the_best_weights(tmp_path):
    looked = []

    def score(network):
        looked.append(abs(network.bias.item() + 0.1))
        return looked[-1], -looked[-1]

    task = make_task(score=score, steps=60)
    learner = Learner(folder=tmp_path)
    learner(task)
    assert abs(task.network.bias.item() + 0.1) == pytest.approx(min(looked))
    assert len(learner.history) < 60


def test_the_metric_decides_its_own_direction(prepared):
    data, split, _ = prepared
    lower = held_out(data, split, metric="perturbench.rmse_average@1")
    higher = held_out(data, split, metric="perturbench.pearson_average@1")
    truth = lower.effects.delta
    for validation, sign in ((lower, 1), (higher, -1)):
        loss, value = validation.score(truth)
        assert loss == sign * value
        assert loss < validation.score(truth + np.linspace(-1, 1, truth.shape[1]))[0]
    with pytest.raises(ValueError, match=r"metric of condition means; 'perturbcast\.nonsense@1' is none\. Known: "):
        held_out(data, split, metric="perturbcast.nonsense@1")


def test_a_checkpoint_of_another_config_or_of_other_rows_is_refused(tmp_path):
    Learner(folder=tmp_path)(make_task())
    with pytest.raises(ValueError, match=r"continues the run that wrote it; .* another config\. Remove it"):
        Learner(folder=tmp_path)(make_task(config={"width": 8}))
    other = dataclasses.replace(make_task(), rows=Rows(count=6, build=lambda at: {"x": torch.ones(len(at), 2)}))
    with pytest.raises(ValueError, match="another rows"):
        Learner(folder=tmp_path)(other)
    (tmp_path / "5.ckpt").write_bytes((tmp_path / "5.ckpt").read_bytes()[:200])
    with pytest.raises(ValueError, match=r"5\.ckpt cannot be read"):
        Learner(folder=tmp_path)(make_task())


def test_a_checkpoint_of_another_graph_is_refused(tmp_path):
    """Its state holds the edges that it was trained with: they would be trained on, and the model keep the new ones."""

    def make(edges):
        task = make_task()
        task.network.register_buffer("edges", torch.tensor(edges))
        return task

    Learner(folder=tmp_path)(make([[0], [1]]))
    for other in ([[1], [0]], [[0, 1], [1, 0]]):
        with pytest.raises(ValueError, match="written with another set of graphs or gene features"):
            Learner(folder=tmp_path)(make(other))


def test_a_save_that_fails_half_way_leaves_the_checkpoint_before(tmp_path, monkeypatch):
    path = tmp_path / "5.ckpt"
    Learner(folder=tmp_path)(make_task())
    before = path.read_bytes()

    def full_disk(checkpoint, file):
        file.write(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoints.torch, "save", full_disk)
    with pytest.raises(OSError, match="No space left"):
        checkpoints.WholeCheckpoints().save_checkpoint({}, path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_a_loss_that_is_not_a_number_ends_the_run(tmp_path):
    task = make_task(loss=lambda network, batch: network(batch["x"]).mean() * float("nan"))
    with pytest.raises(ValueError, match=r"that of step 1 is nan\. Lower learning_rate"):
        Learner(folder=tmp_path)(task)
    assert not (tmp_path / "5.ckpt").exists()


@pytest.fixture(scope="module")
def on_disk(make_data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("disk")
    data = make_data(contexts=("a", "b", "c", "d"), perturbations=[f"G{i}" for i in range(6)], genes=12)
    h5ad.write(data, folder / "made.h5ad")
    splits.freeze(splits.make(data, "in_distribution", seed=1)[0], folder / "split" / "fold_0.json")
    return folder


def command(folder, out, *words):
    return [
        *(Path(sys.executable).with_name("perturbcast"), "train", "--data", folder / "made.h5ad"),
        *("--split", folder / "split", "--model", "cgio", "--width", "4", "--batch", "4", "--learning-rate", "0.03"),
        *("--every", "10", "--patience", "1000", "--out", out, *words),
    ]


def weights(out):
    """Weights of a run that has learned: its last layer, which starts at 0, has left it."""
    values = load_file(out / "fold_0" / "model.safetensors")["model.weights"]
    assert_learned(values, json.loads((out / "fold_0" / "config.json").read_text())["state"]["layout"])
    return values


def assert_learned(values, layout):
    """The best weights are not the untrained ones, which any two runs of a seed share."""
    sizes = [int(np.prod(shape)) for _, shape in layout]
    at = [name for name, _ in layout].index("mean.weight")
    assert np.abs(values[0, sum(sizes[:at]) : sum(sizes[: at + 1])]).max() > 1e-3


@pytest.mark.slow
def test_a_kill_in_mid_epoch_and_the_same_command_end_in_the_same_bytes(on_disk, tmp_path):
    words = ("--steps", "60", "--checkpoint-every", "7")
    subprocess.run(command(on_disk, tmp_path / "whole", *words), check=True, capture_output=True)
    killed = subprocess.Popen(command(on_disk, tmp_path / "killed", *words), stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while not list(tmp_path.glob(".killed.checkpoints/fold_0/[0-9]*.ckpt")) and time.monotonic() < deadline:
        time.sleep(0.005)
    killed.kill()
    assert killed.wait() == -signal.SIGKILL
    assert not (tmp_path / "killed").exists()
    again = subprocess.run(command(on_disk, tmp_path / "killed", *words), check=True, capture_output=True, text=True)
    assert "fold 0: went on from step" in again.stderr
    assert np.array_equal(weights(tmp_path / "killed"), weights(tmp_path / "whole"))
    for file in ("model.safetensors", "config.json", "calibration.npz", "fingerprint.json"):
        assert (tmp_path / "killed/fold_0" / file).read_bytes() == (tmp_path / "whole/fold_0" / file).read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["killed", "whole"], "no checkpoint is left"


@pytest.mark.slow
def test_two_processes_with_the_same_global_batch_follow_the_curve_of_one(on_disk, tmp_path):
    words = ("--steps", "20", "--dropout", "0")
    subprocess.run(command(on_disk, tmp_path / "one", *words), check=True, capture_output=True)
    two = subprocess.run(
        command(on_disk, tmp_path / "two", *words, "--devices", "2"), check=True, capture_output=True, timeout=300
    )
    assert two.returncode == 0
    np.testing.assert_allclose(weights(tmp_path / "two"), weights(tmp_path / "one"), rtol=0, atol=2e-6)
