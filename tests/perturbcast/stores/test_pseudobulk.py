"""Condition means: by hand, and matched by batch where a batch effect would look like a response."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

from perturbcast.schema import Condition, PerturbationData
from perturbcast.stores.pseudobulk import control_means, effects, mean_and_variance


def make_cells(rows, values):
    obs = pd.DataFrame(rows, columns=["perturbation", "context", "batch"], index=[f"c{i}" for i in range(len(rows))])
    obs["is_control"] = obs["perturbation"] == "control"
    x = sp.csr_matrix(np.asarray(values, dtype=np.float32).reshape(len(rows), -1))
    genes = tuple(f"g{i}" for i in range(x.shape[1]))
    return PerturbationData(x=x, genes=genes, obs=obs, meta={"dataset": "d", "content_hash": "h"})


def test_delta_and_its_error_by_hand():
    rows = [("control", "a", "1")] * 2 + [("A", "a", "1")] * 2
    data = make_cells(rows, [1.0, 3.0, 4.0, 6.0])
    found = effects(data, cells=list(data.obs.index), conditions=[Condition("A", "a")])
    assert found.delta.item() == 3.0
    assert found.control.item() == 2.0
    assert found.error.item() == pytest.approx(2.0 / 2 + 2.0 / 2)  # unbiased variances 2 and 2 over 2 cells each


def test_batch_effect_is_not_a_response():
    """Batch 2 is 10 higher; the perturbed cells sit mostly in it, and nothing else differs."""
    rows = [("control", "a", "1")] * 8 + [("control", "a", "2")] * 8 + [("A", "a", "1")] * 1 + [("A", "a", "2")] * 3
    values = [1.0] * 8 + [11.0] * 8 + [1.0] + [11.0] * 3
    data = make_cells(rows, values)
    found = effects(data, cells=list(data.obs.index), conditions=[Condition("A", "a")])
    assert found.matching == ("context+batch",)
    assert found.delta.item() == pytest.approx(0.0)


def test_batches_without_controls_fall_back_to_the_context():
    rows = [("control", "a", "1")] * 8 + [("A", "a", "2")] * 3
    found = effects(make_cells(rows, [1.0] * 8 + [4.0] * 3), cells=["c8", "c9"], conditions=[Condition("A", "a")])
    assert found.matching == ("context",)
    assert found.delta.item() == 3.0
    assert found.n_cells.tolist() == [2], "only the cells given are used"


def test_controls_are_matched_by_context():
    rows = [("control", "a", "1"), ("control", "b", "1"), ("A", "b", "1")]
    data = make_cells(rows, [1.0, 5.0, 7.0])
    assert effects(data, cells=["c2"], conditions=[Condition("A", "b")]).delta.item() == 2.0
    assert {name: mean.item() for name, mean in control_means(data).items()} == {"a": 1.0, "b": 5.0}
    assert set(control_means(data, among=["c1", "c2"])) == {"b"}


def test_sparse_moments_equal_numpy():
    dense = np.random.default_rng(0).poisson(0.5, (50, 7)).astype(np.float32)
    mean, variance = mean_and_variance(sp.csr_matrix(dense))
    np.testing.assert_allclose(mean, dense.mean(axis=0), atol=1e-12)
    np.testing.assert_allclose(variance, dense.astype(float).var(axis=0, ddof=1), atol=1e-12)


def test_a_condition_without_cells_or_controls_is_refused():
    data = make_cells([("control", "a", "1"), ("A", "a", "1"), ("B", "b", "1")], [1.0, 2.0, 3.0])
    with pytest.raises(ValueError, match="'A in a' has none among the 1 given"):
        effects(data, cells=["c0"], conditions=[Condition("A", "a")])
    with pytest.raises(ValueError, match="context 'b' holds none"):
        effects(data, cells=["c2"], conditions=[Condition("B", "b")])
    assert data.conditions == (Condition("A", "a"),), "a context without controls has no conditions"
