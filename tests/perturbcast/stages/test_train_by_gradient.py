"""``perturbcast train`` of a model that learns by gradient: what it says when it is stopped, and what it writes."""

from __future__ import annotations

import os
import signal

import pytest

from perturbcast import splits
from perturbcast.stores import h5ad
from perturbcast.training import load_model
from perturbcast.training.lightning import Interrupted, Learner


@pytest.fixture
def words(make_data, tmp_path):
    data = make_data(contexts=("a", "b", "c", "d"), genes=6)
    h5ad.write(data, tmp_path / "made.h5ad")
    splits.freeze(splits.make(data, "unseen_context", seed=1)[0], tmp_path / "split/fold_0.json")
    return ("train", "--data", "made.h5ad", "--split", "split", "--model", "cgio", "--out", "model", "--steps", 4)


def test_a_signal_ends_with_the_code_that_means_again(call, words, monkeypatch):
    def stopped(self, task):
        raise Interrupted("Stopped by a signal after step 2 of 4.")

    monkeypatch.setattr(Learner, "__call__", stopped)
    done = call(*words)
    assert done.code == 75
    assert "Stopped by a signal after step 2 of 4." in done.err


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1], ids=["SIGTERM", "SIGUSR1"])
def test_a_signal_while_data_is_read_also_means_again(call, words, monkeypatch, number):
    def interrupted(*given, **named):
        os.kill(os.getpid(), number)

    monkeypatch.setattr("perturbcast.stages.train.held_out", interrupted)
    before = signal.getsignal(number)
    done = call(*words)
    assert done.code == 75
    assert "outside of a training. The same command goes on" in done.err
    assert signal.getsignal(number) is before


def test_where_nothing_is_left_to_train_the_first_process_alone_writes(call, words, monkeypatch, tmp_path):
    monkeypatch.setattr(Learner, "__call__", lambda self, task: None)
    monkeypatch.setenv("SLURM_PROCID", "1")
    assert call(*words).code == 0
    assert not (tmp_path / "model").exists()
    monkeypatch.setenv("SLURM_PROCID", "0")
    assert call(*words).code == 0
    assert (tmp_path / "model/fold_0/fingerprint.json").is_file()


def test_the_model_directory_is_as_any_and_no_checkpoint_is_left(call, words, tmp_path):
    assert call(*words, "--checkpoint-every", 2).code == 0
    assert load_model(tmp_path / "model/fold_0").plugin == "cgio"
    assert not (tmp_path / ".model.checkpoints").exists()


def test_a_metric_to_stop_by_that_needs_cells_is_a_usage_error(call, words):
    done = call(*words, "--stop-by", "perturbcast.coverage_90@1")
    assert done.code == 2
    assert "Early stopping looks at a metric of condition means" in done.err


@pytest.mark.parametrize(
    ("given", "message"),
    [
        pytest.param(("--accelerator", "gpu"), "sees 0 here, and 1 are asked for", id="no card"),
        pytest.param(("--accelerator", "tpu"), "Invalid value for '--accelerator'", id="accelerator"),
        pytest.param(("--devices", "0"), "Invalid value for '--devices'", id="no device"),
        pytest.param(("--precision", "fp99"), "Invalid value for '--precision'", id="precision"),
        pytest.param(("--checkpoint-every", "-1"), "Invalid value for '--checkpoint-every'", id="checkpoints"),
        pytest.param(("--seed", "-1"), "Invalid value for '--seed'", id="seed"),
        pytest.param(("--stop-by", "rmse"), "Early stopping looks at a metric of condition means", id="metric"),
        pytest.param(("--learning-rate", "nan"), "are finite numbers; got learning_rate = nan", id="not a number"),
    ],
)
def test_what_cannot_be_is_refused_before_the_data_is_read(call, given, message, monkeypatch):
    monkeypatch.setattr("torch.accelerator.is_available", lambda: False)
    done = call("train", "--data", "none.h5ad", "--split", "none", "--model", "cgio", "--out", "model", *given)
    assert done.code == 2
    assert message in done.err
