"""Tasks for causal discovery: same seed same bytes, interventions where they belong."""

from __future__ import annotations

import numpy as np
import pytest

from perturbcast.errors import UsageError
from perturbcast.simulation import TaskFamily, draw_graph, draw_task, families

SEED = np.random.SeedSequence(5, spawn_key=(1, 2))


def make_family(mechanism="linear", **fields):
    sane = {"nodes": 8, "observations": 60, "environments": 3, "rows": 20, "batch": 300}
    if mechanism == "gene_expression":
        sane["intervention"] = "knock_down"
    return TaskFamily(mechanism=mechanism, **{**sane, **fields})


def arrays(task):
    return task.graph.edges.tobytes(), task.observational.tobytes(), task.interventional.tobytes(), task.interventions


@pytest.mark.parametrize("mechanism", families())
def test_same_seed_same_bytes_and_finite(mechanism):
    family = make_family(mechanism)
    one, two = draw_task(family, SEED), draw_task(family, SEED)
    assert arrays(one) == arrays(two)
    assert one.observational.shape == (60, 8)
    assert one.interventional.shape == (60, 8)
    assert np.isfinite(one.observational).all()
    assert (one.observational.std(axis=0) > 0.01).all()
    other = draw_task(family, np.random.SeedSequence(6))
    assert arrays(one)[1] != arrays(other)[1]


def test_exact_process_is_drawn_with_its_environments():
    task = draw_task(make_family("gpcde", mechanism_parameters={"exact": True}), SEED)
    for i, done in enumerate(task.interventions):
        rows = task.interventional[20 * i : 20 * (i + 1), done.targets[0]]
        np.testing.assert_allclose(rows, done.values[0], rtol=1e-6)


def test_each_environment_holds_its_targets_at_their_values():
    task = draw_task(make_family(targets=2), SEED)
    assert len(task.interventions) == 3
    for i, done in enumerate(task.interventions):
        np.testing.assert_allclose(
            task.interventional[20 * i : 20 * (i + 1)][:, done.targets], np.tile(done.values, (20, 1)), rtol=1e-6
        )
        assert min(map(abs, done.values)) >= 1


def test_graph_alone_is_the_graph_of_the_task():
    family = make_family(graph="scale_free")
    np.testing.assert_array_equal(draw_graph(family, SEED).edges, draw_task(family, SEED).graph.edges)


def test_graph_parameters_reach_the_family():
    blocky = make_family(graph="stochastic_block", graph_parameters={"blocks": 2, "odds_inside": 1e9}, nodes=30)
    edges = draw_graph(blocky, SEED).edges
    assert ((edges < 15).sum(axis=1) != 1).all()


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"observations": 0}, "at least 2 samples"),
        ({"targets": 9}, "1 to 8 targets, one per node; 9 were asked for"),
        ({"environments": -1}, "are 60, 20, 300, -1"),
    ],
    ids=["no samples", "targets", "environments"],
)
def test_impossible_tasks_are_refused(fields, message):
    with pytest.raises(UsageError, match=message):
        make_family(**fields)
