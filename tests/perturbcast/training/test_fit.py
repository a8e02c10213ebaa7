"""Fitting reads train and calibration cells only, and a trained model answers with what it has seen."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from perturbcast import catalog, splits
from perturbcast.errors import UnanswerableError
from perturbcast.graphs import GeneGraph
from perturbcast.models.interface import to_state
from perturbcast.schema import Condition, content_hash
from perturbcast.training import fit

MODELS = [name for name in catalog.names("models") if name != "truth"]
RULES = ["unseen_context", "unseen_perturbation", "in_distribution"]


def make_split(data, rule):
    config = catalog.configure("splits", rule, {"folds": 3} if rule == "unseen_perturbation" else {})
    return splits.make(data, rule, config=config, seed=1)[0]


def trained(data, split, name="mean_delta"):
    return fit(data, split, kind=name, plugin=name, config=catalog.load("models", name).Config(), seed=0)


def with_changed_cells(data, barcodes):
    """The same data with other expression in the named cells."""
    x = data.x.tolil(copy=True)
    rows = data.obs.index.get_indexer(list(barcodes))
    x[rows] = np.random.default_rng(9).random((len(rows), x.shape[1])) * 9
    x = x.tocsr().astype(np.float32)
    # the same hash on purpose: only the values that fitting could look at differ
    return dataclasses.replace(data, x=x)


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("name", MODELS)
def test_changing_test_and_validation_cells_moves_nothing_fitted_or_calibrated(make_data, rule, name):
    data = make_data(contexts=("a", "b", "c", "d"), perturbations=tuple(f"G{i}" for i in range(6)))
    split = make_split(data, rule)
    one = trained(data, split, name)
    changed = with_changed_cells(data, [*split.parts["test"], *split.parts["validation"]])
    assert content_hash(changed.x, changed.genes, changed.obs) != content_hash(data.x, data.genes, data.obs)
    other = trained(changed, split, name)
    for first, second in zip(to_state(one.model)[0].values(), to_state(other.model)[0].values(), strict=True):
        np.testing.assert_array_equal(first, second)
    assert one.calibration == other.calibration
    for context, mean in one.control_means.items():
        np.testing.assert_array_equal(mean, other.control_means[context])


def test_controls_of_the_test_context_move_nothing_fitted(make_data):
    data = make_data(contexts=("a", "b", "c", "d", "e"))
    split = splits.make(data, "unseen_context", seed=1)[0]
    controls = [b for b in split.parts["control_input"] if data.obs.loc[b, "context"] == split.held_out]
    one, other = (trained(d, split, "train_mean") for d in (data, with_changed_cells(data, controls)))
    np.testing.assert_array_equal(one.model.profile, other.model.profile)
    assert one.calibration == other.calibration


def test_changing_train_cells_does_move_the_fit(make_data):
    """The guard above can fail: what it compares is sensitive to cells."""
    data = make_data(contexts=("a", "b", "c", "d"))
    split = make_split(data, "unseen_context")
    perturbed = [b for b in split.parts["train"] if not data.obs.loc[b, "is_control"]]
    one, other = trained(data, split), trained(with_changed_cells(data, perturbed), split)
    assert not np.array_equal(one.model.delta, other.model.delta)


def test_recovers_known_effects(make_data):
    data = make_data(contexts=("a", "b", "c"), noise=0.02)
    split = make_split(data, "in_distribution")
    answer = trained(data, split).predict([Condition("G1", "b")])
    np.testing.assert_allclose(answer.delta[0], [0, -0.5, 0, 0, 0, 0], atol=0.02)


def test_says_what_was_seen_in_training(make_data):
    data = make_data(contexts=("a", "b", "c"))
    split = make_split(data, "unseen_context")
    model = trained(data, split)
    train = split.conditions["train"][0]
    means = {split.held_out: np.full(6, 2.0)}
    asked = [train, Condition(train.perturbation, split.held_out), Condition("NEW", train.context)]
    answer = model.predict(asked, control_means=means)
    assert answer.seen.tolist() == [[True, True, True], [True, False, False], [False, True, False]]


def test_an_unseen_context_is_farther_from_train_than_a_seen_one(make_data):
    data = make_data(contexts=("a", "b", "c", "d"))
    split = make_split(data, "unseen_context")
    model = trained(data, split)
    train = split.conditions["train"][0]
    asked = [train, Condition(train.perturbation, split.held_out), Condition("NEW", train.context)]
    scores = model.predict(asked, control_means={split.held_out: np.full(6, 9.0)}).ood_score
    assert scores[0] == 0.0
    assert scores[1] > scores[2] > scores[0]


def test_unknown_context_without_controls_and_control_itself_are_refused(make_data):
    data = make_data()
    model = trained(data, make_split(data, "unseen_context"))
    with pytest.raises(UnanswerableError, match=r"'mars' was not in training .* no control cells were given"):
        model.predict([Condition("G0", "mars")])
    with pytest.raises(UnanswerableError, match="asked for a perturbation; 'control in a' is none"):
        model.predict([Condition("control", "a")])
    with pytest.raises(ValueError, match=r"one value per gene \(6\); that of 'mars' has shape \(5,\)"):
        model.predict([Condition("G0", "mars")], control_means={"mars": np.ones(5)})


def make_graph(genes, **provenance):
    edge = {"source": np.array([0]), "target": np.array([1]), "weight": np.array([1.0])}
    return GeneGraph.of(name="made", genes=genes, **edge, provenance=provenance)


def test_a_model_is_given_cells_of_train_only_and_graphs_in_the_order_of_the_data(make_data, monkeypatch):
    data = make_data(contexts=("a", "b", "c", "d"))
    split = make_split(data, "unseen_context")
    model = catalog.load("models", "control").Model
    given = []
    kept = model.fit
    monkeypatch.setattr(model, "fit", lambda train, *rest, **named: given.append(train) or kept(train, *rest, **named))
    reversed_genes = make_graph(data.genes[::-1])
    fit(
        data,
        split,
        kind="control",
        plugin="control",
        config=catalog.load("models", "control").Config(),
        seed=0,
        graphs=[reversed_genes],
    )
    assert tuple(given[0].cells.obs.index) == split.parts["train"]
    assert given[0].graphs["made"].edge_index.tolist() == [[5], [4]]


def test_a_graph_from_cells_of_another_fold_is_refused(make_data):
    data = make_data(contexts=("a", "b", "c", "d"))
    one, other = splits.make(data, "unseen_context", seed=1)[:2]
    graph = make_graph(data.genes, cells_sha256=one.barcode_hashes["train"])
    fit(
        data,
        one,
        kind="control",
        plugin="control",
        config=catalog.load("models", "control").Config(),
        seed=0,
        graphs=[graph],
    )
    with pytest.raises(ValueError, match="made from other cells than the train part of fold 1"):
        fit(
            data,
            other,
            kind="control",
            plugin="control",
            config=catalog.load("models", "control").Config(),
            seed=0,
            graphs=[graph],
        )
