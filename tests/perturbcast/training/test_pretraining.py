"""Pretraining: which rows are fitted, which are held out, and where it runs."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from perturbcast import catalog
from perturbcast.encoders import masked_genes
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
