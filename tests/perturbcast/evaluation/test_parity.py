"""Our reference panels against what the references printed for a real pair, and a gate that can fail."""

from __future__ import annotations

import shutil

import numpy as np
import pandas as pd
import pytest

from perturbcast.errors import UsageError
from perturbcast.evaluation import evaluate_files
from perturbcast.evaluation.parity import parity
from perturbcast.metrics import panel

KEYS = {"perturbation_key": "target_gene", "context_key": "cell_type", "control_label": "non-targeting"}


@pytest.fixture(scope="module")
def folder(shared):
    folder = shared / "parity" / "norman_k562"
    if not folder.is_dir():
        pytest.skip("../shared/parity/norman_k562 (values printed by the references) is not there")
    return folder


@pytest.fixture(scope="module")
def verdicts(folder):
    found = parity(folder / "real.h5ad", folder / "pred.h5ad", folder, **KEYS)
    return {verdict.metric_id: verdict for verdict in found}


@pytest.mark.parametrize("name", ["perturbench", "celleval", "scperturbench"])
def test_every_metric_of_the_panel_agrees(verdicts, name):
    of_panel = {measure.metric.id for measure in panel(name)}
    ours_alone = {
        "scperturbench.common_degs_top100@1",
        "scperturbench.pcc_delta_top100@1",  # 1 - pearson_distance, which is compared
        "scperturbench.pcc_delta_all@1",
    }
    compared = {metric_id for metric_id in verdicts if metric_id.startswith(f"{name}.") and verdicts[metric_id].n}
    assert compared == of_panel - ours_alone
    for metric_id in sorted(compared):
        verdict = verdicts[metric_id]
        assert verdict.status == "PASS", verdict
        assert verdict.n + verdict.n_undefined == 33, verdict
        assert verdict.worst <= 1e-6 or "rounds to 4 decimals" in verdict.note, verdict


@pytest.mark.parametrize("side", ["real", "pred"])
@pytest.mark.parametrize("column", ["p_value", "fdr", "log2_fold_change"])
def test_differential_expression_tables_agree(verdicts, side, column):
    verdict = verdicts[f"celleval {side}_de {column}"]
    assert verdict.status == "PASS", verdict
    assert verdict.n == 33 * 500
    if column != "log2_fold_change":
        assert verdict.worst < 1e-9


def test_what_cannot_be_compared_is_no_agreement(verdicts):
    assert verdicts["celleval.clustering_agreement"].status == "SKIPPED"
    assert verdicts["systema.*"].status == verdicts["gears.*"].status == "ABSENT"


@pytest.fixture
def copy(folder, tmp_path):
    """The reference's tables where a test may spoil them."""
    for path in folder.glob("*.[ct]s*"):
        shutil.copyfile(path, tmp_path / path.name)
    return tmp_path


def _verdicts(folder, reference):
    found = parity(folder / "real.h5ad", folder / "pred.h5ad", reference, **KEYS)
    return {verdict.metric_id: verdict for verdict in found}


def test_one_value_that_differs_fails_its_metric_alone(folder, copy):
    path = copy / "celleval_per_condition.csv"
    table = pd.read_csv(path)
    table.loc[3, "mae"] *= 1 + 3e-6
    table.loc[4, "mse"] = np.nan
    table.to_csv(path, index=False)
    found = _verdicts(folder, copy)
    assert (found["celleval.mae@1"].status, found["celleval.mae@1"].note) == ("FAIL", "1 differ")
    assert found["celleval.mae@1"].worst == pytest.approx(3e-6, rel=0.1)
    assert (found["celleval.mse@1"].status, found["celleval.mse@1"].n_undefined) == ("PASS", 1)
    assert [metric_id for metric_id, verdict in found.items() if verdict.status == "FAIL"] == ["celleval.mae@1"]


def test_a_printed_digit_that_differs_fails(folder, copy):
    path = copy / "scperturbench_per_condition.tsv"
    table = pd.read_csv(path, sep="\t")
    row = table.index[table["metric"] == "edistance"][0]
    table.loc[row, "performance"] += 1.2e-4
    table.to_csv(path, sep="\t", index=False)
    name = {100: "top100", 5000: "all"}[table.loc[row, "DEG"]]
    assert _verdicts(folder, copy)[f"scperturbench.edistance_{name}@1"].status == "FAIL"


def test_a_number_where_ours_is_undefined_fails(folder, copy):
    path = copy / "celleval_per_condition.csv"
    table = pd.read_csv(path)
    table["roc_auc"] = table["roc_auc"].fillna(0.5)
    table.to_csv(path, index=False)
    verdict = _verdicts(folder, copy)["celleval.roc_auc@1"]
    assert (verdict.status, verdict.note) == ("FAIL", "11 undefined in ours")


def test_an_absent_reference_is_absent_with_the_next_step(folder, copy):
    for path in copy.glob("celleval*"):
        path.unlink()
    (copy / "perturbench_per_condition.csv").unlink()
    found = _verdicts(folder, copy)
    assert found["celleval.*"].status == found["perturbench.*"].status == "ABSENT"
    assert "--run celleval" in found["celleval.*"].note
    assert found["celleval real_de"].status == "ABSENT"
    assert found["scperturbench.mse_all@1"].status == "PASS"


def test_names_that_a_reference_writes_itself_are_found(folder, copy):
    (copy / "celleval_per_condition.csv").rename(copy / "results.csv")
    assert _verdicts(folder, copy)["celleval.mae@1"].status == "PASS"


def test_other_conditions_and_unknown_metrics_fail_by_name(folder, copy):
    table = pd.read_csv(copy / "celleval_per_condition.csv")
    table[table["perturbation"] != "HK2"].assign(new_metric=1.0).to_csv(copy / "celleval_per_condition.csv")
    found = _verdicts(folder, copy)
    assert found["celleval.mae@1"].note == "1 conditions are in one only: HK2"
    assert "no such metric" in found["celleval.new_metric@1"].note
    assert found["celleval.mae@1"].status == found["celleval.new_metric@1"].status == "FAIL"


def test_a_folder_that_is_not_there_is_a_usage_error(folder, tmp_path):
    with pytest.raises(UsageError, match=r"nowhere does not exist\. Name it by --reference"):
        _verdicts(folder, tmp_path / "nowhere")


def test_all_panels_of_real_files_and_identical_input(folder):
    """Identical files reach every optimum without a NaN, though some conditions have no differential gene."""
    evaluation = evaluate_files(folder / "real.h5ad", folder / "real.h5ad", panel_name="all", **KEYS)
    nothing_to_score = {measure.metric.id for measure in panel("uncertainty")}  # cells state no error of their own
    nothing_to_score |= {name for name in evaluation.metrics if "pearson_delta_perturbed" in name}  # nor a train mean
    for metric_id, row in evaluation.metrics.items():
        if metric_id in nothing_to_score:
            assert row["value"] is None, metric_id
            assert row["notes"], metric_id
        else:
            assert row["value"] == pytest.approx(row["optimum"], abs=1e-6), metric_id
    overlap = evaluation.metrics["celleval.overlap_at_N@1"]
    assert (overlap["value"], overlap["n"], overlap["n_excluded"]) == (1.0, 22, 11)
    assert overlap["notes"][0] == "11 of 33 conditions excluded: the truth has no significant gene"
    assert "11 of the excluded are listed" in overlap["notes"][1]
    listed = evaluation.per_condition.query("metric_id == 'celleval.overlap_at_N@1'")["value"]
    assert sorted(listed) == [0.0] * 11 + [1.0] * 22
    assert evaluation.per_condition["value"].notna().all()


def test_one_value_for_a_context_has_no_interval(folder):
    row = evaluate_files(folder / "real.h5ad", folder / "pred.h5ad", panel_name="celleval", **KEYS).metrics
    spread = row["celleval.pearson_edistance@1"]
    assert spread["interval"] == [None, None]
    assert "one value over all conditions" in spread["notes"][0]
    assert row["celleval.mae@1"]["interval"][0] is not None
    assert row["celleval.de_nsig_counts_pred@1"]["optimum"] == row["celleval.de_nsig_counts_real@1"]["value"]
