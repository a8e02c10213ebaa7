"""What is seen when, how fast, and when it stops."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from perturbcast.nn.descent import Best, Settings, Task, learn, rate
from perturbcast.nn.stream import Batches, Rows, rows_of_step

SETTINGS = Settings(steps=40, batch=4, learning_rate=0.05, weight_decay=0.0, every=2, patience=3)


def make_task(*, rows=10, score=None, settings=SETTINGS, target=1.0, seed=0):
    torch.manual_seed(0)
    network = torch.nn.Linear(3, 1)
    x = torch.randn(rows, 3, generator=torch.Generator().manual_seed(1))

    def loss(net, batch):
        return (net(batch["x"]) - target).square().mean()

    return Task(
        network=network,
        rows=Rows(count=len(x), build=lambda at: {"x": x[at]}),
        loss=loss,
        score=score,
        metric="rmse",
        settings=settings,
        seed=seed,
        config={},
    )


def test_an_epoch_sees_each_row_once_and_the_next_in_another_order():
    seen = np.concatenate([rows_of_step(step, seed=3, rows=10, size=4) for step in range(5)])
    assert sorted(seen[:10]) == sorted(seen[10:]) == list(range(10))
    assert seen[:10].tolist() != seen[10:].tolist()
    assert rows_of_step(7, seed=3, rows=10, size=4).tolist() != rows_of_step(7, seed=4, rows=10, size=4).tolist()


def test_ranks_share_each_batch_without_overlap():
    whole = list(Batches(seed=1, rows=10, size=4, steps=6))
    shares = [list(Batches(seed=1, rows=10, size=4, steps=6, rank=rank, ranks=2)) for rank in (0, 1)]
    for batch, one, two in zip(whole, *shares, strict=True):
        assert len(one) == len(two) == 2
        assert sorted([*one, *two]) == sorted(batch)


def test_a_batch_that_ranks_cannot_share_is_refused():
    with pytest.raises(ValueError, match="3 rows cannot be shared by 2 processes"):
        Batches(seed=0, rows=10, size=3, steps=1, ranks=2)


def test_a_stream_goes_on_from_its_position():
    whole = [batch.tolist() for batch in Batches(seed=1, rows=10, size=4, steps=6)]
    first = Batches(seed=1, rows=10, size=4, steps=6)
    begun = [next(it).tolist() for it in [iter(first)] for _ in range(2)]
    second = Batches(seed=1, rows=10, size=4, steps=6)
    second.load_state_dict(first.state_dict())
    assert begun + [batch.tolist() for batch in second] == whole


def test_the_digest_of_rows_holds_every_row_and_its_name():
    x = torch.arange(40.0).reshape(20, 2)
    digests = [Rows(count=20, build=lambda at: {"x": x[at]}).digest() for _ in range(2)]
    for row in (3, 18):
        other = x.clone()
        other[row, 1] += 1
        digests.append(Rows(count=20, build=lambda at, other=other: {"x": other[at]}).digest())
    digests.append(Rows(count=20, build=lambda at: {"y": x[at]}).digest())
    assert digests[0] == digests[1]
    assert len(set(digests)) == 4


def test_rate_warms_up_and_falls_along_a_cosine_to_nothing():
    settings = Settings(steps=110, batch=1, learning_rate=1.0, weight_decay=0.0, warmup=0.0909)
    assert [rate(step, settings) for step in (0, 4, 9)] == pytest.approx([0.1, 0.5, 1.0])
    assert rate(10, settings) == 1.0
    assert rate(60, settings) == pytest.approx(0.5)
    assert rate(109, settings) == pytest.approx(0.0, abs=1e-3)


def test_learning_finds_the_answer_and_the_seed_decides_every_bit():
    first, second, other = make_task(), make_task(), make_task(seed=1)
    for task in (first, second, other):
        learn(task)
    assert torch.equal(first.network.weight, second.network.weight)
    assert not torch.equal(first.network.weight, other.network.weight)
    assert float(first.network.bias.detach()) > 0.5


def test_it_stops_by_validation_and_keeps_the_best_weights():
    """A score that is best when the bias is 0.3: training drives on to 1, the kept weights do not."""
    looked = []

    def score(network):
        looked.append(abs(float(network.bias.detach()) - 0.3))
        return looked[-1], -looked[-1]

    task = make_task(score=score)
    learn(task)
    assert abs(float(task.network.bias.detach()) - 0.3) == pytest.approx(min(looked))
    assert len(looked) < 1 + SETTINGS.steps / SETTINGS.every, "patience ended the run"


def test_best_counts_looks_without_improvement():
    network = torch.nn.Linear(1, 1)
    best = Best(patience=2)
    for step, loss in enumerate([3.0, 2.0, 2.0, 2.5]):
        assert not best.is_over
        best.look(loss, step, network)
    assert best.is_over
    assert (best.loss, best.step) == (2.0, 1)


def test_a_loss_that_is_not_a_number_ends_the_run():
    with pytest.raises(ValueError, match=r"that of step 1 is nan\. Lower learning_rate"):
        learn(make_task(target=float("nan")))
