"""Impossible requests get one clear error, and the parts of a screen are seeded apart."""

from __future__ import annotations

import numpy as np
import pytest

from perturbcast.errors import UsageError
from perturbcast.simulation import design, families


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"family": "gene_expresion"}, r"'gene_expresion' is not. Did you mean 'gene_expression'"),
        ({"cells": 0}, r"holds a cell, here 12 in all \(2 contexts x \(1 \+ 4 \+ 1\)\); 0 cells were asked for"),
        ({"cells": 11}, "11 cells were asked for"),
        ({"edges_per_node": 15.0}, r"20 nodes has 190 pairs.*15 edges per node \(300 edges\) were asked for"),
        ({"perturbations": 21}, "21 perturbations of 20 genes"),
        ({"combinations": 7}, "6 at most; 7 were asked for"),
        ({"contexts": 0}, "at least one context"),
        ({"perturbations": 1, "combinations": 0, "targets": ("GENE99",)}, "GENE01 to GENE20, once each; GENE99 is not"),
        ({"targets": ("GENE01",)}, "1 names for 4 perturbations"),
        ({"perturbations": 2, "combinations": 0, "targets": ("GENE01", "GENE01")}, "one is named twice"),
        ({"graph": "tree"}, "'tree' is unknown"),
        ({"family": "gp", "noise": "cauchy"}, "'cauchy' is not"),
        (
            {"intervention": "hard"},
            "Perturbations of 'gene_expression' are one of knock_out, knock_down, activation; 'hard'",
        ),
        ({"family": "gp", "intervention": "knock_out"}, "'knock_out' is not"),
        ({"predictable_share": 1.5}, "predictable_share is a share between 0 and 1; it is 1.5"),
        ({"control_share": 0.0}, "control_share is a share"),
        ({"dropout": 1.0}, "Dropout is a probability"),
        ({"batches": 0}, "at least one batch"),
        ({"library_size": 5.0}, "library_size is 5"),
        ({"overdispersion": -1.0}, "Spreads are not negative"),
        ({"truth_draws": 3}, "even number of draws"),
        ({"mechanism": {"hills": 3}}, "'gene_expression' takes the parameters .*; hills unknown"),
        ({"family": "gp", "mechanism": {"width": 3}}, "'gp' takes the parameters .*; width unknown"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, dict) else "",
)
def test_impossible_requests_are_refused(changes, message, make_config):
    with pytest.raises(UsageError, match=message):
        design(make_config(**changes))


def test_families_are_those_of_the_issue():
    assert set(families()) == {
        "gene_expression", "linear", "mlp", "gp", "gpcde", "square", "periodic", "logistic_map", "pnl",
        "heteroscedastic", "mixture",
    }  # fmt: skip


@pytest.mark.parametrize("family", families())
def test_every_family_makes_a_screen_whose_effects_reach_other_genes(family, make_config):
    screen = design(make_config(family=family))
    generator = np.random.default_rng(0)
    noise = screen.world.noise(300, generator)
    wild = screen.world.latent(0, noise)
    moved = 0
    for p in range(4):
        blocks = [(slice(None), p)]
        latent = screen.world.latent(0, noise, screen.acting(blocks), base=wild)
        expression = screen.expression(0, latent, blocks, wild=wild)
        assert np.isfinite(expression).all()
        assert (expression >= 0).all()
        moved += int(((latent != wild).any(axis=1)).sum()) - 1
    assert moved > 4


def test_named_targets_are_the_perturbations(make_config):
    screen = design(make_config(perturbations=2, combinations=1, targets=("GENE07", "GENE02")))
    assert [p.label for p in screen.perturbations] == ["GENE02", "GENE07", "GENE02+GENE07"]
    pair, first, second = screen.perturbations[2], screen.perturbations[0], screen.perturbations[1]
    assert pair.intervention.targets == (1, 6)
    assert pair.intervention.values == (*first.intervention.values, *second.intervention.values)


def test_drawn_targets_regulate_genes(make_config):
    for seed in range(10):
        screen = design(make_config(seed=seed, context_edges=0.0))
        regulators = set(screen.world.graph(0).edges[:, 0])
        assert {p.intervention.targets[0] for p in screen.perturbations[:4]} <= regulators


def test_more_cells_perturbations_or_contexts_leave_the_rest(make_config):
    small, large = design(make_config()), design(make_config(cells=4000, contexts=3, perturbations=8))
    np.testing.assert_array_equal(small.world.graph(1).edges, large.world.graph(1).edges)
    strength = {p.label: p.intervention for p in large.perturbations}
    for perturbation in small.perturbations[:4]:
        assert strength.get(perturbation.label, perturbation.intervention) == perturbation.intervention


def test_mechanism_parameters_reach_the_mechanisms(make_config):
    screen = design(make_config(family="linear", mechanism={"noise_scale": 7.0}))
    scales = {
        m.noise_scale
        for m, f in zip(screen.world.models[0].mechanisms, screen.world.families(), strict=True)
        if f == "linear"
    }
    assert scales == {7.0}
    assert design(make_config(mechanism={"hill": 4.0})).world.config.hill == 4.0
