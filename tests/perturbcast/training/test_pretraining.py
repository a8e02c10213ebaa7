"""Pretraining: which rows are fitted, which are held out, and where it runs."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from perturbcast import catalog
from perturbcast.encoders import masked_genes
from perturbcast.training import pretraining
from perturbcast.training.lightning import Learner
from perturbcast.training.pretraining import pretrain

QUICK = {"steps": 12, "every": 4, "batch": 16, "width": 3, "hidden": 6, "learning_rate": 0.01}


@pytest.fixture(scope="module")
def cells(make_data):
    data = make_data(contexts=("a", "b"), perturbations=("G0",), genes=8, cells=50)
    return data.subset(list(data.obs.index[data.obs["is_control"]]))


def run(cells, learner=None, **fields):
    config = masked_genes.Config(**QUICK | fields)
    return pretrain(cells, objective="masked_genes", config=config, seed=3, learner=learner)


def test_lightning_and_the_plain_loop_end_in_the_same_bits_with_the_whole_curves(cells, tmp_path):
    learner = Learner(folder=tmp_path)
    assert run(cells).hash == run(cells, learner).hash
    assert [step for step, _ in learner.history] == list(range(1, 13))
    assert [step for step, _ in learner.looks] == [0, 4, 8, 12]


def test_held_out_cells_are_in_no_row_and_pools_are_means_of_cells_of_one_context(cells, monkeypatch):
    seen = {}
    score = pretraining._score
    monkeypatch.setattr(pretraining, "_score", lambda held, seed: seen.update(held=held) or score(held, seed=seed))
    run(cells, lambda task: seen.update(rows=task.rows["cells"]), held_out=0.2, pooled=0.5)
    rows, held = seen["rows"], seen["held"]
    assert (len(rows), len(held)) == (80 + 40, 20)
    assert (rows[:80, None] - held[None]).abs().amax(dim=2).min() > 1e-4, "no held-out cell is fitted"
    np.testing.assert_allclose(rows[:80].mean(dim=0), 0, atol=1e-4)
    np.testing.assert_allclose(rows[:80].std(dim=0), 1, atol=1e-3)
    assert rows[80:].std() < 0.6 * rows[:80].std(), "a mean of cells lies nearer to the mean of all"


def test_a_pool_has_2_to_64_cells_of_one_context_in_turn():
    context = np.repeat(["a", "b", "c"], [100, 10, 1])
    pools = pretraining._pools(context, 40, generator=np.random.default_rng(0)).toarray()
    size = (pools > 0).sum(axis=1)
    assert pools.shape == (40, 111)
    np.testing.assert_allclose(pools.sum(axis=1), 1)
    assert size.min() >= 2
    assert size[::2].max() <= 64
    assert size[1::2].max() <= 10
    assert (pools[::2, 100:] == 0).all()
    assert (pools[1::2, :100] == 0).all()


def test_the_most_variable_genes_are_read_in_the_order_of_the_data(cells):
    varied = cells.x.toarray()
    varied[:, [6, 1]] *= np.random.default_rng(0).uniform(0.2, 3, (100, 2))
    encoder = run(dataclasses.replace(cells, x=varied), variable_genes=2)
    assert encoder.genes == ("G1", "G6")
    assert encoder.provenance["contexts"] == {"a": 50, "b": 50}


def test_too_few_cells_are_refused(cells):
    with pytest.raises(ValueError, match=r"at least 10 cells, some of them held out; 'made' gave 9\."):
        run(cells.subset(list(cells.obs.index[:9])))


def test_an_encoder_with_running_statistics_is_refused(cells, monkeypatch):
    module = catalog.load("encoders", "masked_genes")
    task = module.build(masked_genes.Config(**QUICK), genes=8)
    task.encoder.append(torch.nn.BatchNorm1d(3))
    monkeypatch.setattr(module, "build", lambda config, genes: task)
    with pytest.raises(ValueError, match="'masked_genes' has buffers, which would be lost"):
        run(cells)
