"""Models that are told the dose: two doses of one drug are two predictions, and more of it does more."""

from __future__ import annotations

import numpy as np
import pytest

from perturbcast.models import cgio, linear, nearest, ridge
from perturbcast.schema import Condition

EFFECT = np.array([1.0, -0.5, 0.0, 0.3, 0.8])


def response(dose):
    """Monotone, half of its maximum at 2."""
    return EFFECT * dose / (dose + 2)


MODELS = {
    "ridge": (ridge, {}),
    "cgio": (cgio, {"steps": 100, "width": 8, "batch": 8, "learning_rate": 0.01, "dropout": 0.0}),
}


@pytest.mark.parametrize(("module", "fields"), MODELS.values(), ids=MODELS)
def test_two_doses_give_two_predictions_and_more_does_more(make_train, module, fields):
    deltas = {(f"D@{dose}", context): response(dose) for dose in (0.25, 1, 4) for context in ("a", "b")}
    deltas |= {(f"E@{dose}", "a"): -0.5 * response(dose)[::-1] for dose in (0.25, 1, 4)}
    model = module.Model.fit(make_train(deltas), module.Config(**fields), generator=np.random.default_rng(0))
    asked = [Condition(f"D@{dose}", "a") for dose in (0.25, 0.5, 1, 2, 4, 8)]
    predicted = model.predict(asked, control=np.ones((6, 5)))
    along = predicted.delta @ EFFECT / (EFFECT @ EFFECT)
    assert (np.diff(along) > 0.01).all()
    assert predicted.notes == ((),) * 6, "a dose that train lacks is a known drug"
    assert along[3] == pytest.approx(0.5, abs=0.15)


def test_without_doses_nothing_is_scaled(make_train):
    deltas = {("D", "a"): EFFECT, ("E", "a"): -EFFECT[::-1]}
    model = ridge.Model.fit(make_train(deltas), ridge.Config(), generator=np.random.default_rng(0))
    assert model.doses == {}
    one, two = model.predict([Condition("D", "a"), Condition("D@5", "a")], control=np.ones((2, 5))).delta
    np.testing.assert_array_equal(one, two)


def test_a_model_without_an_input_for_the_dose_says_so(make_train):
    deltas = {("G0@1", "a"): EFFECT, ("G1@1", "a"): -EFFECT[::-1], ("G2@2", "a"): 2 * EFFECT}
    model = linear.Model.fit(make_train(deltas), linear.Config(components=2), generator=np.random.default_rng(0))
    answer = model.predict(
        [Condition("G0@1", "a"), Condition("G0@4", "a"), Condition("G0", "a")], control=np.ones((3, 5))
    )
    np.testing.assert_array_equal(answer.delta[0], answer.delta[1])
    says = "the dose of {} is no input: every dose is answered alike"
    assert [says.format(label) in notes for label, notes in zip(("G0@1", "G0@4", "G0"), answer.notes, strict=True)] == [
        True,
        True,
        False,
    ]


def test_nearest_borrows_from_other_doses_of_the_drug_first(make_train, tmp_path):
    (tmp_path / "drugs.csv").write_text("name,one,two\nD,1,0.1\nE,0.2,1\n")
    deltas = {("D@1", "a"): EFFECT, ("D@4", "a"): 2 * EFFECT, ("E@1", "a"): -EFFECT}
    config = nearest.Config(k=2, expression=False, embedding=str(tmp_path / "drugs.csv"))
    model = nearest.Model.fit(make_train(deltas), config, generator=np.random.default_rng(0))
    answer = model.predict([Condition("D@4", "a"), Condition("D@2", "a")], control=np.ones((2, 5)))
    np.testing.assert_allclose(answer.delta, [2 * EFFECT, 1.5 * EFFECT])
    assert answer.notes[1] == ("D@2: mean of D@1, D@4",)
