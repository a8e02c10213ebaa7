"""Fixed sets are the same for ever, hold values and targets, and say what training shares with them."""

from __future__ import annotations

import hashlib
import json

import numpy as np
import pytest

from perturbcast.errors import UsageError
from perturbcast.simulation import SeedRegistry, TaskFamily, collisions, fixed_set, write_fixed_set


@pytest.fixture(scope="module")
def registry():
    family = TaskFamily(mechanism="gp", nodes=8, observations=30, environments=2, rows=10, batch=100)
    return SeedRegistry.make(
        base_seed=3, training={"gp": family}, validation={"gp": family}, test={"gp": family}, n_validation=2, n_test=3
    )


def test_written_set_is_the_same_bytes_again(registry, tmp_path):
    hashes = []
    for name in ("a", "b"):
        path = tmp_path / f"{name}.npz"
        write_fixed_set(fixed_set(registry, "test", "interventional"), path)
        hashes.append(hashlib.sha256(path.read_bytes()).hexdigest())
    assert hashes[0] == hashes[1]


def test_interventional_set_keeps_values_and_targets(registry, tmp_path):
    fixed = fixed_set(registry, "test", "interventional")
    write_fixed_set(fixed, tmp_path / "set.npz")
    with np.load(tmp_path / "set.npz") as file:
        index = json.loads(str(file["index"]))
        assert index["seeds"] == list(registry.test_seeds["interventional"])
        for seed, task in zip(fixed.seeds, fixed.tasks["gp"], strict=True):
            assert index["kinds"][f"gp/{seed}"] == "hard"
            rows = file[f"gp/{seed}/interventional"].reshape(2, 10, 8)
            for environment in range(2):
                target, value = file[f"gp/{seed}/targets"][environment, 0], file[f"gp/{seed}/values"][environment, 0]
                np.testing.assert_allclose(rows[environment, :, target], value, rtol=1e-6)
            np.testing.assert_array_equal(file[f"gp/{seed}/edges"], task.graph.edges)


def test_kinds_and_parts_are_seeded_apart(registry, tmp_path):
    seen = set()
    for part in ("validation", "test"):
        for kind in ("observational", "interventional"):
            fixed = fixed_set(registry, part, kind)
            seen |= {task.observational.tobytes() for task in fixed.tasks["gp"]}
            assert all(bool(task.interventions) == (kind == "interventional") for task in fixed.tasks["gp"])
    assert len(seen) == 2 * 2 + 2 * 3
    write_fixed_set(fixed_set(registry, "test", "observational"), tmp_path / "o.npz")
    with np.load(tmp_path / "o.npz") as file:
        assert not any("targets" in name for name in file)


def test_unknown_part_is_refused(registry):
    with pytest.raises(UsageError, match="'training', 'observational' is none"):
        fixed_set(registry, "training", "observational")


def test_collisions_are_confirmed_and_counted(make_chain, make_graph):
    chain = make_chain(4)
    renamed = chain.relabelled(np.array([3, 1, 0, 2]))
    found = collisions([make_graph(nodes=9), chain], [renamed, make_graph(nodes=9, seed=5)])
    assert found.pairs == ((1, 0),)
    assert found.share == 0.5
