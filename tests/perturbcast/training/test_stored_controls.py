"""Some control cells stay with a model: those of train alone, the same for every model of a fold, proven by hash."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from perturbcast import catalog, splits
from perturbcast.schema import Condition
from perturbcast.training import fit, load_model, save_model, stored_controls


@pytest.fixture
def data(make_data):
    return make_data(cells=120)


@pytest.fixture
def split(data):
    return splits.make(data, "unseen_context", seed=1)[0]


def fitted(data, split, *, kind="linear", seed=0):
    return fit(data, split, kind=kind, plugin=kind, config=catalog.load("models", kind).Config(), seed=seed)


def rows_of(cells):
    return {row.tobytes() for row in cells.toarray()}


def test_they_are_train_controls_of_their_context_and_a_hundred_at_most(data, split):
    cells = fitted(data, split).control_cells
    train = data.subset(split.parts["train"])
    assert set(cells) == set(train.obs["context"]) != set(data.obs["context"])
    for context, x in cells.items():
        controls = train.x[((train.obs["context"] == context) & train.obs["is_control"]).to_numpy()]
        assert x.shape == (min(stored_controls.STORED, controls.shape[0]), len(data.genes))
        assert len(rows_of(x)) == x.shape[0], "each once"
        assert rows_of(x) <= rows_of(controls)


def test_every_model_of_a_fold_keeps_the_same_file(data, split, tmp_path):
    for name, kind, seed in (("one", "linear", 0), ("two", "mean_delta", 5)):
        save_model(fitted(data, split, kind=kind, seed=seed), tmp_path / name)
    one, two = ((tmp_path / name / "controls.npz").read_bytes() for name in ("one", "two"))
    assert one == two


def test_they_come_back_equal(data, split, tmp_path):
    made = fitted(data, split)
    save_model(made, tmp_path / "m")
    again = load_model(tmp_path / "m").control_cells
    assert {context: x.toarray().tobytes() for context, x in again.items()} == {
        context: x.toarray().tobytes() for context, x in made.control_cells.items()
    }


def test_a_directory_without_them_answers_and_one_that_lost_them_is_refused(data, split, tmp_path):
    made = fitted(data, split)
    save_model(dataclasses.replace(made, control_cells={}), tmp_path / "without")
    without = load_model(tmp_path / "without")
    asked = [Condition("G0", next(iter(made.control_means)))]
    np.testing.assert_array_equal(without.predict(asked).delta, made.predict(asked).delta)
    assert without.control_cells == {}
    save_model(made, tmp_path / "lost")
    (tmp_path / "lost" / "controls.npz").unlink()
    with pytest.raises(ValueError, match=r"controls\.npz does not have the sha256"):
        load_model(tmp_path / "lost")
    (tmp_path / "without" / "controls.npz").write_bytes(b"slipped in")
    with pytest.raises(ValueError, match=r"controls\.npz does not have the sha256"):
        load_model(tmp_path / "without")
