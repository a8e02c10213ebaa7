"""The description's figures against data whose answer is known."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from perturbcast.simulation import describe, plot, simulate
from perturbcast.simulation.description import explained_by_parents


@pytest.fixture(scope="module")
def data(make_config):
    return simulate(make_config(nodes=25, cells=1200, perturbations=6))[0]


def test_figures_of_a_screen(data):
    found = describe(data)
    assert (found.genes, found.cells, found.conditions) == (25, 1200, 14)
    edges = np.asarray(data.truth["edges"]["context"])
    assert found.edges_per_node == pytest.approx(len(edges) / 2 / 25)
    assert found.density == pytest.approx(len(edges) / 2 / 300)
    hops = found.effect_by_hops
    assert hops["target"] > hops["1 hop"] > hops["2 hops"] > hops["not downstream"]
    assert 0 <= found.var_sortability <= 1
    assert 0 <= found.r2_sortability <= 1
    assert 0 < found.context_correlation < 1
    text = "\n".join(found.lines())
    for word in ("edges per node", "sortability", "explained by parents", "1 hop", "error of the truth"):
        assert word in text


def test_more_genes_than_controls_is_said(make_config):
    found = describe(simulate(make_config(nodes=60, cells=100, combinations=0))[0])
    assert found.r2_sortability is None
    assert "R2 not measurable here" in "\n".join(found.lines())


def test_explained_variance_by_hand(make_chain):
    generator = np.random.default_rng(0)
    parent, noise = generator.standard_normal((2, 200_000))
    values = np.stack([parent, 2 * parent + noise], axis=1)
    assert explained_by_parents(values, make_chain(2)) == pytest.approx(0.8, abs=0.005)


def test_measured_data_has_no_truth_to_describe(data):
    with pytest.raises(ValueError, match="has none"):
        describe(dataclasses.replace(data, truth=None))


@pytest.mark.parametrize("suffix", ["svg", "png"])
def test_plot_is_written_whole_and_the_same_again(suffix, data, tmp_path):
    pictures = []
    for name in ("a", "b"):
        plot(data, tmp_path / f"{name}.{suffix}")
        pictures.append((tmp_path / f"{name}.{suffix}").read_bytes())
    assert pictures[0] == pictures[1]
    assert sorted(p.name for p in tmp_path.iterdir()) == [f"a.{suffix}", f"b.{suffix}"]
