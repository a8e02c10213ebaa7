"""What every model of the catalog keeps, also one that is added tomorrow."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys

import numpy as np
import pytest

from perturbcast import catalog
from perturbcast.models.interface import from_state, to_state
from perturbcast.schema import Condition

MODELS = [name for name in catalog.names("models") if name != "truth"]  # the oracle needs simulated data
DELTAS = {
    ("G0", "a"): [1.0, 0.0, 0.2, 0.0, 0.1],
    ("G1", "a"): [0.0, -1.0, 0.1, 0.3, 0.0],
    ("G2", "a"): [0.3, 0.0, -0.8, 0.0, 0.4],
    ("G0", "b"): [0.8, 0.1, 0.2, 0.0, 0.0],
    ("G1", "b"): [0.1, -0.7, 0.0, 0.2, 0.0],
    ("G0+G1", "a"): [1.0, -1.0, 0.3, 0.3, 0.1],
}
ASKED = [Condition("G0", "a"), Condition("G2", "b"), Condition("G3", "a"), Condition("G0+G2", "c"), Condition("X", "c")]
CONTROL = np.linspace(0.5, 1.5, 25).reshape(5, 5)


def fitted(name, make_train, seed=0, deltas=DELTAS):
    module = catalog.load("models", name)
    return module.Model.fit(make_train(deltas), module.Config(), generator=np.random.default_rng(seed))


@pytest.mark.parametrize("name", MODELS)
def test_is_documented(name):
    module = catalog.load("models", name)
    assert len(module.__doc__.splitlines()[0]) > 20
    documented = "".join(one.__doc__ or "" for one in module.Config.__mro__)
    for field in dataclasses.fields(module.Config):
        assert f"{field.name}:" in documented, f"{name}.Config.{field.name} is not documented"
    assert module.Config.__dataclass_params__.frozen


@pytest.mark.parametrize("name", MODELS)
def test_answers_any_condition_with_finite_numbers(name, make_train):
    answer = fitted(name, make_train).predict(ASKED, control=CONTROL)
    assert answer.delta.shape == answer.variance.shape == CONTROL.shape
    assert np.isfinite(answer.delta).all()
    assert (answer.variance > 0).all()
    assert len(answer.notes) == len(ASKED)


@pytest.mark.parametrize("name", MODELS)
def test_rows_do_not_depend_on_each_other(name, make_train):
    model = fitted(name, make_train)
    together = model.predict(ASKED, control=CONTROL)
    for i, condition in enumerate(ASKED):
        alone = model.predict([condition], control=CONTROL[i : i + 1])
        np.testing.assert_allclose(alone.delta[0], together.delta[i], rtol=1e-12, atol=1e-14)
        np.testing.assert_allclose(alone.variance[0], together.variance[i], rtol=1e-12)


@pytest.mark.parametrize("name", MODELS)
def test_combination_is_order_free(name, make_train):
    model = fitted(name, make_train)
    answers = [model.predict([Condition(label, "a")], control=CONTROL[:1]).delta for label in ("G1+G2", "G2+G1")]
    np.testing.assert_array_equal(*answers)


@pytest.mark.parametrize("name", MODELS)
def test_same_seed_same_state_and_a_round_trip_changes_nothing(name, make_train):
    one, two = fitted(name, make_train), fitted(name, make_train)
    for first, second in zip(to_state(one)[0].values(), to_state(two)[0].values(), strict=True):
        np.testing.assert_array_equal(first, second)
    again = from_state(type(one), *to_state(one))
    np.testing.assert_array_equal(
        again.predict(ASKED, control=CONTROL).delta, one.predict(ASKED, control=CONTROL).delta
    )


@pytest.mark.parametrize("name", MODELS)
def test_a_state_of_other_code_is_refused(name, make_train):
    model = fitted(name, make_train)
    arrays, values = to_state(model)
    with pytest.raises(ValueError, match=r"unknown: \['extra'\]"):
        from_state(type(model), arrays | {"extra": np.ones(1)}, values)


@pytest.mark.parametrize("name", MODELS)
def test_train_conditions_in_another_order_give_the_same_prediction(name, make_train):
    one = fitted(name, make_train).predict(ASKED, control=CONTROL)
    other = fitted(name, make_train, deltas=dict(reversed(DELTAS.items()))).predict(ASKED, control=CONTROL)
    np.testing.assert_allclose(one.delta, other.delta, atol=1e-10)


@pytest.mark.slow
@pytest.mark.parametrize("name", MODELS)
def test_the_state_does_not_depend_on_the_hash_seed_of_the_process(name, tmp_path):
    """The order of a set differs between processes; a sum over it would differ in the last bit."""
    script = (
        "import hashlib, sys; import numpy as np; from perturbcast import catalog\n"
        "from perturbcast.models import TrainingSet; from perturbcast.models.interface import to_state\n"
        "from perturbcast.schema import Condition; from perturbcast.stores import Effects\n"
        "c = tuple(Condition(f'G{p}', x) for p in range(9) for x in 'abcde')\n"
        "a = [np.random.default_rng(i).random((len(c), 30)) for i in range(3)]\n"
        "e = Effects(conditions=c, genes=tuple(f'G{i}' for i in range(30)), delta=a[0], control=a[1], error=a[2],\n"
        "            n_cells=np.ones(len(c)), matching=('context',) * len(c))\n"
        f"m = catalog.load('models', {name!r})\n"
        "s = to_state(m.Model.fit(TrainingSet(effects=e), m.Config(), generator=np.random.default_rng(0)))[0]\n"
        "print(hashlib.sha256(b''.join(s[k].tobytes() for k in sorted(s))).hexdigest())\n"
    )
    seen = set()
    for seed in ("1", "2", "3"):
        environment = {**os.environ, "PYTHONHASHSEED": seed}
        done = subprocess.run(
            [sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True
        )
        seen.add(done.stdout)
    assert len(seen) == 1
