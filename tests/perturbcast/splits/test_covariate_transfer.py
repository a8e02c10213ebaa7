"""Held-out doses, times and donors: conditions are shared and cells divide by the covariate."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from perturbcast import splits
from perturbcast.errors import UsageError
from perturbcast.schema import Condition
from perturbcast.splits.covariate_transfer import Config


@pytest.fixture
def dosed(make_data):
    """Four doses in each condition; controls have dose 0."""

    def make(doses=(0.1, 1.0, 10.0, 100.0), *, drop=()):
        data = make_data(contexts=("a", "b"), perturbations=("G0", "G1", "G2"), cells=20)
        obs = data.obs.copy()
        obs["dose"] = np.where(obs["is_control"], 0.0, np.resize(doses, len(obs)))
        keep = np.ones(len(obs), dtype=bool)
        for perturbation, dose in drop:
            keep &= ~((obs["perturbation"] == perturbation) & (obs["dose"] == dose)).to_numpy()
        return dataclasses.replace(data, obs=obs, x=data.x).subset(list(obs.index[keep]))

    return make


@pytest.fixture
def donors(make_data):
    """Five donors, who give controls too."""
    data = make_data(contexts=("a", "b"), cells=20)
    return dataclasses.replace(data, obs=data.obs.assign(donor=np.resize(["p", "q", "r", "s", "t"], len(data.obs))))


def test_cells_of_the_held_out_dose_are_test_in_every_condition(dosed):
    data = dosed()
    folds = splits.make(data, "covariate_transfer", config=Config(covariate="dose"))
    assert [f.held_out for f in folds] == ["dose 0.1", "dose 1", "dose 10", "dose 100"]
    for fold, dose in zip(folds, (0.1, 1.0, 10.0, 100.0), strict=True):
        found = {part: set(data.obs.loc[list(cells), "dose"]) for part, cells in fold.parts.items()}
        assert found["test"] == {dose}
        assert len(found["validation"]) == 1
        assert found["calibration"] == found["validation"], "with four values calibration shares one with validation"
        assert len(found["train"]) == 3
        assert not found["train"] & (found["test"] | found["validation"])
        assert fold.conditions["test"] == fold.conditions["train"] == data.conditions
        assert not set(fold.conditions["validation"]) & set(fold.conditions["calibration"])
        assert fold.ood_axes == ("dose",)
        assert fold.n_controls == {"train": 40, "validation": 0, "calibration": 0, "test": 0, "control_input": 0}


def test_a_fold_can_be_trained_predicted_and_scored(dosed):
    from perturbcast import catalog
    from perturbcast.evaluation.held_out import evaluate_prediction
    from perturbcast.stores import control_means
    from perturbcast.training import fit

    data = dosed()
    (fold,) = splits.make(data, "covariate_transfer", config=Config(covariate="dose", values="100"))
    config = catalog.configure("models", "mean_delta", {})
    trained = fit(data, fold, kind="m", plugin="mean_delta", config=config, seed=0)
    answer = trained.predict(fold.conditions["test"], control_means=control_means(data))
    scored = evaluate_prediction(data, answer, cells=fold.parts["test"], train_mean=None)
    assert len(scored.labels) == 6
    np.testing.assert_allclose(answer.delta.min(axis=1), -0.5, atol=0.1)  # G<k> lowers gene k by 0.5 at every dose


def test_controls_of_held_out_donors_are_input_only(donors):
    fold = splits.make(donors, "covariate_transfer", config=Config(covariate="donor"))[0]
    of = {part: set(donors.obs.loc[list(cells), "donor"]) for part, cells in fold.parts.items()}
    held = of["test"] | of["validation"] | of["calibration"]
    assert len(held) == 3, "five donors leave one of their own for calibration"
    assert of["control_input"] == held
    assert not of["train"] & held
    assert fold.n_controls == {"train": 16, "validation": 0, "calibration": 0, "test": 0, "control_input": 24}
    assert any("not by donor" in warning for warning in fold.warnings)


def test_a_perturbation_without_other_doses_follows_the_policy(dosed):
    data = dosed(drop=[("G2", dose) for dose in (0.1, 1.0, 10.0)])
    (fold,) = splits.make(data, "covariate_transfer", config=Config(covariate="dose", values="100"))
    assert fold.shared_perturbations.dropped["test"] == ("G2",)
    assert "G2" not in set(data.obs.loc[list(fold.parts["test"]), "perturbation"])
    label = Config(covariate="dose", values="100", require_shared_perturbations=False)
    (fold,) = splits.make(data, "covariate_transfer", config=label)
    assert Condition("G2", "a") in fold.conditions["test"]
    assert fold.ood_axes == ("dose", "perturbation")
    fail = Config(covariate="dose", values="100", require_shared_perturbations="fail")
    with pytest.raises(ValueError, match=r"not in train: test \(dose 100\): G2"):
        splits.make(data, "covariate_transfer", config=fail)


@pytest.mark.parametrize(
    ("config", "error", "message"),
    [
        (Config(), UsageError, "holds out values of an obs column; '' is none of dose"),
        (Config(covariate="context"), UsageError, "Contexts are held out by unseen_context"),
        (Config(covariate="dose", values="7"), UsageError, r"7 unknown in 'dose'\. Known: 0\.1, 1, 10, 100"),
    ],
)
def test_what_is_not_in_the_data_is_a_usage_error(dosed, config, error, message):
    with pytest.raises(error, match=message):
        splits.make(dosed(), "covariate_transfer", config=config)


def test_two_values_are_too_few(dosed):
    with pytest.raises(ValueError, match=r"at least 3 values .* has 2: 1, 2\."):
        splits.make(dosed((1.0, 2.0)), "covariate_transfer", config=Config(covariate="dose"))


def test_a_cell_without_a_value_is_refused(dosed):
    data = dosed()
    obs = data.obs.copy()
    obs.loc[obs.index[~obs["is_control"]][0], "dose"] = np.nan
    with pytest.raises(ValueError, match="1 of 160 cells have none in 'dose'"):
        splits.make(dataclasses.replace(data, obs=obs), "covariate_transfer", config=Config(covariate="dose"))


def test_a_train_context_without_controls_is_refused(dosed):
    data = dosed()
    obs = data.obs.assign(dose=np.where(data.obs["is_control"], 100.0, data.obs["dose"]))
    with pytest.raises(ValueError, match=r"Every train context keeps control cells .* leaves none in a, b"):
        splits.make(
            dataclasses.replace(data, obs=obs), "covariate_transfer", config=Config(covariate="dose", values="100")
        )
