"""What a caller builds is refused at once where it is bad whatever the model."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from perturbcast import schema
from perturbcast_client import (
    Condition,
    ControlCells,
    ModelRef,
    Prediction,
    PredictRequest,
    SeenInTraining,
    Target,
    Wanted,
)
from perturbcast_client.messages import gene_list_hash

B_CELLS = Condition.from_label("IFNB", "B cells")


def make_request(**fields):
    return PredictRequest(**{"model": ModelRef("m"), "conditions": (B_CELLS,), **fields})


def make_cells(values=((1.0, 2.0),), context="B cells", dtype=np.float32):
    return ControlCells(context=context, expression=np.array(values, dtype=dtype))


def make_prediction(**fields):
    base = {
        "model": "m",
        "version": "1",
        "fingerprint": "",
        "genes_sha256": "",
        "conditions": (B_CELLS,),
        "delta": np.zeros((1, 3)),
        "seen": (SeenInTraining(perturbation=True, context=True, pair=True),),
        "notes": ((),),
        "controls": ("stored",),
    }
    return Prediction(**{**base, **fields})


@pytest.mark.parametrize("genes", [[], ["A"], ["A", "B"], ["Ä", "B"]], ids=len)
def test_genes_are_hashed_by_the_platforms_rule(genes):
    assert gene_list_hash(genes) == schema.gene_list_hash(genes)


def test_the_hash_of_a_gene_list_is_sha256_of_its_lines():
    # printf 'A\nB' | sha256sum
    assert gene_list_hash(["A", "B"]) == "23519a43c66b4c342f25b32e09797ec5f3fc0be388cd8243fb3449afbdce4013"


@pytest.mark.parametrize("label", ["A+B", "B+A", " B + A "])
def test_a_combination_has_no_order(label):
    condition = Condition.from_label(label, "c")
    assert condition == Condition((Target("B"), Target("A")), "c")
    assert condition.perturbation == schema.canonical_perturbation(label) == "A+B"
    assert str(condition) == "A+B in c"


@pytest.mark.parametrize("dose", [0.5, 2, 1e-7, 1e20, 1 / 3], ids=str)
def test_a_dose_is_part_of_the_label_as_the_platform_spells_it(dose):
    condition = Condition((Target("B", dose=dose), Target("B!")), "c")
    assert condition.perturbation == schema.canonical_perturbation(f"B@{dose}".replace("e+", "e") + "+B!")


@pytest.mark.parametrize(
    ("build", "says"),
    [
        pytest.param(lambda: Target(""), "name: .*got ''", id="empty-name"),
        pytest.param(lambda: Target(" A"), "name: .*no blanks around it; got ' A'", id="blank"),
        pytest.param(lambda: Target("A+B"), r"name: .*'A\+B' joins several. Give one target for each", id="joined"),
        pytest.param(lambda: Target("A", dose=-1), "dose: .*got -1", id="negative-dose"),
        pytest.param(lambda: Target("A", dose=float("inf")), "dose: .*got inf", id="infinite-dose"),
        pytest.param(
            lambda: Condition((Target("A"),), "c", covariates=(("donor", "1"), ("donor", "2"))),
            "covariates: .*repeated: donor",
            id="covariate-twice",
        ),
        pytest.param(
            lambda: Condition((Target("A"),), "c", covariates=(("donor", ""),)),
            "covariates: a name is not empty",
            id="empty-covariate",
        ),
        pytest.param(lambda: Condition((), "c"), "targets: .*'c' has none. Leave unperturbed", id="no-targets"),
        pytest.param(lambda: Condition.from_label("A+A", "c"), "targets: .*repeated: A", id="target-twice"),
        pytest.param(lambda: Condition.from_label("A+", "c"), "name: .*got ''", id="empty-part-of-a-label"),
        pytest.param(lambda: Condition.from_label("A", ""), "context: .*got ''", id="empty-context"),
        pytest.param(lambda: ModelRef(""), "name: .*got ''", id="empty-model"),
        pytest.param(
            lambda: ModelRef("m", version="1", alias="a"),
            "version: .*by version or by alias; got '1' and 'a'",
            id="pins",
        ),
        pytest.param(lambda: make_cells(dtype=int), "expression: .*float32 or float64; got int64", id="dtype"),
        pytest.param(lambda: make_cells([1.0, 2.0]), r"expression: .*shape \(2,\)", id="one-axis"),
        pytest.param(lambda: make_cells(np.zeros((0, 2))), r"expression: .*shape \(0, 2\)", id="no-cells"),
        pytest.param(lambda: make_cells([[1, np.nan, np.nan]]), "expression: .*2 NaN or infinite", id="nan"),
        pytest.param(lambda: make_cells([[1, np.inf]]), "expression: .*1 NaN or infinite", id="infinite"),
        pytest.param(lambda: make_cells([[1, -0.25]]), "expression: .*'B cells' is -0.25. Give values", id="negative"),
        pytest.param(
            lambda: make_cells([[1, 1e39]], dtype=np.float64),
            r"expression: .*at most 1e\+09; .*is 1e\+39",
            id="beyond-any-scale",
        ),
        pytest.param(lambda: Wanted(interval_level=1.0), "interval_level: .*got 1.0", id="level-one"),
        pytest.param(lambda: Wanted(interval_level=float("nan")), "interval_level: .*got nan", id="level-nan"),
        pytest.param(lambda: Wanted(top_genes=-1), "top_genes: .*got -1", id="negative-top-genes"),
        pytest.param(lambda: Wanted(top_genes=2**31), "top_genes: .*got 2147483648", id="top-genes-beyond-the-wire"),
        pytest.param(lambda: Wanted(cells=2**31), "cells: .*got 2147483648", id="cells-beyond-the-wire"),
        pytest.param(lambda: make_request(conditions=()), "conditions: .*got none", id="no-conditions"),
        pytest.param(lambda: make_request(request_id="x" * 129), "request_id: .*got 129", id="long-id"),
        pytest.param(lambda: make_request(request_id="a\nb"), "request_id: .*printable", id="two-lines-of-log"),
        pytest.param(
            lambda: make_request(controls=(make_cells(), make_cells()), genes=("A", "B")),
            "controls: .*repeated: B cells",
            id="controls-twice",
        ),
        pytest.param(
            lambda: make_request(controls=(make_cells(context="T"),), genes=("A", "B")),
            r"controls: .*T does not \(asked: B cells\)",
            id="controls-nobody-asks-for",
        ),
        pytest.param(lambda: make_request(genes=("A",)), "genes: .*1 genes and no controls", id="genes-of-nothing"),
        pytest.param(lambda: make_request(controls=(make_cells(),)), "genes: .*neither genes nor", id="no-genes"),
        pytest.param(
            lambda: make_request(controls=(make_cells(),), genes=("A", "")), "genes: .*number 1 is empty", id="no-name"
        ),
        pytest.param(
            lambda: make_request(controls=(make_cells(),), genes=("A", "A")), "genes: .*repeated: A", id="genes-twice"
        ),
        pytest.param(
            lambda: make_request(controls=(make_cells(),), genes=("A", "B"), genes_sha256=gene_list_hash("BA")),
            "genes_sha256: .*Send one of the two",
            id="hash-of-another-list",
        ),
        pytest.param(
            lambda: make_request(controls=(make_cells(),), genes=("A", "B", "C")),
            r"controls\[0\].expression: .*2 columns for 3 genes",
            id="columns",
        ),
        pytest.param(lambda: make_prediction(variance=np.zeros((1, 2))), r"variance: .*\(1, 2\)", id="genes-differ"),
        pytest.param(lambda: make_prediction(delta=np.zeros((2, 3))), r"delta: .*\(2, 3\)", id="rows-differ"),
        pytest.param(lambda: make_prediction(notes=()), "notes: .*got 0 for 1", id="notes-missing"),
        pytest.param(lambda: make_prediction(top_genes=((), ())), "top_genes: .*got 2 for 1", id="top-genes"),
    ],
)
def test_bad_values_are_refused_with_field_value_and_way_out(build, says):
    with pytest.raises(ValueError, match=f"^{says}"):
        build()


def test_a_long_list_of_names_is_cut():
    twice = [f"g{i}" for i in range(8)] * 2
    with pytest.raises(ValueError, match="repeated: g0, g1, g2, g3, g4 and 3 more"):
        make_request(controls=(make_cells(np.ones((1, 16))),), genes=tuple(twice))


def test_messages_are_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        B_CELLS.context = "T cells"
