"""Cells on the data contract: counts, labels, sizes, and bytes that do not depend on workers."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import scipy.sparse as sp

from perturbcast.simulation import design, simulate
from perturbcast.simulation.cells import CHUNK, condition_sizes, draw_cells, draw_condition
from perturbcast.simulation.observation import Config, batch_factors, log1p_cp10k, observe, poisson_rates


def as_bytes(cells):
    return [a.tobytes() for m in (cells.counts, cells.x) for a in (m.data, m.indices, m.indptr)]


@pytest.mark.parametrize("family", ["gene_expression", "mlp"])
def test_same_seed_gives_the_same_bytes_on_1_and_4_workers(family, make_config):
    config = make_config(family=family, cells=2 * CHUNK + 4000, batches=2)
    one, four = (draw_cells(design(config), workers=workers) for workers in (1, 4))
    assert as_bytes(one) == as_bytes(four)
    assert one.obs.equals(four.obs)


def test_other_seeds_give_other_cells(make_config):
    one, two = (simulate(make_config(seed=seed))[0] for seed in (0, 1))
    assert one.hash != two.hash


def test_data_is_on_the_contract(make_config):
    data, counts = simulate(make_config(batches=2))
    assert data.x.shape == counts.shape == (400, 20)
    assert counts.dtype == np.int32
    assert counts.data.min() > 0
    totals = np.asarray(counts.sum(axis=1)).ravel()
    np.testing.assert_allclose(data.x.toarray(), np.log1p(1e4 * counts.toarray() / totals[:, None]), rtol=1e-5)
    assert data.contexts == ("context_A", "context_B")
    assert len(data.conditions) == 2 * 5
    assert not data.uncontrolled
    assert data.meta["targets"][data.conditions[0].perturbation] == list(data.conditions[0].targets)
    assert set(data.obs["batch"]) == {"batch_0", "batch_1"}
    assert data.obs.groupby(["context", "perturbation"])["batch"].nunique().min() == 2


def test_conditions_have_the_sizes_asked_for(make_config):
    config = make_config(cells=1001, control_share=0.3)
    screen = design(config)
    sizes = condition_sizes(screen)
    assert sizes.sum() == 1001
    assert sizes[0, 0] == round(0.3 * 501)
    cells = draw_cells(screen)
    counted = cells.obs.groupby(["context", "perturbation"]).size()
    labels = ["control", *(p.label for p in screen.perturbations)]
    for c, context in enumerate(screen.contexts):
        assert [counted[context, label] for label in labels] == sizes[c].tolist()


def test_knock_out_removes_the_targets_counts(make_config):
    data, counts = simulate(make_config(intervention="knock_out"))
    index = {gene: i for i, gene in enumerate(data.genes)}
    for condition in data.conditions:
        rows = (data.obs["perturbation"] == condition.perturbation) & (data.obs["context"] == condition.context)
        controls = data.obs["is_control"] & (data.obs["context"] == condition.context)
        for target in condition.targets:
            assert counts[np.flatnonzero(rows), index[target]].sum() == 0
            assert counts[np.flatnonzero(controls), index[target]].sum() > 0


def test_cells_of_a_condition_are_its_own_in_the_data(make_config):
    # Blocks that sit in the wrong columns would give a condition the cells of its neighbour.
    screen = design(make_config(cells=3 * CHUNK, combinations=0))
    cells, truth_genes = draw_cells(screen), {gene: i for i, gene in enumerate(screen.genes)}
    for p, perturbation in enumerate(screen.perturbations):
        for c, context in enumerate(screen.contexts):
            rows = (cells.obs["perturbation"] == perturbation.label) & (cells.obs["context"] == context)
            mine = cells.x[np.flatnonzero(rows)].toarray()
            fresh = draw_condition(screen, c, p, n=4000, seed=3).toarray()
            z = (mine.mean(axis=0) - fresh.mean(axis=0)) / np.sqrt(
                mine.var(axis=0) / len(mine) + fresh.var(axis=0) / 4000
            )
            assert abs(z[truth_genes[perturbation.label]]) < 4
            assert np.sqrt(np.mean(z**2)) < 1.8


def test_shuffled_labels_keep_cells_and_counts_per_label(make_config):
    config = make_config()
    plain, shuffled = (draw_cells(design(dataclasses.replace(config, shuffle_labels=s))) for s in (False, True))
    assert as_bytes(plain) == as_bytes(shuffled)
    assert (plain.obs["perturbation"] != shuffled.obs["perturbation"]).sum() > 150
    np.testing.assert_array_equal(plain.obs["is_control"], shuffled.obs["is_control"])
    columns = ["context", "perturbation"]
    assert plain.obs.value_counts(columns).to_dict() == shuffled.obs.value_counts(columns).to_dict()


def test_counts_are_negative_binomial_around_library_times_share():
    config = Config(library_size=2000, library_spread=0.0, overdispersion=0.5)
    generator = np.random.default_rng(0)
    expression = np.tile(np.array([[1.0], [9.0]], dtype=np.float32), (1, 200_000))
    observation = observe(
        config, batch_factors(config, 2, np.random.SeedSequence(0)), np.zeros(200_000, int), generator
    )
    counts = generator.poisson(poisson_rates(expression, observation)[0])
    assert counts.mean() == pytest.approx(200, rel=0.01)
    assert counts.var() == pytest.approx(200 + 0.5 * 200**2, rel=0.02)


def test_library_size_is_log_normal():
    config = Config(library_size=1000, library_spread=0.4, overdispersion=0.0)
    library = observe(config, np.ones((1, 1), np.float32), np.zeros(100_000, int), np.random.default_rng(0)).library
    assert np.median(library) == pytest.approx(1000, rel=0.01)
    assert np.log(library).std() == pytest.approx(0.4, rel=0.01)


def test_dropout_empties_its_share():
    config = Config(dropout=0.3, overdispersion=0.0)
    factor = observe(config, np.ones((50, 1), np.float32), np.zeros(2000, int), np.random.default_rng(0)).factor
    assert (factor == 0).mean() == pytest.approx(0.3, abs=0.01)


def test_normalisation_by_hand():
    x = log1p_cp10k(sp.csr_matrix(np.array([[1, 3], [0, 0]], dtype=np.float32)))
    np.testing.assert_allclose(x.toarray(), [[np.log1p(2500), np.log1p(7500)], [0, 0]], rtol=1e-6)
