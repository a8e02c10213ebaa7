"""``perturbcast pretrain`` from disk or memory, killed or not, in one process or two: the same encoder."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from perturbcast import encoders, splits
from perturbcast.stores import h5ad

STEPS = 18
WATCHED = Path(__file__).with_name("watched_pretrain.py")


@pytest.fixture
def words(make_data, tmp_path):
    """Of the command, without ``--out``: 60 control cells in the train part, 54 of them fitted, 18 at a step."""
    data = make_data(contexts=("a", "b", "c", "d", "e"), perturbations=("G0", "G1"), genes=9)
    h5ad.write(data, tmp_path / "made.h5ad")
    fold = splits.make(data, "unseen_context", seed=1)[0]
    splits.freeze(fold, tmp_path / "split/fold_0.json")
    steps = ("--steps", STEPS, "--every", 6, "--patience", 100, "--batch", 18, "--width", 3, "--hidden", 6)
    return ("pretrain", "--data", "made.h5ad", "--split", "split", "--no-track", *steps, "--learning-rate", 0.01)


def content(folder):
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def watched(words, folder, **environment):
    """The command in a process of its own."""
    return subprocess.run(
        [sys.executable, WATCHED, *map(str, words)],
        cwd=folder,
        env={**os.environ, "WATCHED": str(folder), **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )


@pytest.mark.parametrize("objective", ["masked_genes", "denoising"])
def test_cells_on_disk_give_the_bytes_of_cells_in_memory(call, words, tmp_path, monkeypatch, objective):
    words = (*words, "--objective", objective)
    assert call(*words, "--out", "held").code == 0
    monkeypatch.setattr(h5ad, "read", None)  # nothing may hold the dataset whole
    assert call(*words, "--on-disk", "--out", "streamed").code == 0
    assert call(*words, "--on-disk", "--workers", 2, "--out", "ahead").code == 0
    held = content(tmp_path / "held/fold_0")
    assert held == content(tmp_path / "streamed/fold_0") == content(tmp_path / "ahead/fold_0")
    looks = [value for _, value in json.loads(held["curves.json"])["held_out_loss"]]
    assert min(looks) < looks[0], "it has learned"


def test_workers_without_a_file_to_read_are_a_usage_error(call, words):
    done = call(*words, "--workers", 2, "--out", "x")
    assert done.code == 2
    assert "--workers 2 was given without --on-disk" in done.err


@pytest.mark.slow
def test_a_kill_in_a_save_in_mid_epoch_and_the_same_command_end_in_the_same_bytes(call, words, tmp_path):
    """Three steps are an epoch; the second save, after step 14, is half written when the kill comes."""
    words = (*words, "--on-disk", "--checkpoint-every", 7)
    assert call(*words, "--out", "whole").code == 0
    killed = watched((*words, "--out", "killed"), tmp_path, KILLED_IN_SAVE="2")
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert not (tmp_path / "killed").exists()
    left = sorted(path.name.split(".")[-2:] for path in (tmp_path / ".killed.checkpoints/fold_0").iterdir())
    assert [name[-1] for name in left] == ["ckpt", "ckpt"], "a whole one, and half of the next under another name"
    done = call(*words, "--out", "killed")
    assert done.code == 0, done.err
    assert "went on from step 7" in done.err
    assert content(tmp_path / "killed/fold_0") == content(tmp_path / "whole/fold_0")
    assert not list(tmp_path.glob(".*")), "no checkpoint is left"


@pytest.mark.slow
def test_two_processes_follow_the_curve_of_one_see_different_cells_and_end_alike(call, words, tmp_path):
    words = (*words, "--on-disk", "--dropout", 0)
    assert call(*words, "--out", "one").code == 0
    done = watched((*words, "--devices", 2, "--out", "two"), tmp_path)
    assert done.returncode == 0, done.stderr
    first, second = (json.loads((tmp_path / f"{rank}.json").read_text()) for rank in range(2))
    for what in ("losses", "looks", "hash"):
        assert first[what] == second[what], "both ranks end alike"
    seen = np.array([rank["rows"] for rank in (first, second)])
    assert seen.shape == (2, STEPS, 9)
    epochs = seen.transpose(1, 0, 2).reshape(STEPS // 3, 54)
    assert all(np.array_equal(np.sort(epoch), np.unique(epochs)) for epoch in epochs), "each cell once, by one rank"
    assert len(np.unique(epochs)) == 54
    one, two = (encoders.load(tmp_path / f"{name}/fold_0") for name in ("one", "two"))
    curves = [json.loads((tmp_path / f"{name}/fold_0/curves.json").read_text()) for name in ("one", "two")]
    for name in ("loss", "held_out_loss"):
        np.testing.assert_allclose(curves[0][name], curves[1][name], rtol=1e-4)
    assert one.weights.keys() == two.weights.keys()
    for name, values in one.weights.items():
        np.testing.assert_allclose(values, two.weights[name], rtol=0, atol=1e-4)
    assert one.hash != two.hash, "sums of two halves round otherwise: two processes were at work"
    assert two.hash == first["hash"]
