"""Dose is an input: it is read from the label, and more of a drug does more."""

from __future__ import annotations

import dataclasses

import anndata
import numpy as np
import pandas as pd
import pytest

from perturbcast import splits
from perturbcast.errors import UsageError
from perturbcast.features import TargetFeatures, encode, reference_doses, strengths
from perturbcast.schema import Condition, dosed
from perturbcast.stores.contract import ColumnMapping, to_contract


def test_a_label_states_the_dose_of_each_target_in_one_spelling():
    condition = Condition("B@0.50+A@1e6", "a")
    assert condition == Condition("A@1000000+B@0.5", "a")
    assert (condition.names, condition.doses) == (("A", "B"), (1e6, 0.5))
    assert Condition("A+B", "a").doses == (None, None)
    assert Condition("A@1e20", "a").perturbation == "A@1e20", "the '+' of an exponent would join targets"
    assert [dosed(name) for name in ("IGH@", "@5", "A@-1", "A@nan")] == [
        (name, None) for name in ("IGH@", "@5", "A@-1", "A@nan")
    ]


def test_strength_is_1_at_the_median_dose_of_train_and_of_a_label_without_a_dose():
    train = [Condition(label, "a") for label in ("A@1", "A@10", "A@100", "B@0.2", "C")]
    references = reference_doses(train)
    assert references == {"A": 10.0, "B": 0.2, "": 5.1}
    asked = {"A@10": 1.0, "A@30": 2.0, "A@0": 0.0, "B@0.2": 1.0, "C": 1.0, "NEW@5.1": 1.0}
    for label, strength in asked.items():
        assert strengths(Condition(label, "b"), references) == pytest.approx((strength,))
    assert reference_doses([Condition("A", "a")]) == {}


def test_features_are_scaled_by_strength_and_found_without_the_dose():
    table = TargetFeatures(names=("A", "B"), vectors=np.array([[1.0, 0.0], [0.0, 2.0]]))
    asked = [Condition(label, "a") for label in ("A@30", "B@0.2+A@10", "B", "X@1")]
    rows, missing = encode(asked, table, {"a": -1.0}, {"A": 10.0, "B": 0.2, "": 1.0})
    np.testing.assert_allclose(rows, [[-2, 0], [-1, -2], [0, -2], [0, 0]])
    assert missing == [[], [], [], ["X"]]
    np.testing.assert_allclose(encode(asked[:1], table, {})[0], [[1, 0]])


def make_adata():
    doses = ["0.5 uM", "5 uM", "50 uM", ""]
    obs = pd.DataFrame(
        [(("vehicle", "drug A", "drug B")[d], doses[k] if d else "", "a") for d in range(3) for k in range(3)] * 20,
        columns=["treatment", "level", "line"],
    )
    x = np.random.default_rng(0).poisson(2.0, (len(obs), 6)).astype(np.float32)
    return anndata.AnnData(X=x, obs=obs.set_index(pd.Index([f"c{i}" for i in range(len(obs))])))


MAPPING = ColumnMapping(
    perturbation="treatment",
    context="line",
    control=("vehicle",),
    covariates={"dose": "level"},
    units={"dose": "uM"},
    by_dose=True,
)


def test_import_by_dose_makes_a_condition_of_each_dose_and_a_drug_is_held_out_whole():
    data, _ = to_contract(make_adata(), MAPPING, dataset="d", source={})
    assert [c.perturbation for c in data.conditions] == [f"drug {n}@{d}" for n in "AB" for d in ("0.5", "5", "50")]
    assert "conditions differ by dose, which is part of their labels" in data.meta["preprocessing"]
    plain, _ = to_contract(make_adata(), dataclasses.replace(MAPPING, by_dose=False), dataset="d", source={})
    assert [c.perturbation for c in plain.conditions] == ["drug A", "drug B"]
    with pytest.raises(UsageError, match="dose is mapped to no column"):
        dataclasses.replace(MAPPING, covariates={}, units={})


def test_a_logarithm_of_a_dose_is_no_dose():
    """The label 'drug A@-1' would be another drug without a dose, and models would not be told."""
    adata = make_adata()
    adata.obs["level"] = adata.obs["level"].map({"0.5 uM": "-0.3 uM", "5 uM": "0.7 uM", "50 uM": "1.7 uM", "": "-9 uM"})
    with pytest.raises(ValueError, match=r"column 'level' holds -0.3\. If it holds logarithms, give amounts"):
        to_contract(adata, MAPPING, dataset="d", source={})
    to_contract(adata, dataclasses.replace(MAPPING, by_dose=False), dataset="d", source={})


def test_an_unseen_drug_is_unseen_at_every_dose(make_data):
    drugs = [f"D{k}@{dose}" for k in range(6) for dose in (1, 10)]
    data = make_data(perturbations=drugs, contexts=("a", "b"))
    for fold in splits.make(data, "unseen_perturbation", seed=0):
        of_part = {part: {name for c in conditions for name in c.names} for part, conditions in fold.conditions.items()}
        assert not of_part["test"] & (of_part["train"] | of_part["validation"] | of_part["calibration"])
