"""What each policy does with a perturbation that train lacks, and that the split's JSON says so."""

from __future__ import annotations

import json

import numpy as np
import pytest

from perturbcast import catalog, splits
from perturbcast.errors import UsageError
from perturbcast.schema import Condition
from perturbcast.splits.unseen_context import Config

FIVE = ("a", "b", "c", "d", "e")


@pytest.fixture
def data(make_data):
    """G5 is measured in context a alone, G0 and G1 everywhere."""
    effects = {(p, c): np.zeros(6) for p in ("G0", "G1") for c in FIVE} | {("G5", "a"): np.zeros(6)}
    return make_data(effects=effects, contexts=FIVE, perturbations=("G0", "G1", "G5"))


def frozen(data, tmp_path, value):
    """The fold that tests context a, as its JSON says it."""
    config = catalog.configure("splits", "unseen_context", {"contexts": "a", "require_shared_perturbations": value})
    (split,) = splits.make(data, "unseen_context", config=config)
    splits.freeze(split, tmp_path / "fold_0.json")
    assert splits.load(tmp_path / "fold_0.json", data=data) == split
    return json.loads((tmp_path / "fold_0.json").read_text())


@pytest.mark.parametrize("value", ["true", "filter", True])
def test_filter_drops_and_records_count_and_names(data, tmp_path, value):
    record = frozen(data, tmp_path, value)
    assert record["shared_perturbations"] == {
        "policy": "filter",
        "mixed": False,
        "dropped": {"test": {"count": 1, "names": ["G5"]}},
        "kept": {},
    }
    assert record["ood_axes"] == ["context"]
    assert record["conditions"]["test"] == [["G0", "a"], ["G1", "a"]]
    assert record["strata"] == {}


@pytest.mark.parametrize("value", ["false", "label", False])
def test_label_keeps_and_says_mixed(data, tmp_path, value):
    record = frozen(data, tmp_path, value)
    assert record["shared_perturbations"] == {
        "policy": "label",
        "mixed": True,
        "dropped": {},
        "kept": {"test": {"count": 1, "names": ["G5"]}},
    }
    assert record["ood_axes"] == ["context", "perturbation"]
    assert ["G5", "a"] in record["conditions"]["test"]
    assert record["strata"] == {
        "G0 in a": "perturbation in train",
        "G1 in a": "perturbation in train",
        "G5 in a": "perturbation not in train",
    }


def test_fail_names_the_unshared_perturbation(data):
    with pytest.raises(ValueError, match=r"'unseen_context' was asked to fail .* not in train: test \(a\): G5\. Set"):
        splits.make(data, "unseen_context", config=Config(contexts="a", require_shared_perturbations="fail"))


def test_fail_makes_the_split_where_all_are_shared(make_data):
    (fold,) = splits.make(
        make_data(contexts=FIVE), "unseen_context", config=Config(contexts="a", require_shared_perturbations="fail")
    )
    assert fold.shared_perturbations.to_json() == {"policy": "fail", "mixed": False, "dropped": {}, "kept": {}}


def test_another_word_is_refused():
    with pytest.raises(UsageError, match=r"true or filter .*; got 'maybe'"):
        catalog.configure("splits", "unseen_context", {"require_shared_perturbations": "maybe"})


def test_a_rule_without_a_policy_says_none(make_data):
    fold = splits.make(make_data(), "in_distribution")[0]
    assert fold.to_json()["shared_perturbations"] is None


def test_only_what_test_lacks_makes_a_split_mixed(data):
    folds = splits.make(data, "unseen_context", config=Config(require_shared_perturbations=False))
    (fold,) = [f for f in folds if Condition("G5", "a") in f.conditions["validation"]]
    assert fold.shared_perturbations.kept == {"validation": ("G5",)}
    assert (fold.shared_perturbations.mixed, fold.ood_axes) == (False, ("context",))
