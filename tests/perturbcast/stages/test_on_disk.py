"""``train --on-disk`` and ``predict --on-disk``: what they give with cells in memory, without holding them."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from perturbcast import catalog, splits
from perturbcast.stores import CellFile, h5ad, predictions
from perturbcast.training import fit
from perturbcast.training.validation import held_out


@pytest.fixture
def data(make_data, tmp_path):
    data = make_data(contexts=("a", "b", "c", "d"), perturbations=tuple(f"G{i}" for i in range(5)), batches=2)
    h5ad.write(data, tmp_path / "made.h5ad")
    splits.freeze(splits.make(data, "unseen_context", seed=1)[0], tmp_path / "split/fold_0.json")
    return data


def answered(call, tmp_path, model, *more, data="made.h5ad", name="m"):
    where = ("--data", data, "--split", "split")
    steps = ("--steps", 4) if model == "cgio" else ()
    done = call("train", *where, "--model", model, "--out", name, *more, *steps)
    assert done.code == 0, done.err
    done = call("predict", *where, "--model", name, "--out", f"{name}_answers", *more)
    assert done.code == 0, done.err
    return [predictions.read(tmp_path / f"{name}_answers/fold_0/{part}.npz") for part in ("validation", "test")]


@pytest.mark.parametrize("model", ["additive", "linear", "ridge", "latent_shift", "cgio"])
def test_models_trained_from_disk_answer_as_those_trained_in_memory(call, data, tmp_path, model, monkeypatch):
    held = answered(call, tmp_path, model)
    monkeypatch.setattr(h5ad, "read", None)  # nothing may hold the dataset whole
    streamed = answered(call, tmp_path, model, "--on-disk", name="streamed")
    for one, other in zip(held, streamed, strict=True):
        assert one.conditions == other.conditions
        for field in ("delta", "variance", "control"):
            np.testing.assert_allclose(getattr(other, field), getattr(one, field), rtol=1e-4, atol=1e-6)
        assert list(one.intervals) == list(other.intervals)


def test_test_cells_move_nothing_that_is_fitted_from_disk(data, tmp_path):
    split = splits.load(tmp_path / "split/fold_0.json")
    x = data.x.tolil(copy=True)
    x[data.obs.index.get_indexer(list(split.parts["test"]))] = 9.0
    h5ad.write(dataclasses.replace(data, x=x.tocsr().astype(np.float32)), tmp_path / "changed.h5ad")
    with pytest.raises(ValueError, match="not edited after import"):
        CellFile.open(tmp_path / "changed.h5ad")
    files = [CellFile.open(tmp_path / f"{name}.h5ad", check=False) for name in ("made", "changed")]
    config = catalog.configure("models", "cgio", {"steps": 4})
    one, other = (
        fit(file, split, kind="cgio", plugin="cgio", config=config, seed=0, validation=held_out(file, split))
        for file in files
    )
    np.testing.assert_array_equal(one.model.weights, other.model.weights)
    assert one.calibration == other.calibration
