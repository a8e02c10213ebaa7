"""Batches of pretraining: every fitted cell once an epoch, means beside them, shared by processes, never all held."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
import torch

from perturbcast import catalog
from perturbcast.nn.descent import seed_step
from perturbcast.stores import CellFile
from perturbcast.training.pretext_batches import Pools
from perturbcast.training.pretraining import pretrain

QUICK = {"steps": 12, "every": 4, "batch": 16, "width": 3, "hidden": 6, "learning_rate": 0.01, "pooled": 0.3}


@pytest.fixture(scope="module")
def cells(make_data):
    data = make_data(contexts=("a", "b"), perturbations=("G0",), genes=8, cells=50)
    return data.subset(list(data.obs.index[data.obs["is_control"]]))


def task_of(cells, objective="masked_genes", **fields):
    """What would be trained."""
    tasks = []
    config = catalog.configure("encoders", objective, QUICK | fields)
    pretrain(cells, objective=objective, config=config, seed=3, learner=tasks.append)
    return tasks[0]


def stream_of(task, *, steps, **which):
    return task.rows.stream(seed=task.seed, size=task.settings.batch, steps=steps, **which)


def test_every_fitted_cell_comes_once_an_epoch_and_no_held_out_one_ever_does(cells):
    task = task_of(cells, held_out=0.2)
    rows = torch.cat([batch["rows"] for batch in stream_of(task, steps=10).loader]).numpy()
    assert len(rows) == 2 * 80
    for epoch in (rows[:80], rows[80:]):
        np.testing.assert_array_equal(np.sort(epoch), task.rows.fitted)
    own = cells.x.toarray()[np.setdiff1d(np.arange(100), task.rows.fitted)]
    of_pools = task.rows.pools.x.toarray()
    assert np.abs(of_pools[:, None] - own[None]).max(axis=2).min() > 1e-4, "a mean is of fitted cells"


def test_fitted_cells_have_mean_0_and_sd_1_and_means_lie_nearer_to_the_mean_of_all(cells):
    task = task_of(cells, held_out=0.2)
    batches = [batch["cells"] for batch in stream_of(task, steps=5)]
    rows = torch.cat([batch[:16] for batch in batches])
    means = torch.cat([batch[16:] for batch in batches])
    assert (len(rows), len(means)) == (80, 25), "0.3 of 16 are 5"
    np.testing.assert_allclose(rows.mean(dim=0), 0, atol=1e-4)
    np.testing.assert_allclose(rows.std(dim=0), 1, atol=1e-3)
    assert means.std() < 0.6 * rows.std()


def test_a_mean_is_of_2_to_64_cells_of_one_context_in_turn_and_others_at_every_step():
    context = np.repeat(["a", "b", "c"], [700, 10, 1])
    fitted = np.arange(5, 711)
    held = Pools.rows(context, fitted, generator=np.random.default_rng(0))
    assert [int((context[held] == name).sum()) for name in "abc"] == [512, 10, 0]
    assert np.isin(held, fitted).all()
    pools = Pools.of(sp.identity(len(held), format="csr"), context[held], share=0.5, seed=1)
    means = pools.of_step(4, batch=80)
    size = (means > 0).sum(axis=1)
    assert means.shape == (40, 522)
    np.testing.assert_allclose(means.sum(axis=1), 1, rtol=1e-5)
    assert size.min() >= 2
    assert size[::2].max() <= 64
    assert (means[::2][:, context[held] == "b"] == 0).all()
    assert (means[1::2][:, context[held] == "a"] == 0).all()
    assert not np.array_equal(means, pools.of_step(5, batch=80))
    np.testing.assert_array_equal(pools.of_step(4, batch=80, rank=1, ranks=3), means[1::3])
    assert pools.of_step(0, batch=1).shape == (0, 522)


@pytest.mark.parametrize("objective", ["masked_genes", "denoising"])
def test_processes_share_a_batch_and_the_mean_of_their_losses_is_that_of_one(cells, objective):
    """21 rows are no multiple of 2, and what is hidden of a cell does not depend on who holds it."""
    task = task_of(cells, objective, dropout=0.0)
    whole = list(stream_of(task, steps=7))
    shares = [list(stream_of(task, steps=7, rank=rank, ranks=2)) for rank in range(2)]
    for step, batch in enumerate(whole, start=1):
        losses = []
        for share in shares:
            own = share[step - 1]
            assert torch.equal(own["cells"], batch["cells"][own["place"]])
            losses.append(task.loss(task.network, own).item())
        seed_step(task.seed, step)
        assert np.mean(losses) == pytest.approx(task.loss(task.network, batch).item(), rel=1e-5)
        assert sorted(np.concatenate([share[step - 1]["place"] for share in shares])) == list(range(21))


def test_dropout_is_another_in_each_process(cells):
    task = task_of(cells, dropout=0.5, pooled=0.0)
    drawn = []
    for rank in range(2):
        task.loss(task.network.train(), next(iter(stream_of(task, steps=1, rank=rank, ranks=2))))
        drawn.append(torch.rand(4))
    assert not torch.equal(*drawn)


def test_a_position_goes_on_with_the_same_batches(cells):
    task = task_of(cells)
    whole = list(stream_of(task, steps=9))
    first = stream_of(task, steps=9)
    for _, _batch in zip(range(4), first, strict=False):
        pass
    second = stream_of(task, steps=9)
    second.load_state_dict(first.state_dict())
    rest = list(second)
    assert len(rest) == 5
    for one, other in zip(whole[4:], rest, strict=True):
        assert torch.equal(one["cells"], other["cells"])


class _Endless:
    """X of a file of any number of cells: made as it is read, 400 of 500 genes a cell."""

    def __init__(self):
        rng = np.random.default_rng(0)
        self.x = sp.csr_matrix(rng.random((64, 500), dtype=np.float32) * (np.arange(500) < 400))
        self.most = 0

    def read(self, wanted, *, genes):
        self.most = max(self.most, len(wanted))
        return self.x[wanted % 64]


def endless(n):
    obs = pd.DataFrame(
        {"perturbation": pd.Categorical(["control"] * n), "is_control": True, "context": pd.Categorical(["a"] * n)},
        index=pd.Index([f"cell{i}" for i in range(n)]),
    )
    genes = tuple(f"G{i}" for i in range(500))
    meta = {"dataset": "made", "scale": "log1p(counts per 10 000)", "content_hash": "0" * 64}
    return CellFile(path=None, genes=genes, obs=obs, meta=meta, truth=None, at=np.arange(n), matrix=_Endless())


def test_memory_does_not_grow_with_the_number_of_cells():
    """100 MB of values more in the file, and less than 10 MB more in memory: labels and positions."""
    peaks = []
    for n in (18_000, 52_000):
        cells = endless(n)
        tracemalloc.start()
        task = task_of(cells, held_out=0.5, variable_genes=500)
        for batch in stream_of(task, steps=3):
            assert len(batch["cells"]) == 21
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        assert cells.matrix.most <= 8192, "a window of the reader, or all that is held out"
    assert peaks[1] - peaks[0] < 10e6
