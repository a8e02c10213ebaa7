"""The simulated dataset at the demo's size, read back from its file."""

from __future__ import annotations

import h5py
import numpy as np
import pytest

from perturbcast import catalog
from perturbcast.datasets import simulated
from perturbcast.stores import h5ad


@pytest.fixture(scope="module")
def built():
    return simulated.build(simulated.Config())


def test_is_found_and_documented():
    assert "simulated" in catalog.names("datasets")
    assert simulated.Config.__dataclass_params__.frozen


def test_every_split_has_what_it_needs(built):
    data, _ = built
    assert len(data.contexts) == 4
    labels = {c.perturbation for c in data.conditions}
    assert len(labels) == 26
    assert sum("+" in label for label in labels) == 6
    assert {part for label in labels for part in label.split("+")} <= labels
    assert data.obs.groupby(["context", "perturbation"]).size().min() >= 20
    assert len(data.conditions) == 4 * 26
    assert not data.uncontrolled


def test_effects_travel_and_contexts_differ(built):
    data, _ = built
    delta = np.asarray(data.truth["delta"])
    assert (abs(delta) > 0.1).sum(axis=-1).mean() > 5
    a, b = delta[0].ravel(), delta[1].ravel()
    assert 0.6 < np.corrcoef(a, b)[0, 1] < 0.97


def test_measured_effects_are_the_truth_within_their_error(built):
    from perturbcast.stores import effects

    data, _ = built
    measured = effects(data, cells=list(data.obs.index[~data.obs["is_control"]]), conditions=data.conditions)
    row = {name: i for i, name in enumerate(data.truth["contexts"])}
    column = {name: i for i, name in enumerate(data.truth["perturbations"])}
    truth = np.stack([data.truth["delta"][row[c.context], column[c.perturbation]] for c in data.conditions])
    z = (measured.delta - truth) / np.sqrt(measured.error + 1e-9)
    assert np.sqrt(np.median(z**2)) == pytest.approx(0.6745, abs=0.05)


def test_file_round_trip_keeps_truth_and_counts(built, tmp_path):
    data, counts = built
    path = tmp_path / "simulated.h5ad"
    h5ad.write(data, path, counts=counts)
    again = h5ad.read(path)
    assert again.hash == data.hash
    for name in ("delta", "delta_se", "total_effect", "order", "control_mean"):
        np.testing.assert_array_equal(again.truth[name], data.truth[name])
    for name in ("contexts", "perturbations", "genes", "families"):
        assert list(map(str, again.truth[name])) == list(map(str, data.truth[name]))
    np.testing.assert_array_equal(again.truth["edges"]["sign"], data.truth["edges"]["sign"])
    with h5py.File(path) as file:
        assert file["layers/counts/data"][:].sum() == counts.sum()
