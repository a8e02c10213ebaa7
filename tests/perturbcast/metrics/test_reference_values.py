"""The reference panels against what their own code printed for a real pair of files, per condition."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from perturbcast.evaluation import evaluate_files


@pytest.fixture(scope="module")
def pair(shared):
    folder = shared / "parity" / "norman_k562"
    if not folder.is_dir():
        pytest.skip("../shared/parity/norman_k562 (values printed by the references) is not there")
    return folder


@pytest.fixture(scope="module")
def ours(pair):
    evaluation = evaluate_files(
        pair / "real.h5ad",
        pair / "pred.h5ad",
        perturbation_key="target_gene",
        context_key="cell_type",
        control_label="non-targeting",
    )
    return evaluation.per_condition.pivot_table(index="perturbation", columns="metric_id", values="value")


@pytest.mark.parametrize("name", ["mae", "pearson_delta"])
def test_cell_eval(pair, ours, name):
    printed = pd.read_csv(pair / "celleval_per_condition.csv").set_index("perturbation")[name]
    assert len(printed) == 33
    np.testing.assert_allclose(ours.loc[printed.index, f"celleval.{name}@1"], printed, rtol=1e-6)


@pytest.mark.parametrize("name", ["rmse_average", "cosine_logfc", "cosine_rank_logfc"])
def test_perturbench(pair, ours, name):
    table = pd.read_csv(pair / "perturbench_per_condition.csv")
    printed = table[table["metric_id"] == name].assign(perturbation=lambda t: t["cov_pert"].str.removeprefix("one_"))
    printed = printed.set_index("perturbation")["metric"]
    assert len(printed) == 33
    np.testing.assert_allclose(ours.loc[printed.index, f"perturbench.{name}@1"], printed, rtol=1e-6, atol=1e-12)


def test_labels_are_written_as_the_truth_spells_them(ours):
    assert {"SET+KLF1", "SAMD1+PTPN12"} <= set(ours.index)
