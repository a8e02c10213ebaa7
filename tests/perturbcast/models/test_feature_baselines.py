"""Ridge, nearest and latent shift against predictions worked out by hand, and what they may not do."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import scipy.sparse as sp

from perturbcast import catalog
from perturbcast.graphs import GeneGraph
from perturbcast.models import TrainingSet, latent_shift, nearest, ridge
from perturbcast.schema import Condition
from perturbcast.stores import effects

FEATURED = ("ridge", "nearest")
GENES = [f"G{i}" for i in range(8)]


def fitted(module, train, **values):
    return module.Model.fit(train, module.Config(**values), generator=np.random.default_rng(0))


def ask(model, *labels, context="a", genes=8):
    conditions = [Condition(label, context) for label in labels]
    return model.predict(conditions, control=np.ones((len(conditions), genes)))


@pytest.fixture
def embedding(tmp_path):
    """Two programmes: P*, and A to C, along the first axis, Q* and D along the second."""
    rows = {
        "A": (1, 0.1),
        "B": (1, -0.1),
        "C": (0.9, 0),
        "D": (0, 1),
        "PNEW": (1, 0),
        "QNEW": (0.1, 1),
        "PTWO": (1, 0.05),
    }
    path = tmp_path / "embedding.csv"
    path.write_text("name,x,y\n" + "".join(f"{name},{x},{y}\n" for name, (x, y) in rows.items()))
    return str(path)


@pytest.fixture
def train(make_train):
    """Singles A to D in one context; the first three alike."""
    rng = np.random.default_rng(0)
    first, second = rng.standard_normal((2, 8))
    deltas = {("A", "a"): first + 0.1, ("B", "a"): first - 0.1, ("C", "a"): 0.9 * first, ("D", "a"): second}
    return make_train(deltas, genes=GENES)


def test_nearest_is_the_mean_of_the_most_similar(train, embedding):
    model = fitted(nearest, train, k=2, expression=False, embedding=embedding)
    a, _, c, d = train.effects.delta
    answer = ask(model, "PNEW", "A", "A+D", "PNEW+D")
    np.testing.assert_allclose(answer.delta, [(c + a) / 2, a, a + d, (c + a) / 2 + d])
    assert answer.notes == (("PNEW: mean of C, A",), (), (), ("PNEW: mean of C, A",))


def test_nearest_prefers_the_context_asked_about_and_says_when_it_cannot(make_train, embedding):
    one, two, three = np.eye(3)
    train = make_train({("A", "a"): one, ("B", "a"): two, ("A", "b"): three})
    model = fitted(nearest, train, k=1, expression=False, embedding=embedding)
    for label, context, delta, note in [
        ("A", "b", three, ()),
        ("A", "c", (one + three) / 2, ("A: mean over 2 train contexts",)),
        ("PTWO", "b", three, ("PTWO: mean of A",)),
        ("PTWO", "a", one, ("PTWO: mean of A",)),
    ]:
        answer = ask(model, label, context=context, genes=3)
        np.testing.assert_allclose(answer.delta[0], delta)
        assert answer.notes[0] == note


def test_nearest_stays_in_the_context_asked_about(make_train, embedding):
    """A is most like PTWO, but only B was measured in b; in c nothing was."""
    train = make_train({("A", "a"): [1.0, 0], ("B", "b"): [0, 1.0]})
    model = fitted(nearest, train, expression=False, k=1, embedding=embedding)
    answers = {context: ask(model, "PTWO", context=context, genes=2) for context in "abc"}
    assert {context: answer.delta[0].tolist() for context, answer in answers.items()} == {
        "a": [1, 0],
        "b": [0, 1],
        "c": [1, 0],
    }
    unknown = {context: ask(model, "X", context=context, genes=2).delta[0].tolist() for context in "bc"}
    assert unknown == {"b": [0, 1], "c": [0.5, 0.5]}


def test_nearest_borrows_along_a_graph(make_train):
    """G0 - G1 - G2 and G5 - G6 - G7: ends of a path have the same neighbour."""
    ends = np.array([[0, 1], [1, 2], [5, 6], [6, 7]])
    source, target = np.concatenate([ends, ends[:, ::-1]]).T
    graph = GeneGraph.of(
        name="paths", genes=GENES, source=source, target=target, weight=np.ones(8), provenance={"source": "hand"}
    )
    deltas = {("G2", "a"): np.arange(8.0), ("G7", "a"): -np.ones(8)}
    train = dataclasses.replace(make_train(deltas, genes=GENES), graphs={"paths": graph})
    model = fitted(nearest, train, k=1, expression=False, graph="paths", components=4)
    np.testing.assert_allclose(ask(model, "G0", "G5").delta, [np.arange(8.0), -np.ones(8)])
    with pytest.raises(ValueError, match=r"'other' is not among paths.*--graph"):
        fitted(nearest, train, graph="other")


def test_ridge_predicts_a_new_target_from_its_features_and_follows_its_input(train, embedding):
    model = fitted(ridge, train, ridge=0.01, expression=False, embedding=embedding)
    first, second = (train.effects.delta[0] + train.effects.delta[1]) / 2, train.effects.delta[3]
    answer = ask(model, "PNEW", "QNEW")
    assert np.corrcoef(answer.delta[0], first)[0, 1] > 0.95
    assert np.corrcoef(answer.delta[1], second)[0, 1] > 0.8
    assert np.abs(answer.delta[0] - answer.delta[1]).max() > 0.5
    assert answer.notes == ((), ())


def test_ridge_by_hand_with_one_hot_inputs_alone(make_train):
    """Two perturbations, three conditions, no features: X'X + aI is 2 x 2."""
    deltas = {("A", "a"): [1.0, 0.0], ("A", "b"): [3.0, 0.0], ("B", "a"): [0.0, 4.0]}
    train = make_train(deltas)
    model = fitted(ridge, train, ridge=0.5, interaction=0.0, expression=False)
    hot = np.array([[1, 0], [1, 0], [0, 1.0]])
    x = hot - hot.mean(axis=0)
    size = np.sqrt((x**2).sum(axis=1).mean())
    y = np.array(list(deltas.values()))
    weight = np.linalg.solve((x / size).T @ (x / size) + 0.5 * np.eye(2), (x / size).T @ (y - y.mean(axis=0)))
    expected = y.mean(axis=0) + (np.eye(2) - hot.mean(axis=0)) / size @ weight
    np.testing.assert_allclose(ask(model, "A", "B", genes=2).delta, expected)


def test_ridge_reads_the_control_profile(make_train):
    """The effect grows with the baseline of gene 0; a new context with a baseline between gets one between."""
    baseline = {"a": [0.0, 1, 1], "b": [2.0, 1, 1], "c": [4.0, 1, 1]}
    train = make_train({("A", c): [-0.5 * v[0], 0, 0] for c, v in baseline.items()}, baseline=baseline)
    model = fitted(ridge, train, ridge=1e-3, interaction=0.1)
    answer = model.predict([Condition("A", "new")], control=np.array([[3.0, 1, 1]]))
    np.testing.assert_allclose(answer.delta[0], [-1.5, 0, 0], atol=0.02)


def test_the_ridge_is_not_a_scaled_train_mean(train, embedding):
    model = fitted(ridge, train, expression=False, embedding=embedding)
    answer = ask(model, "A", "D", "PNEW", "QNEW").delta
    assert np.abs(np.corrcoef(answer)[0, 1]) < 0.9
    assert np.abs(np.corrcoef(answer)[2, 3]) < 0.9


@pytest.mark.parametrize("name", FEATURED)
def test_a_target_of_which_nothing_is_known_gets_the_mean_and_says_so(name, train, embedding):
    model = fitted(catalog.load("models", name), train, expression=False, embedding=embedding)
    one, two = (ask(model, label) for label in ("IFNB", "OTHER"))
    np.testing.assert_allclose(one.delta[0], train.effects.delta.mean(axis=0), atol=1e-12)
    np.testing.assert_array_equal(one.delta, two.delta)
    assert "no feature found for IFNB" in one.notes[0][0]
    assert (one.variance >= ask(model, "PNEW").variance).all()


@pytest.mark.parametrize("name", FEATURED)
def test_held_out_targets_differ_by_features_alone(name, train, tmp_path):
    """Two unseen targets with one row of features have one prediction; no row of their own was left in the model."""
    path = tmp_path / "same.csv"
    path.write_text("name,x,y\nA,1,0\nB,1,0.1\nC,0.9,0\nD,0,1\nTWIN1,0.5,0.5\nTWIN2,0.5,0.5\nOTHER,0,1\n")
    model = fitted(
        catalog.load("models", name),
        train,
        expression=False,
        embedding=str(path),
        **({"k": 1} if name == "nearest" else {}),
    )
    answer = ask(model, "TWIN1", "TWIN2", "OTHER").delta
    np.testing.assert_array_equal(answer[0], answer[1])
    assert np.abs(answer[0] - answer[2]).max() > 1e-3


def test_kinds_sign_the_inputs(make_data):
    """Activation in one context and interference in the other: opposite effects fit one row of features."""
    effect = np.array([0.8, -0.6, 0.5, 0, 0, 0])
    size = {"G0": 1.0, "G1": 0.5, "G2": -0.8}
    given = {(p, c): s * size[p] * effect for p in size for c, s in (("up", 1.0), ("down", -1.0))}
    data = make_data(effects=given, contexts=("up", "down"), noise=0.01)
    kinds = {"up": "CRISPRa", "down": "CRISPRi"}
    data = dataclasses.replace(data, meta={**data.meta, "perturbation_type": kinds})
    measured = effects(data, cells=tuple(data.obs.index), conditions=data.conditions)
    kept = [i for i, c in enumerate(measured.conditions) if c != Condition("G0", "down")]
    train = TrainingSet(effects=measured.select(np.array(kept)), cells=data)
    answer = fitted(ridge, train, ridge=0.1, expression=False).predict(
        [Condition("G0", "down")], control=np.full((1, 6), 3.0)
    )
    assert np.corrcoef(answer.delta[0], -effect)[0, 1] > 0.9


def test_latent_shift_decodes_inside_the_space_and_leaves_the_rest_of_the_input(make_data):
    """One programme of cells, genes 0 and 1: a response along it is kept, that of gene 4 is not."""
    rng = np.random.default_rng(0)
    data = make_data(effects={("A", "a"): [1, 1, 0, 0, 0.2, 0], ("B", "a"): np.zeros(6)}, contexts=("a",),
                     perturbations=("A", "B"), cells=200, noise=0.01)  # fmt: skip
    x = data.x.toarray()
    x[:, :2] += 3 * rng.standard_normal((len(x), 1)).clip(-0.6, 0.6)
    data = dataclasses.replace(data, x=sp.csr_matrix(x))
    train = TrainingSet(effects=effects(data, cells=tuple(data.obs.index), conditions=data.conditions), cells=data)
    model = fitted(latent_shift, train, components=1)
    answer = ask(model, "A", "B", genes=6)
    measured = train.effects.delta
    np.testing.assert_allclose(answer.delta[0, :2], measured[0, :2], atol=0.05)
    np.testing.assert_allclose(answer.delta[:, 2:], 0, atol=0.03)
    assert measured[0, 4] == pytest.approx(0.2, abs=0.01)
    control = rng.random((1, 6))
    still = dataclasses.replace(model, shift=np.zeros_like(model.shift))
    np.testing.assert_array_equal(still.predict([Condition("A", "a")], control=control).delta, np.zeros((1, 6)))


def test_latent_shift_adds_targets_and_says_which_shift_it_used(make_train):
    deltas = {("A", "a"): [1.0, 0, 0], ("A", "b"): [3.0, 0, 0], ("B", "a"): [0, 2.0, 0]}
    model = fitted(latent_shift, make_train(deltas, baseline={"a": np.zeros(3), "b": np.ones(3)}), components=3)
    answer = ask(model, "A", "A+B", "NEW", genes=3)
    np.testing.assert_allclose(answer.delta, [[1, 0, 0], [1, 2, 0], [4 / 3, 2 / 3, 0]], atol=1e-9)
    assert answer.notes[:2] == ((), ())
    assert answer.notes[2] == ("NEW is not in train: the mean shift of all 3 train conditions stands in",)
    assert ask(model, "A", context="c", genes=3).notes[0] == ("A: mean shift over 2 train contexts",)


@pytest.mark.parametrize(
    ("module", "values", "message"),
    [
        (ridge, {"ridge": 0.0}, r"got 0\.0 and 1\.0"),
        (nearest, {"k": 0}, "k is 0"),
        (ridge, {"components": 0}, "components is 0"),
        (nearest, {"components": 0}, "components is 0"),
        (latent_shift, {"components": 0}, "at least one dimension"),
    ],
    ids=["ridge", "nearest", "features of ridge", "features of nearest", "latent_shift"],
)
def test_impossible_parameters_are_refused(module, values, message):
    with pytest.raises(ValueError, match=message):
        module.Config(**values)
