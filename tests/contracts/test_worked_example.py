"""The worked example of CONTRIBUTING.md is a model that keeps the contract, word for word as it is printed there."""

from __future__ import annotations

import re
import sys
import types

import numpy as np
import pytest

from perturbcast import catalog, splits
from perturbcast.training import fit, load_model, save_model


@pytest.fixture
def example(root, monkeypatch):
    """The printed module, where its file would be."""
    text = (root / "CONTRIBUTING.md").read_text()
    name = re.search(r"models/(\w+)\.py`:", text)[1]
    module = types.ModuleType(f"perturbcast.models.{name}")
    monkeypatch.setitem(sys.modules, module.__name__, module)
    exec(re.search(r"```python\n(.*?)```", text, re.DOTALL)[1], module.__dict__)
    return module


def test_fits_predicts_and_is_kept(example, make_data, tmp_path, monkeypatch):
    data = make_data(contexts=("a", "b", "c"))
    split = splits.make(data, "unseen_context")[0]
    monkeypatch.setattr(catalog, "load", lambda folder, name: example)
    model = fit(data, split, kind="shrunken_mean", plugin="shrunken_mean", config=example.Config(), seed=0)
    measured = np.mean([[-0.5 if g == p else 0.0 for g in range(6)] for p in range(3)], axis=0)
    answer = model.predict(split.conditions["train"])
    np.testing.assert_allclose(answer.delta[0], 0.5 * measured, atol=0.05)
    save_model(model, tmp_path / "m")
    np.testing.assert_array_equal(load_model(tmp_path / "m").predict(split.conditions["train"]).delta, answer.delta)
