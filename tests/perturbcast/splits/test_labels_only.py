"""A split depends on labels alone: no value of a cell moves a cell, a condition or a calibration draw."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import scipy.sparse as sp

from perturbcast import splits
from perturbcast.schema import content_hash
from perturbcast.splits.covariate_transfer import Config as CovariateConfig
from perturbcast.splits.cross_dataset import Config as CrossConfig
from perturbcast.splits.verify import check_labels
from perturbcast.stores.merge import merge

SINGLES = tuple(f"G{i}" for i in range(6))
COMBINATIONS = ("G0+G1", "G2+G3", "G4+G9", "G8+G9", "G1+G5", "G0+G8")
RULES = {
    "unseen_context": None,
    "unseen_perturbation": None,
    "unseen_combination": None,
    "in_distribution": None,
    "covariate_transfer": CovariateConfig(covariate="donor"),
    "cross_dataset": CrossConfig(test="two"),
}


@pytest.fixture
def data(make_data):
    """Three contexts (calibration is drawn from validation), four donors, two datasets."""
    one = make_data(perturbations=(*SINGLES, *COMBINATIONS), contexts=("a", "b"), cells=16, dataset="one")
    two = make_data(perturbations=SINGLES, contexts=("c",), cells=16, dataset="two", seed=1)
    both = merge([one, two])
    return dataclasses.replace(both, obs=both.obs.assign(donor=np.resize(["p", "q", "r", "s"], len(both.obs))))


def with_other_values(data, barcodes):
    """The same labels; the named cells have other values."""
    x = data.x.toarray()
    rows = data.obs.index.get_indexer(list(barcodes))
    x[rows] = np.random.default_rng(9).random((len(rows), x.shape[1])) * 5
    x = sp.csr_matrix(x, dtype=np.float32)
    meta = {**data.meta, "content_hash": content_hash(x, data.genes, data.obs)}
    return dataclasses.replace(data, x=x, meta=meta)


@pytest.mark.parametrize("rule", RULES)
def test_other_values_in_test_cells_move_nothing(data, rule):
    for before in splits.make(data, rule, config=RULES[rule], seed=2)[:2]:
        other = with_other_values(data, before.parts["test"])
        after = splits.make(other, rule, config=RULES[rule], seed=2)[before.fold]
        assert after.parts == before.parts
        assert after.conditions == before.conditions
        assert after.hash != before.hash, "the split is locked to the other content"


@pytest.mark.parametrize("rule", RULES)
def test_parts_are_disjoint_hold_their_conditions_and_no_held_out_control(data, rule):
    for split in splits.make(data, rule, config=RULES[rule]):
        check_labels(split, data)
        if rule not in ("in_distribution", "covariate_transfer"):  # these divide cells inside conditions
            calibration = set(split.conditions["calibration"])
            for part in ("train", "validation", "test"):
                assert not calibration & set(split.conditions[part])


def test_labels_that_do_not_fit_are_found(data):
    good = splits.make(data, "unseen_context")[0]
    test = good.parts["test"]
    moved = {**good.parts, "test": test[1:], "train": tuple(sorted([*good.parts["train"], test[0]]))}
    with pytest.raises(ValueError, match="cells and conditions of train differ in 1"):
        check_labels(dataclasses.replace(good, parts=moved), data)
    control = good.parts["control_input"][0]
    held = {**good.parts, "control_input": good.parts["control_input"][1:], "test": tuple(sorted([*test, control]))}
    counts = {**good.n_controls, "test": 1, "control_input": good.n_controls["control_input"] - 1}
    with pytest.raises(ValueError, match="1 control cells are in test"):
        check_labels(dataclasses.replace(good, parts=held, n_controls=counts), data)
    with pytest.raises(ValueError, match="test holds 1 control cells and says 0"):
        check_labels(dataclasses.replace(good, parts=held), data)
    absent = {**good.parts, "test": tuple(sorted([*test, "nobody"]))}
    with pytest.raises(ValueError, match=r"1 barcodes of test are not in .* first 'nobody'"):
        check_labels(dataclasses.replace(good, parts=absent), data)
