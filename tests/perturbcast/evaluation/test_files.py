"""Any pair of files: matched by name, refused by name, and blind to the prediction's own controls."""

from __future__ import annotations

import anndata
import numpy as np
import pytest
import scipy.sparse as sp

from perturbcast.errors import UsageError
from perturbcast.evaluation import evaluate_files


def _edit(path, change):
    file = anndata.read_h5ad(path)
    change(file).write_h5ad(path)
    return path


def _value(evaluation, metric_id):
    return evaluation.metrics[metric_id]["value"]


def test_identical_files_reach_every_optimum(make_file):
    truth = make_file("truth", contexts=("one", "two"))
    evaluation = evaluate_files(truth, truth, context_key="context")
    for metric_id, row in evaluation.metrics.items():
        if metric_id == "perturbcast.coverage_90@1":
            assert row["value"] is None
            assert "no finite 90 % interval" in row["notes"][0]
        else:
            assert row["value"] == pytest.approx(row["optimum"], abs=1e-9), metric_id
            assert row["n_excluded"] == 0
    assert evaluation.per_condition["value"].notna().all()
    assert list(evaluation.per_condition) == ["context", "perturbation", "metric_id", "value"]
    assert len(evaluation.per_condition) == 7 * 6


def test_truth_without_any_effect_gives_no_nan(make_file):
    flat = _edit(make_file("flat", labels=["control", "A"]), lambda f: _with_x(f, np.ones(f.shape)))
    evaluation = evaluate_files(flat, flat)
    assert evaluation.per_condition["value"].notna().all()
    assert evaluation.metrics["celleval.pearson_delta@1"]["n_excluded"] == 1
    assert _value(evaluation, "celleval.mae@1") == 0.0


def _with_x(file, x, *, dense=False):
    x = np.asarray(x, dtype=np.float32)
    file.X = x if dense else sp.csr_matrix(x)
    return file


def test_the_predictions_own_controls_change_nothing(make_file):
    truth, prediction = make_file("truth"), make_file("prediction", shift=0.1, seed=1)
    before = evaluate_files(truth, prediction)

    def twist(file):
        x = file.X.toarray()
        x[(file.obs["perturbation"] == "control").to_numpy()] *= 5
        return _with_x(file, x)

    twisted = evaluate_files(truth, _edit(prediction, twist))
    without = evaluate_files(truth, _edit(prediction, lambda f: f[f.obs["perturbation"] != "control"].copy()))
    assert twisted.metrics == before.metrics == without.metrics


def test_order_of_genes_cells_and_targets_and_storage_changes_nothing(make_file):
    truth, prediction = make_file("truth"), make_file("prediction", shift=0.1, seed=1)
    before = evaluate_files(truth, prediction)

    def shuffle(file):
        file.obs["perturbation"] = file.obs["perturbation"].astype(str).replace("A+B", "B+A")
        rng = np.random.default_rng(0)
        file = file[rng.permutation(file.n_obs), rng.permutation(file.n_vars)].copy()
        return _with_x(file, file.X.toarray(), dense=True)

    after = evaluate_files(truth, _edit(prediction, shuffle))
    assert list(after.metrics) == list(before.metrics)
    for metric_id, row in before.metrics.items():
        if row["value"] is not None:
            assert _value(after, metric_id) == pytest.approx(row["value"], rel=1e-5), metric_id
    assert set(after.per_condition["perturbation"]) == {"A", "B", "A+B"}, "spelled as the truth spells it"


def test_the_same_cells_in_another_order_are_drawn_alike(make_file):
    truth = make_file("truth", cells=250)  # more than the E-distance draws

    def reverse(file):
        return file[::-1].copy()

    shuffled = _edit(make_file("shuffled", cells=250), reverse)
    assert _value(evaluate_files(truth, shuffled), "perturbcast.energy_distance@1") == 0.0


def test_floor_control_is_the_score_of_predicting_no_change(make_file):
    truth = make_file("truth")

    def copies_of_controls(file):
        control = file[file.obs["perturbation"] == "control"].X.toarray()
        # dense, and in another order: float32 means then differ by rounding, which is no direction
        return _with_x(file, np.tile(control[::-1], (4, 1)), dense=True)

    nothing = _edit(make_file("nothing"), copies_of_controls)
    evaluation = evaluate_files(truth, nothing)
    for metric_id, row in evaluation.metrics.items():
        if row["value"] is not None:
            assert row["value"] == pytest.approx(row["floor"]["control"], abs=1e-6), metric_id


def test_floor_train_mean_needs_a_train_file(make_file):
    truth, prediction = make_file("truth"), make_file("prediction", shift=0.1, seed=1)
    row = evaluate_files(truth, prediction).metrics["celleval.mae@1"]
    assert row["floor"]["train_mean"] is None
    assert any("--train" in note for note in row["notes"])
    row = evaluate_files(truth, prediction, train=truth).metrics["celleval.mae@1"]
    # profiles A, B, A+B each have one gene 1 above the rest, their mean a third in each of three: off by
    # 2/3 + 1/3 + 1/3 over 12 genes, up to sampling error
    assert row["floor"]["train_mean"] == pytest.approx((4 / 3) / 12, abs=0.03)
    assert row["floor"]["control"] == pytest.approx(1 / 12, abs=0.06)


def test_missing_and_extra_conditions_are_named(make_file):
    truth = make_file("truth", labels=["control", "A", "B"])
    prediction = make_file("prediction", labels=["control", "A", "C"])
    with pytest.raises(ValueError, match=r"not predicted: B in all; predicted but not measured: C in all"):
        evaluate_files(truth, prediction)


def test_differing_genes_are_named(make_file):
    truth, prediction = make_file("truth", genes=12), make_file("prediction", genes=11)
    with pytest.raises(ValueError, match=r"only in .*truth\.h5ad: G11\. Cut both"):
        evaluate_files(truth, prediction)


def test_repeated_genes_are_refused(make_file):
    def repeat(file):
        file.var_names = ["G0", *file.var_names[:-1]]
        return file

    prediction = _edit(make_file("prediction"), repeat)
    with pytest.raises(ValueError, match=r"repeated in .*: G0"):
        evaluate_files(make_file("truth"), prediction)


@pytest.mark.parametrize("option", ["perturbation_key", "context_key"])
def test_a_missing_column_lists_those_present(make_file, option):
    truth = make_file("truth")
    with pytest.raises(UsageError, match=r"has no 'cell_line'\. Present: perturbation, context"):
        evaluate_files(truth, truth, **{option: "cell_line"})


def test_a_context_without_controls_is_named(make_file):
    truth = make_file("truth", contexts=("one", "two"))

    def drop(file):
        return file[~((file.obs["context"] == "two") & (file.obs["perturbation"] == "control"))].copy()

    with pytest.raises(ValueError, match=r"has no 'control' cell in 'two'"):
        evaluate_files(_edit(truth, drop), make_file("prediction", contexts=("one", "two")), context_key="context")


def test_wrong_control_label_is_named(make_file):
    with pytest.raises(ValueError, match=r"no 'non-targeting' cell in 'all'"):
        evaluate_files(make_file("truth"), make_file("prediction"), control_label="non-targeting")


def test_nan_in_the_prediction_is_refused(make_file):
    def spoil(file):
        x = file.X.toarray()
        x[40, 3] = np.nan
        return _with_x(file, x)

    with pytest.raises(ValueError, match=r"has 1 entries that are NaN or infinite"):
        evaluate_files(make_file("truth"), _edit(make_file("prediction"), spoil))


def test_absent_file_and_foreign_file(make_file, tmp_path):
    with pytest.raises(UsageError, match=r"nowhere\.h5ad does not exist"):
        evaluate_files(tmp_path / "nowhere.h5ad", make_file("prediction"))
    (tmp_path / "text.h5ad").write_text("not hdf5")
    with pytest.raises(ValueError, match=r"text\.h5ad cannot be read"):
        evaluate_files(tmp_path / "text.h5ad", make_file("prediction"))


def test_contexts_are_scored_apart(make_file):
    truth = make_file("truth", contexts=("one", "two"))
    evaluation = evaluate_files(truth, truth, context_key="context")
    assert set(evaluation.per_condition["context"]) == {"one", "two"}
    assert set(evaluate_files(truth, truth).per_condition["context"]) == {"all"}
