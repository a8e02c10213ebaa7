"""Streams that never meet, continue anywhere, and a registry that never changes."""

from __future__ import annotations

import dataclasses
import itertools

import pytest

from perturbcast.simulation import SeedRegistry, TaskFamily, TrainingStream, collisions, draw_graph
from perturbcast.simulation.seed_registry import KINDS, choose_seeds
from perturbcast.simulation.seeding import Part, stream

TINY = {"observations": 20, "batch": 100}


def make_registry(**changes):
    linear, gp, square = (TaskFamily(mechanism=m, nodes=8, **TINY) for m in ("linear", "gp", "square"))
    sane = {
        "base_seed": 7,
        "training": {"linear": linear, "gp": gp},
        "validation": {"linear": linear},
        "test": {"gp": gp, "square": square},
        "n_validation": 3,
        "n_test": 4,
    }
    return SeedRegistry.make(**{**sane, **changes})


def first(iterable, n):
    return list(itertools.islice(iterable, n))


def test_two_ranks_of_two_workers_are_disjoint_and_complete():
    registry = make_registry()
    streams = [
        TrainingStream(registry=registry, rank=rank, n_ranks=2, worker=worker, n_workers=2)
        for rank in range(2)
        for worker in range(2)
    ]
    positions = [first(s.positions(), 25) for s in streams]
    together = sorted(itertools.chain(*positions))
    assert together == list(range(100))


def test_every_position_is_the_same_task_whoever_draws_it():
    registry = make_registry()
    alone = {i: task.observational.tobytes() for i, task in first(TrainingStream(registry=registry), 8)}
    assert len(set(alone.values())) == 8
    for rank, worker in itertools.product(range(2), range(2)):
        mine = TrainingStream(registry=registry, rank=rank, n_ranks=2, worker=worker, n_workers=2)
        for i, task in first(mine, 2):
            assert task.observational.tobytes() == alone[i]


@pytest.mark.parametrize("k", [0, 1, 5, 6])
def test_resuming_at_k_continues_exactly_with_other_workers(k):
    registry = make_registry()
    whole = [task.observational.tobytes() for _, task in first(TrainingStream(registry=registry), 12)]
    resumed = {}
    for rank in range(3):
        mine = TrainingStream(registry=registry, rank=rank, n_ranks=3, start=k)
        resumed |= {i: task.observational.tobytes() for i, task in first(mine, 2)}
    assert sorted(resumed) == list(range(k, k + 6))
    assert [resumed[i] for i in range(k, k + 6)] == whole[k : k + 6]


def test_families_take_turns():
    registry = make_registry()
    assert [registry.training_family(i) for i in range(4)] == ["linear", "gp", "linear", "gp"]


def test_registry_round_trip_and_no_change(tmp_path):
    registry = make_registry()
    path = tmp_path / "run/seeds.json"
    registry.save(path)
    registry.save(path)
    assert SeedRegistry.load(path) == registry
    with pytest.raises(ValueError, match="fixed once written"):
        dataclasses.replace(registry, base_seed=8).save(path)
    assert SeedRegistry.load(path).base_seed == 7
    path.write_text('{"format": "else"}')
    with pytest.raises(ValueError, match="is marked 'perturbcast"):
        SeedRegistry.load(path)


def test_fixed_seeds_are_apart():
    registry = make_registry()
    lists = [seeds[kind] for seeds in (registry.validation_seeds, registry.test_seeds) for kind in KINDS]
    assert [len(seeds) for seeds in lists] == [3, 3, 4, 4]
    assert len(set(itertools.chain(*lists))) == 14


def test_a_test_family_that_training_lacks_takes_no_part_in_validation():
    square = TaskFamily(mechanism="square", nodes=8, **TINY)
    with pytest.raises(ValueError, match="tests out of distribution takes no part in selection; square"):
        make_registry(validation={"square": square})


def test_a_seed_listed_twice_is_refused():
    registry = make_registry()
    with pytest.raises(ValueError, match="serves one fixed set"):
        dataclasses.replace(registry, test_seeds=registry.validation_seeds)


def test_impossible_stream_is_refused():
    with pytest.raises(ValueError, match="count from 0 up to their number"):
        TrainingStream(registry=make_registry(), rank=2, n_ranks=2)


def test_small_graphs_are_divided_and_would_collide_otherwise():
    small = {"small": TaskFamily(mechanism="linear", nodes=4, edges_per_node=0.75, **TINY)}

    def shared(separate_up_to):
        registry = make_registry(training=small, validation=small, test=small, n_test=5, separate_up_to=separate_up_to)
        train = [task.graph for _, task in first(TrainingStream(registry=registry), 40)]
        test = [
            draw_graph(small["small"], stream(seed, Part.TEST, k))
            for k, kind in enumerate(KINDS)
            for seed in registry.test_seeds[kind]
        ]
        return collisions(train, test)

    assert shared(separate_up_to=0).share > 0.5
    assert shared(separate_up_to=6).pairs == ()


def test_too_few_graphs_to_divide_is_refused(monkeypatch):
    monkeypatch.setattr("perturbcast.simulation.seed_registry.ATTEMPTS", 5)
    pair = {"pair": TaskFamily(mechanism="linear", nodes=2, edges_per_node=0.5, **TINY)}
    with pytest.raises(ValueError, match="0 of 3 seeds were found in 15 for pair"):
        choose_seeds(pair, Part.TEST, n=3, first=0, separate_up_to=6)
