"""Each split rule holds out what it says, in every fold, and refuses data that cannot carry it."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from perturbcast import splits
from perturbcast.errors import UsageError
from perturbcast.schema import Condition

FIVE = ("a", "b", "c", "d", "e")
SINGLES = tuple(f"G{i}" for i in range(6))
COMBINATIONS = ("G0+G1", "G2+G3", "G4+G9", "G8+G9", "G1+G5", "G0+G8")


def test_every_context_is_tested_once_and_never_fitted(make_data):
    data = make_data(contexts=FIVE)
    folds = splits.make(data, "unseen_context", seed=3)
    assert sorted(fold.held_out for fold in folds) == sorted(FIVE)
    context = data.obs["context"]
    for fold in folds:
        fitted = set(context[list(fold.parts["train"])])
        for part in ("validation", "calibration", "test"):
            assert not fitted & set(context[list(fold.parts[part])])
        held = {part: set(context[list(fold.parts[part])]) for part in ("validation", "calibration", "test")}
        assert held["test"] == {fold.held_out}
        assert len(set.union(*held.values())) == 3, "five contexts leave one of its own for calibration"


def test_controls_of_held_out_contexts_are_input_and_not_train(make_data):
    data = make_data(contexts=FIVE)
    for fold in splits.make(data, "unseen_context"):
        given = data.obs.loc[list(fold.parts["control_input"])]
        assert given["is_control"].all()
        assert fold.held_out in set(given["context"])
        train = data.obs.loc[list(fold.parts["train"])]
        assert fold.held_out not in set(train.loc[train["is_control"], "context"])


def test_few_contexts_share_one_for_validation_and_calibration(make_data):
    fold = splits.make(make_data(contexts=("a", "b", "c")), "unseen_context")[0]
    validation = {c.context for c in fold.conditions["validation"]}
    assert validation == {c.context for c in fold.conditions["calibration"]} != {fold.held_out}
    assert not set(fold.conditions["validation"]) & set(fold.conditions["calibration"])
    assert any("drawn from validation" in warning for warning in fold.warnings)


def test_unshared_perturbations_are_dropped_and_named_or_labelled_mixed(make_data):
    effects = {(p, c): np.zeros(6) for p in ("G0", "G1") for c in FIVE} | {("G5", "a"): np.zeros(6)}
    data = make_data(effects=effects, contexts=FIVE, perturbations=("G0", "G1", "G5"))
    config = splits.make(data, "unseen_context")
    fold = next(f for f in config if f.held_out == "a")
    assert Condition("G5", "a") not in fold.conditions["test"]
    assert any("G5" in warning and "dropped from test" in warning for warning in fold.warnings)
    assert fold.ood_axes == ("context",)

    from perturbcast.splits.unseen_context import Config

    mixed = splits.make(data, "unseen_context", config=Config(require_shared_perturbations=False))
    fold = next(f for f in mixed if f.held_out == "a")
    assert Condition("G5", "a") in fold.conditions["test"]
    assert fold.ood_axes == ("context", "perturbation")


def test_unseen_perturbation_takes_every_context_and_combination_of_a_target(make_data):
    data = make_data(perturbations=(*SINGLES, *COMBINATIONS), genes=10, contexts=("a", "b"))
    folds = splits.make(data, "unseen_perturbation", seed=1)
    tested = [name for fold in folds for name in fold.held_out.split(", ")]
    assert sorted(tested) == sorted(SINGLES)
    for fold in folds:
        held = set(fold.held_out.split(", "))
        for part in ("train", "validation", "calibration"):
            for condition in fold.conditions[part]:
                assert not held & set(condition.targets)
        hidden = {t for part in ("validation", "calibration") for c in fold.conditions[part] for t in c.targets}
        singles = {
            c.perturbation for p in ("validation", "calibration") for c in fold.conditions[p] if not c.is_combination
        }
        assert not singles & {t for c in fold.conditions["train"] for t in c.targets}
        assert hidden


def test_unseen_combination_keeps_singles_and_reports_how_many_were_seen(make_data):
    data = make_data(perturbations=(*SINGLES, *COMBINATIONS), genes=10, contexts=("a",))
    folds = splits.make(data, "unseen_combination", seed=1)
    assert sorted(c.perturbation for fold in folds for c in fold.conditions["test"]) == sorted(COMBINATIONS)
    strata = {key: label for fold in folds for key, label in fold.strata.items()}
    assert strata["G0+G1 in a"] == "2 of 2 singles seen"
    assert strata["G4+G9 in a"] == "1 of 2 singles seen"
    assert strata["G8+G9 in a"] == "0 of 2 singles seen"
    for fold in folds:
        assert {c.perturbation for c in fold.conditions["train"]} >= set(SINGLES)


def test_held_out_combinations_are_of_the_same_kind_in_every_part(make_data):
    """Six of twelve combinations have both singles measured, six none: each part holds them half and half."""
    seen, unseen = ("G1", "G3", "G5", "G7"), ("G0", "G2", "G4", "G6")
    combinations = ["+".join(pair) for group in (seen, unseen) for pair in itertools.combinations(group, 2)]
    data = make_data(perturbations=(*seen, *combinations), genes=8, contexts=("a",), cells=4)
    for seed in range(5):
        for fold in splits.make(data, "unseen_combination", seed=seed):
            for part in ("test", "validation", "calibration"):
                both = sum(set(c.targets) <= set(seen) for c in fold.conditions[part])
                assert both == len(fold.conditions[part]) / 2, (part, fold.conditions[part])


def test_in_distribution_divides_cells_of_every_condition(make_data):
    data = make_data(cells=40)
    (fold,) = splits.make(data, "in_distribution")
    assert set(fold.conditions["test"]) == set(fold.conditions["train"]) == set(data.conditions)
    label = data.obs["perturbation"] + data.obs["context"]
    assert set(label[list(fold.parts["test"])].value_counts()) == {12}
    assert set(label[list(fold.parts["validation"])].value_counts()) == {8}


@pytest.mark.parametrize(
    ("rule", "arguments", "message"),
    [
        ("unseen_context", {"contexts": ("a", "b")}, "needs at least 3 contexts .* has 2: a, b"),
        ("unseen_perturbation", {"perturbations": ("G0",)}, "has 1 for folds=5"),
        ("unseen_combination", {}, "has 0 for folds=3"),
    ],
)
def test_data_that_cannot_carry_a_rule_is_refused(make_data, rule, arguments, message):
    with pytest.raises(ValueError, match=message):
        splits.make(make_data(**arguments), rule)


def test_unknown_rule_and_parameter_are_usage_errors(make_data):
    from perturbcast import catalog

    with pytest.raises(UsageError, match=r"'unseen_contexts' is unknown\. Did you mean 'unseen_context'\?"):
        splits.make(make_data(), "unseen_contexts")
    with pytest.raises(UsageError, match="takes the parameters folds, validation, calibration; fold unknown"):
        catalog.configure("splits", "unseen_perturbation", {"fold": "3"})
    config = catalog.configure("splits", "unseen_context", {"contexts": "a,mars"})
    with pytest.raises(UsageError, match=r"mars unknown\. Known: a, b, c\."):
        splits.make(make_data(), "unseen_context", config=config)
    with pytest.raises(UsageError, match="folds = 'three'"):
        catalog.configure("splits", "unseen_perturbation", {"folds": "three"})


def test_same_seed_same_split_other_seed_other_split(make_data):
    data = make_data(contexts=FIVE, perturbations=SINGLES)
    one, again, other = (splits.make(data, "unseen_perturbation", seed=seed) for seed in (1, 1, 2))
    assert [f.hash for f in one] == [f.hash for f in again]
    assert [f.hash for f in one] != [f.hash for f in other]
