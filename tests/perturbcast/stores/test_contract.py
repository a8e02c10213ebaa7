"""Import maps what it is told, records what it did, and refuses bad input with one error."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp

from perturbcast.errors import UsageError
from perturbcast.schema import Condition
from perturbcast.stores import effects
from perturbcast.stores.contract import to_contract

SOURCE = {"study": "made"}


def run(adata, mapping, **options):
    return to_contract(adata, mapping, dataset="mine", source=SOURCE, **options)


def test_labels_are_mapped_sorted_and_flagged(make_adata, make_mapping):
    adata = make_adata(labels=("non-targeting", "TP53", "MYC_KLF1", "KLF1_MYC"), cells=15)
    data, _ = run(adata, make_mapping())
    assert data.conditions == tuple(sorted(Condition(p, c) for p in ("KLF1+MYC",) for c in ("K562", "RPE1"))), (
        "two spellings of a pair are one condition; TP53 has 15 cells and is dropped"
    )
    assert (data.obs["is_control"] == (data.obs["perturbation"] == "control")).all()
    assert data.meta["dropped_conditions"] == ["TP53 in K562 (15 cells)", "TP53 in RPE1 (15 cells)"]


def test_x_is_log1p_of_counts_per_10_000_by_hand(make_adata, make_mapping):
    adata = make_adata()
    data, counts = run(adata, make_mapping())
    raw = adata.X.toarray()
    np.testing.assert_allclose(data.x.toarray(), np.log1p(raw / raw.sum(axis=1, keepdims=True) * 1e4), rtol=1e-6)
    np.testing.assert_array_equal(counts.toarray(), raw)
    assert counts.dtype == np.int32
    assert data.meta["scale"] == "log1p(counts per 10 000)"


def test_a_gene_panel_uses_the_library_size_of_all_genes(make_adata, make_mapping):
    data, _ = run(make_adata(), make_mapping(library_size="umis"))
    np.testing.assert_allclose(data.x.toarray(), np.log1p(make_adata().X.toarray() / 1000 * 1e4), rtol=1e-6)
    assert any("umis" in step for step in data.meta["preprocessing"])


def test_published_values_are_taken_as_they_are_and_labelled(make_adata, make_mapping):
    adata = make_adata()
    adata.X = adata.X.log1p()
    data, counts = run(adata, make_mapping(kind="log1p", scale="as in the paper"))
    assert counts is None
    assert data.meta["scale"] == "as in the paper"
    np.testing.assert_array_equal(data.x.toarray(), adata.X.toarray())


def test_inert_guides_are_dropped_and_names_renamed(make_adata, make_mapping):
    adata = make_adata(labels=("non-targeting", "A_safe", "safe", "B_TSS"))
    data, _ = run(adata, make_mapping(separator="_", inert=("safe", "TSS"), rename={"B": "GENEB"}))
    assert {c.perturbation for c in data.conditions} == {"A", "GENEB"}
    assert data.obs["is_control"].sum() == 2 * 2 * 25, "cells with inert guides only are controls"


def test_covariates_are_kept_with_their_unit(make_adata, make_mapping):
    adata = make_adata()
    adata.obs["uM"] = np.where(adata.obs["target_gene"] == "non-targeting", None, "2.5")
    mapping = make_mapping(covariates={"dose": "uM", "batch": "line"}, units={"dose": "uM"})
    data, _ = run(adata, mapping)
    assert set(data.obs.loc[~data.obs["is_control"], "dose"]) == {2.5}
    assert data.meta["units"] == {"dose": "uM"}
    assert set(data.obs["batch"]) == {"K562", "RPE1"}


def test_a_number_may_carry_its_unit_and_controls_without_one_have_0(make_adata, make_mapping):
    adata = make_adata()
    adata.obs["hours"] = np.where(adata.obs["target_gene"] == "non-targeting", "none", "6 h")
    data, _ = run(adata, make_mapping(covariates={"time": "hours"}, units={"time": "h"}))
    assert data.obs.groupby("is_control")["time"].unique().map(list).to_dict() == {True: [0.0], False: [6.0]}
    adata.obs["hours"] = "inf"
    with pytest.raises(ValueError, match=r"time is a number in h; column 'hours' holds 'inf' for a perturbed cell"):
        run(adata, make_mapping(covariates={"time": "hours"}, units={"time": "h"}))


def test_what_was_done_is_recorded(make_adata, make_mapping):
    adata = make_adata(labels=("non-targeting", "A_non-targeting", "safe", "B"))
    data, _ = run(adata, make_mapping(inert=("safe",)))
    steps = "\n".join(data.meta["preprocessing"])
    assert "columns: perturbation from target_gene, context from line" in steps
    assert "dropped the label parts non-targeting, safe, which do nothing, in 50 cells" in steps
    assert "50 cells labelled safe alone are controls" in steps
    assert {c.perturbation for c in data.conditions} == {"A", "B"}


def test_cells_without_a_count_are_dropped_unless_the_study_counted_them(make_adata, make_mapping):
    adata = make_adata()
    dense = adata.X.toarray()
    dense[3] = 0
    adata.X = sp.csr_matrix(dense)
    without, _ = run(adata, make_mapping())
    assert set(adata.obs_names) - set(without.obs.index) == {"bc3"}
    assert "dropped 1 cells without a count" in without.meta["preprocessing"]
    panel, _ = run(adata, make_mapping(library_size="umis"))
    assert len(panel.obs) == adata.n_obs, "a panel may miss a cell that the study counted"


def test_names_of_the_other_namespace_are_kept(make_adata, make_mapping):
    adata = make_adata()
    adata.var["ensembl_id"] = [f"ENSG{i}" for i in range(5)]
    assert run(adata, make_mapping())[0].meta["ensembl_id"] == [f"ENSG{i}" for i in range(5)]


def change_obs(adata, column, value):
    adata.obs[column] = adata.obs[column].astype(object)
    adata.obs.iloc[3, adata.obs.columns.get_loc(column)] = value


def set_x(adata, value):
    dense = adata.X.toarray()
    dense[0, 0] = value
    adata.X = sp.csr_matrix(dense)


def rename_gene(adata):
    adata.var_names = ["gene0", "gene1", "gene1", "gene3", "gene4"]


def rename_cell(adata):
    adata.obs_names = ["bc1", *adata.obs_names[1:]]


def no_controls_in_rpe1(adata):
    adata.obs.loc[(adata.obs["line"] == "RPE1") & (adata.obs["target_gene"] == "non-targeting"), "target_gene"] = "TP53"


BAD = {
    "missing label": (
        lambda a: change_obs(a, "target_gene", np.nan),
        r"Every cell has a perturbation; 1 of 150 have none",
    ),
    "missing context": (lambda a: change_obs(a, "line", ""), r"Every cell has a context; 1 of 150"),
    "NaN": (lambda a: set_x(a, np.nan), r"finite; X has 1 NaN or infinite entries\. Remove or impute"),
    "infinite": (lambda a: set_x(a, np.inf), r"X has 1 NaN or infinite"),
    "negative": (lambda a: set_x(a, -2.0), r"non-negative; the smallest entry of X is -2\. Import raw counts"),
    "not counts": (lambda a: set_x(a, 1.5), r"1 entries that are not, first 1\.5\. .* --scale log1p"),
    "duplicated gene": (rename_gene, r"Gene names are unique; repeated: gene1\. .*var_names_make_unique"),
    "duplicated barcode": (rename_cell, r"Barcodes are unique; repeated: bc1"),
    "no controls": (
        no_controls_in_rpe1,
        r"Every context holds control cells; RPE1 hold none\. .* --allow-uncontrolled",
    ),
    "missing label as text": (
        lambda a: change_obs(a, "target_gene", "nan"),
        r"Every cell has a perturbation; 1 of 150",
    ),
    "library below counts": (
        lambda a: change_obs(a, "umis", 2),
        r"1 cells have more, first 'bc3' with .* and 2 in column",
    ),
    "library not positive": (
        lambda a: change_obs(a, "umis", 0),
        r"positive; column 'umis' holds 1 values that are not",
    ),
    "control label not named": (
        lambda a: change_obs(a, "target_gene", "control"),
        r"contract's word .* --control control",
    ),
    "plus in a target": (lambda a: change_obs(a, "target_gene", "CD4+x"), r"target 'CD4\+x' of .* --separator \+"),
    "empty target": (lambda a: change_obs(a, "target_gene", "A__B"), r"'A\+\+B' has an empty target"),
}


@pytest.mark.filterwarnings("ignore:.*names are not unique:UserWarning")
@pytest.mark.parametrize("name", BAD)
def test_bad_content_is_refused(make_adata, make_mapping, name):
    adata = make_adata()
    spoil, message = BAD[name]
    spoil(adata)
    with pytest.raises(ValueError, match=message):
        run(adata, make_mapping(library_size="umis" if "library" in name else ""))


def test_what_is_not_there_is_a_usage_error_that_lists_what_is(make_adata, make_mapping):
    with pytest.raises(UsageError, match=r"'gene' was mapped to perturbation, .* present: target_gene, line, umis"):
        run(make_adata(), make_mapping(perturbation="gene"))
    with pytest.raises(
        UsageError, match=r"labels NT; column 'target_gene' holds none .* non-targeting, TP53, MYC_KLF1"
    ):
        run(make_adata(), make_mapping(control=("NT",)))
    with pytest.raises(UsageError, match="dose come with a unit"):
        make_mapping(covariates={"dose": "umis"})
    with pytest.raises(UsageError, match="time is not mapped"):
        make_mapping(units={"time": "h"})
    with pytest.raises(UsageError, match=r"--min-cells is 0\. Give 1 or more"):
        run(make_adata(), make_mapping(), min_cells=0)


def test_uncontrolled_contexts_are_marked_and_in_no_condition(make_adata, make_mapping):
    adata = make_adata()
    no_controls_in_rpe1(adata)
    data, _ = run(adata, make_mapping(), allow_uncontrolled=True)
    assert data.meta["uncontrolled"] == ["RPE1"]
    assert "kept 1 contexts without controls, in no condition" in data.meta["preprocessing"]
    assert {c.context for c in data.conditions} == {"K562"}


def test_nothing_left_is_refused(make_adata, make_mapping):
    with pytest.raises(ValueError, match=r"at least one perturbed condition of 20 cells; the largest of 'mine' has 5"):
        run(make_adata(cells=5), make_mapping())


def make_signatures(make_adata, *, cells=1):
    adata = make_adata(cells=cells, labels=("TP53", "MYC"))
    adata.X = adata.X - 4.0 * (adata.X > 4)
    return adata


def test_signatures_may_be_negative_and_get_controls_of_zero(make_adata, make_mapping):
    adata = make_signatures(make_adata)
    data, counts = run(adata, make_mapping(control=(), kind="signatures", scale="ranks"), min_cells=20)
    assert counts is None
    assert (data.meta["unit"], data.meta["scale"]) == ("condition", "ranks")
    assert data.contexts == ("K562", "RPE1")
    assert [name for name, is_control in data.obs["is_control"].items() if is_control] == [
        "control of K562",
        "control of RPE1",
    ]
    measured = effects(data, cells=list(data.obs.index), conditions=data.conditions)
    np.testing.assert_array_equal(measured.delta, [adata.X.toarray()[i] for i in (1, 3, 0, 2)])
    assert not measured.control.any()


def test_signatures_are_one_row_per_condition(make_adata, make_mapping):
    with pytest.raises(ValueError, match=r"one row per condition and no controls; 'TP53' in 'K562' is another"):
        run(make_signatures(make_adata, cells=2), make_mapping(control=(), kind="signatures"))


def test_incomplete_signatures_go_first_then_incomplete_genes(make_adata, make_mapping):
    adata = make_adata(cells=1, labels=("TP53", "MYC"), genes=300)
    missing = np.zeros(adata.shape)
    missing[0, :4] = 1  # 1.3 % of the genes
    missing[1, 7] = 1
    adata.layers["missing"] = missing
    data, _ = run(adata, make_mapping(control=(), kind="signatures", missing="missing"))
    assert (len(data.conditions), len(data.genes)) == (3, 299)
    assert "gene7" not in data.genes
    assert any(step.startswith("dropped 1 signatures") and "1 genes" in step for step in data.meta["preprocessing"])
    with pytest.raises(ValueError, match=r"marked in a layer; 'gone' is none of this file's: missing"):
        run(adata, make_mapping(control=(), kind="signatures", missing="gone"))
