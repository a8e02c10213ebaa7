"""An ablation changes one thing at a time and compares on validation."""

from __future__ import annotations

import dataclasses

import numpy as np

from perturbcast import splits
from perturbcast.graphs import GeneGraph
from perturbcast.models import cgio
from perturbcast.training import fit
from perturbcast.training.ablation import ablate, variants
from perturbcast.training.validation import held_out

QUICK = {"steps": 4, "width": 4, "every": 2}


def test_each_variant_is_one_change_and_none_repeats_the_whole_model():
    config = cgio.Config(graphs="net", gate="node", operator="fused", over="additive")
    found = variants(config)
    rows = ["whole", "graph off", "graph shuffled", "gate none", "gate scalar", "gate lowrank", "gate mlp"]
    rows += ["context none", "context id", "context levels", "state mlp", "state transformer"]
    assert list(found) == [*rows, "adapter film", "adapter lowrank", "adapter experts", "base off"]
    changed = [dataclasses.asdict(dataclasses.replace(config, **fields)) for fields in found.values()]
    assert all(one != other for i, one in enumerate(changed) for other in changed[:i])
    for name, fields in found.items():
        groups = {"graphs", "shuffle", "gate"} if name == "graph off" else set(list(fields)[:1])
        assert set(fields) <= groups, name
    assert not any(name.startswith(("graph", "gate", "state")) for name in variants(cgio.Config()))
    assert {"context none", "context id", "context levels"} < set(variants(cgio.Config()))
    assert "context levels" not in variants(cgio.Config(perturbation="id")), "an id has no gene to read the level of"


def test_a_row_is_what_fitting_that_variant_gives(make_data):
    data = make_data(contexts=("a", "b", "c", "d"), genes=6)
    folds = splits.make(data, "unseen_context", seed=1)[:2]
    graph = GeneGraph.of(
        name="net",
        genes=data.genes,
        source=np.arange(5),
        target=np.arange(1, 6),
        weight=np.ones(5),
        provenance={},
    )
    config = cgio.Config(graphs="net", **QUICK)
    rows = list(ablate(data, folds, config, seeds=(0, 1), graphs=lambda fold: [graph], only=["graph off"]))
    assert [row.name for row in rows] == ["whole", "graph off"]
    by_hand = []
    for seed in (0, 1):
        values = []
        for fold in folds:
            held = held_out(data, fold)
            off = cgio.Config(**QUICK)
            model = fit(data, fold, kind="cgio", plugin="cgio", config=off, seed=seed, validation=held)
            context = held.effects.conditions[0].context
            controls = {context: held.effects.control[0]}
            values.append(held.values(model.predict(held.effects.conditions, control_means=controls).delta))
        by_hand.append(np.concatenate(values))
    np.testing.assert_allclose(rows[1].values, np.mean(by_hand, axis=0), rtol=1e-6)
    assert not np.allclose(rows[0].values, rows[1].values)
