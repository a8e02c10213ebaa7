"""``perturbcast pretrain``, and ``train`` with what it wrote."""

from __future__ import annotations

import json
import os
import signal

import numpy as np
import pytest

from perturbcast import encoders, splits
from perturbcast.nn.reconstruction import Reconstruction
from perturbcast.schema import content_hash
from perturbcast.stores import h5ad
from perturbcast.training import load_model

QUICK = ("--steps", 6, "--every", 3, "--batch", 16, "--width", 3, "--hidden", 6)


@pytest.fixture
def prepare(make_data, tmp_path):
    """Writes a dataset and one fold of it, after ``change`` had a look at the cells [cell, gene] and the fold."""

    def prepared(name="made", change=lambda x, data, fold: None):
        data = make_data(contexts=("a", "b", "c", "d"), genes=6)
        fold = splits.make(data, "unseen_context", seed=1)[0]
        x = data.x.toarray()
        change(x, data, fold)
        values = type(data.x)(x)
        meta = {**data.meta, "content_hash": content_hash(values, data.genes, data.obs)}
        data = type(data)(x=values, genes=data.genes, obs=data.obs, meta=meta)
        h5ad.write(data, tmp_path / f"{name}.h5ad")
        splits.freeze(splits.make(data, "unseen_context", seed=1)[0], tmp_path / f"{name}-split/fold_0.json")
        return ("pretrain", "--data", f"{name}.h5ad", "--split", f"{name}-split", "--no-track", *QUICK)

    return prepared


def content(folder):
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def scaled(part, *, control):
    """Changes the control or perturbed cells of one part."""

    def change(x, data, fold):
        named = data.obs.index.isin(fold.parts[part]) & (data.obs["is_control"].to_numpy() == control)
        assert named.any()
        x[named] *= np.linspace(1, 3, x.shape[1])

    return change


@pytest.mark.parametrize(
    ("part", "control", "same"),
    [
        ("test", False, True),
        ("control_input", True, True),
        ("validation", False, True),
        ("train", False, True),
        ("train", True, False),
    ],
    ids=["test", "held-out controls", "validation", "perturbed train", "train controls"],
)
def test_control_cells_of_the_train_part_are_read_and_no_others(call, prepare, tmp_path, part, control, same):
    assert call(*prepare(), "--out", "one").code == 0
    assert call(*prepare("other", scaled(part, control=control)), "--out", "two").code == 0
    assert (content(tmp_path / "one/fold_0") == content(tmp_path / "two/fold_0")) == same
    assert not list(tmp_path.glob(".*")), "no checkpoint is left"


@pytest.mark.parametrize(
    ("where", "number"), [((), signal.SIGUSR1), (("--on-disk",), signal.SIGTERM)], ids=["in memory", "on disk"]
)
def test_a_signal_ends_with_75_and_the_same_command_goes_on_to_the_same_bytes(
    call, prepare, tmp_path, monkeypatch, where, number
):
    words = (*prepare(), *where)
    assert call(*words, "--out", "whole").code == 0
    forward, steps = Reconstruction.forward, []

    def interrupted(self, x):
        if self.training:
            steps.append(1)
            if len(steps) == 2:
                os.kill(os.getpid(), number)
        return forward(self, x)

    monkeypatch.setattr(Reconstruction, "forward", interrupted)
    done = call(*words, "--out", "cut")
    assert done.code == 75
    assert "Stopped by a signal after step 2 of 6" in done.err
    assert not (tmp_path / "cut").exists()
    done = call(*words, "--out", "cut")
    assert done.code == 0
    assert "went on from step 2" in done.err
    assert len(steps) == 6
    assert content(tmp_path / "cut/fold_0") == content(tmp_path / "whole/fold_0")


def test_a_model_reads_it_names_it_and_refuses_one_that_has_seen_what_its_fold_holds_out(call, prepare, tmp_path):
    words = prepare()
    assert call(*words, "--out", "encoder").code == 0
    train = ("train", "--data", "made.h5ad", "--split", "made-split", "--model", "cgio", "--steps", 2)
    train = (*train, "--operator", "fused", "--state", "pretrained", "--encoder", "encoder", "--out", "model")
    assert call(*train).code == 0
    found = encoders.load(tmp_path / "encoder/fold_0")
    assert load_model(tmp_path / "model/fold_0").encoder == found.hash
    assert json.loads((tmp_path / "model/fold_0/fingerprint.json").read_text())["encoder"] == found.hash
    before = load_model(tmp_path / "model/fold_0").fingerprint
    assert call(*words, "--seed", 1, "--out", "encoder").code == 0
    assert call(*train).code == 0
    assert load_model(tmp_path / "model/fold_0").fingerprint != before
    whole = [word for word in words if word not in ("--split", "made-split")]
    assert call(*whole, "--out", "all").code == 0
    refused = call(*(("all" if word == "encoder" else word) for word in train))
    assert refused.code == 1
    assert "this one was pretrained on 60 of the 60 cells in part 'control_input'" in refused.err


def test_ablation_switches_the_pretrained_state(call, prepare, tmp_path):
    assert call(*prepare(), "--out", "encoder").code == 0
    words = ("ablate", "--data", "made.h5ad", "--split", "made-split", "--seeds", 1, "--operator", "fused")
    words = (*words, "--steps", 20, "--every", 5, "--learning-rate", 0.03)
    words = (*words, "--state", "pretrained", "--encoder", "encoder", "--only", "encoder tuned", "--only", "state none")
    done = call(*words, "--out", "table.csv")
    assert done.code == 0, done.err
    rows = (tmp_path / "table.csv").read_text().splitlines()[1:]
    assert [row.split(",")[0] for row in rows] == ["whole", "state none", "encoder tuned"]
    assert len({row.split(",")[1] for row in rows}) == 3, "each switch changes the validation score"


def test_an_unknown_objective_and_a_parameter_of_another_are_usage_errors(call, prepare):
    words = prepare()
    done = call(*words, "--objective", "jepa", "--out", "x")
    assert done.code == 2
    assert "'jepa' is unknown. Known: denoising, masked_genes" in done.err
    assert call(*words, "--masked", "0.2", "--out", "x").code == 2, "a parameter of another objective"
