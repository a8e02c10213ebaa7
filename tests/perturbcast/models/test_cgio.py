"""cgio: every switch matters, every lesson of earlier systems holds."""

from __future__ import annotations

import dataclasses
import subprocess
import sys

import numpy as np
import pytest
import torch

from perturbcast.graphs import GeneGraph
from perturbcast.models import Validation, cgio
from perturbcast.models.interface import from_state, to_state
from perturbcast.nn.adapters import Adapter
from perturbcast.schema import Condition

GENES = [f"G{i}" for i in range(8)]
QUICK = {"steps": 12, "width": 4, "batch": 8, "learning_rate": 0.01, "dropout": 0.0}
CONTROLS = {
    context: np.random.default_rng(i).uniform(0.5, 2.0, len(GENES)) for i, context in enumerate(("a", "b", "c"))
}


def graph(name="net", edges=((0, 1), (1, 2), (2, 3), (4, 5), (5, 6), (6, 7)), genes=GENES):
    source, target = np.array(edges).T
    return GeneGraph.of(name=name, genes=genes, source=source, target=target, weight=np.ones(len(edges)), provenance={})


@pytest.fixture
def train(make_train):
    """Four targets in two contexts, and one combination; G<k> lowers itself and its successor."""
    deltas = {}
    for context, strength in (("a", 1.0), ("b", 1.4)):
        for k in range(4):
            deltas[f"G{k}", context] = -strength * (np.eye(8)[k] + 0.5 * np.eye(8)[k + 1])
    deltas["G0+G1", "a"] = deltas["G0", "a"] + deltas["G1", "a"] + 0.2
    made = make_train(deltas, genes=GENES, baseline=CONTROLS)
    return dataclasses.replace(made, graphs={"net": graph()})


@pytest.fixture
def encoded(train, make_encoder):
    """The same with a pretrained encoder of six of its genes and one other."""
    return dataclasses.replace(train, encoder=make_encoder(genes=("Z", *GENES[:6]), seed=7))


PRETRAINED = {"operator": "fused", "state": "pretrained", "encoder": "path", "encoder_coverage": 0.8}


def fit(train, seed=0, **fields):
    return cgio.Model.fit(train, cgio.Config(**QUICK | fields), generator=np.random.default_rng(seed))


def ask(model, *labels, context="a"):
    return model.predict(
        [Condition(label, context) for label in labels], control=np.tile(CONTROLS[context], (len(labels), 1))
    )


SWITCHES = {
    "graph": {"graphs": "net"},
    "shuffled": {"graphs": "net", "shuffle": True},
    "gate scalar": {"graphs": "net", "gate": "scalar"},
    "gate node": {"graphs": "net", "gate": "node"},
    "gate lowrank": {"graphs": "net", "gate": "lowrank"},
    "gate mlp": {"graphs": "net", "gate": "mlp"},
    "rounds": {"graphs": "net", "rounds": 1},
    "id": {"perturbation": "id"},
    "no context": {"context": "none"},
    "context id": {"context": "id"},
    "context levels": {"context": "levels"},
    "state mlp": {"operator": "fused", "state": "mlp"},
    "state transformer": {"operator": "fused", "state": "transformer"},
    "variable genes": {"operator": "fused", "state": "transformer", "variable_genes": 3},
    "additive": {"operator": "additive"},
    "fused": {"operator": "fused"},
    "bases": {"bases": 2},
    "film": {"adapter": "film"},
    "lowrank": {"adapter": "lowrank"},
    "experts": {"adapter": "experts"},
    "residual": {"over": "additive"},
    "residual of learned sizes": {"over": "random_effects"},
    "combination weight": {"combination_weight": 5.0},
    "dropout": {"dropout": 0.3},
    "beta": {"beta": 1.0},
    "members": {"members": 2},
    "weight decay": {"weight_decay": 0.5},
    "clip": {"clip": 0.05},
    "warmup": {"warmup": 0.9},
    "batch": {"batch": 4},
    "seed": {"seed": 1},
}


def test_each_switch_changes_what_is_predicted_and_no_two_agree(train, encoded, make_encoder):
    answers = {name: ask(fit(train, **fields), "G0", "G5").delta for name, fields in SWITCHES.items()}
    other = dataclasses.replace(train, encoder=make_encoder(genes=("Z", *GENES[:6]), seed=8))
    answers["pretrained, frozen"] = ask(fit(encoded, **PRETRAINED), "G0", "G5").delta
    answers["pretrained, tuned"] = ask(fit(encoded, **PRETRAINED, encoder_tuned=True), "G0", "G5").delta
    answers["another encoder"] = ask(fit(other, **PRETRAINED), "G0", "G5").delta
    answers["default"] = ask(fit(train), "G0", "G5").delta
    names = sorted(answers)
    same = [
        (a, b) for i, a in enumerate(names) for b in names[:i] if np.allclose(answers[a], answers[b], rtol=0, atol=1e-9)
    ]
    assert same == []
    assert all(np.isfinite(answer).all() for answer in answers.values())


READS = {
    "nothing of the profile": ({"context": "none"}, False),
    "a context id": ({"context": "id"}, False),
    "context features": ({"context": "features"}, True),
    "context levels": ({"context": "levels"}, True),
    "state mlp, fused": ({"context": "none", "operator": "fused", "state": "mlp"}, True),
    "state mlp, additive": ({"context": "none", "operator": "additive", "state": "mlp"}, True),
    "state transformer": ({"context": "none", "operator": "fused", "state": "transformer"}, True),
}


@pytest.mark.parametrize(("fields", "reads"), READS.values(), ids=READS)
def test_the_control_state_reaches_the_prediction_where_a_switch_says_so(train, fields, reads):
    """Different initial weights also change a prediction; here the weights stay and the input changes."""
    model = fit(train, **fields)
    network = model._network(member=0).eval()
    row = model._rows([Condition("G0", "a")], CONTROLS["a"][None], _described(1))
    with torch.no_grad():
        one = network(row)[0]
        other = network(row | {"profile": row["profile"] + torch.linspace(-1, 1, 8)})[0]
    assert (not torch.equal(one, other)) == reads


@pytest.mark.parametrize("operator", ["fused", "additive"])
def test_a_pretrained_state_reads_the_control_profile_over_the_genes_of_its_encoder_alone(encoded, operator):
    model = fit(encoded, **PRETRAINED | {"context": "none", "operator": operator})
    network = model._network(member=0).eval()
    row = model._rows([Condition("G0", "a")], CONTROLS["a"][None], _described(1))
    with torch.no_grad():
        one = network(row)[0]
        for gene, read in ((7, False), (2, True)):
            other = network(row | {"control": row["control"] + torch.eye(8)[gene]})[0]
            assert (not torch.equal(one, other)) == read


@pytest.mark.parametrize("tuned", [False, True], ids=["frozen", "tuned"])
def test_a_frozen_encoder_stays_as_it_was_read_and_a_tuned_one_does_not(encoded, tuned):
    """In training it drops activations only where it learns; loaded again, the model needs no encoder's file."""
    model = fit(encoded, **PRETRAINED, encoder_tuned=tuned)
    network = model._network(member=0)
    state = network.encode.train()
    assert state.encoder.training == tuned
    same = [
        np.array_equal(encoded.encoder.weights[name], value.detach().numpy())
        for name, value in state.encoder.named_parameters()
    ]
    assert len(same) == len(encoded.encoder.weights)
    assert all(same) if not tuned else not any(same)
    assert model.encoder["sha256"] == encoded.encoder.hash
    assert model.encoder["coverage"] == "6 of 7 genes (85.7%)"
    assert model.encoder["missing"] == ["Z"]
    again = from_state(cgio.Model, *to_state(model))
    np.testing.assert_array_equal(ask(again, "G5").delta, ask(model, "G5").delta)


def test_an_encoder_that_is_missing_or_of_other_genes_is_refused(train, encoded, make_encoder):
    with pytest.raises(ValueError, match="cgio uses the encoder that it is given; 'path' was not"):
        fit(train, **PRETRAINED)
    with pytest.raises(ValueError, match=r"the data has 6 of 7 genes \(85\.7%\), at least 90% are asked for, .* Z\."):
        fit(encoded, **PRETRAINED | {"encoder_coverage": 0.9})
    other = dataclasses.replace(train, encoder=make_encoder(genes=("ENSG1", "ENSG2")))
    with pytest.raises(ValueError, match=r"the data has 0 of 2 genes"):
        fit(other, **PRETRAINED)


@pytest.mark.parametrize("adapter", ["film", "lowrank", "experts"])
def test_an_adapter_starts_as_the_identity_and_learns_to_bend_with_the_context(adapter):
    torch.manual_seed(0)
    layer = Adapter(adapter, width=4, context=3)
    x, contexts = torch.randn(1, 4), torch.randn(2, 3)
    assert torch.equal(layer(x.expand(2, -1), contexts), x.expand(2, -1))
    descent = torch.optim.AdamW(layer.parameters(), lr=0.05)
    for _ in range(10):
        loss = (layer(x.expand(2, -1), contexts) - torch.tensor([[1.0], [-1.0]])).square().mean()
        descent.zero_grad()
        loss.backward()
        descent.step()
    one, two = layer(x.expand(2, -1), contexts).detach()
    assert (one - two).abs().max() > 0.05


@pytest.mark.parametrize("graphs", ["", "net", "identity"])
def test_two_targets_have_two_embeddings_and_two_predictions(train, graphs):
    """Also without an edge, and for targets that were never perturbed."""
    empty = graph("identity", edges=((0, 1),))
    empty = dataclasses.replace(empty, edge_index=empty.edge_index[:, :0], weight=empty.weight[:0])
    model = fit(dataclasses.replace(train, graphs={"net": graph(), "identity": empty}), graphs=graphs)
    network = model._network(member=0)
    asked = [Condition(f"G{k}", "a") for k in range(8)]
    vectors = []
    network.operate.register_forward_pre_hook(lambda module, args: vectors.append(args[0].detach()))
    network(model._rows(asked, np.tile(CONTROLS["a"], (8, 1)), _described(8)))
    apart = (vectors[0][:, None] - vectors[0][None]).abs().amax(dim=2) + torch.eye(8)
    assert apart.min().item() > 1e-3
    one, two, three = ask(model, "G5", "G6", "G7").delta
    assert min(np.abs(one - two).max(), np.abs(two - three).max()) > 1e-3


@pytest.mark.parametrize("gate", ["scalar", "node", "lowrank", "mlp"])
def test_gates_of_the_whole_model_move_in_ten_steps(train, gate):
    """Its heads start at zero, so that nothing before them has a gradient at the first step."""
    model = fit(train, graphs="net", gate=gate, steps=10, weight_decay=0.0)
    begun = model._network(seed=int(np.random.default_rng(0).integers(2**31)))
    before = {name: value for name, value in begun.named_parameters() if ".gate." in name}
    assert before
    for name, value in model._network(member=0).named_parameters():
        assert name not in before or (value - before[name]).abs().max() > 1e-4, name


def test_a_target_that_was_never_perturbed_uses_no_untrained_row(train):
    """With features there is no row per perturbation; with ids an unknown one adds nothing and is named."""
    assert fit(train).ids == []
    model = fit(train, perturbation="id")
    assert model.ids == ["G0", "G1", "G2", "G3"]
    rows = model._rows([Condition("G7", "a"), Condition("G0", "a")], np.ones((2, 8)), _described(2))
    assert rows["ids"].sum(dim=1).tolist() == [0.0, 1.0]
    assert ask(model, "G7").notes == (("G7 has no features here: it adds nothing to what the context says",),)
    assert ask(model, "G0").notes == ((),)


def test_a_drug_has_a_trained_row_and_an_unknown_drug_a_note(train):
    effects = train.effects
    drug = dataclasses.replace(effects, conditions=(Condition("IFNB", "a"), *effects.conditions[1:]))
    model = fit(dataclasses.replace(train, effects=drug))
    assert model.ids == ["IFNB"]
    assert np.abs(ask(model, "IFNB").delta - ask(model, "IL2").delta).max() > 1e-4
    assert "IL2 has no features here" in ask(model, "IL2").notes[0][0]


def test_an_unseen_context_is_known_by_its_controls_and_not_by_an_id(train):
    features, ids = fit(train), fit(train, context="id")
    for model, differs in ((features, True), (ids, False)):
        rows = [
            model._network(member=0).context(model._rows([Condition("G0", "c")], control[None], _described(1)))
            for control in (CONTROLS["c"], CONTROLS["a"])
        ]
        assert (not torch.equal(*rows)) == differs


def _described(n):
    from perturbcast.models.cross_fitting import N_FEATURES, Described

    return Described(base=np.zeros((n, 8)), features=np.zeros((n, 8, N_FEATURES), np.float32), notes=((),) * n)


def test_combinations_are_order_free_and_count_both_targets(train):
    model = fit(train, graphs="net", over="additive")
    np.testing.assert_array_equal(ask(model, "G1+G2").delta, ask(model, "G2+G1").delta)
    assert np.abs(ask(model, "G1+G2").delta - ask(model, "G1").delta).max() > 1e-3


def test_same_seed_same_bytes_and_another_seed_other_weights(train):
    one, two, other = fit(train, dropout=0.2), fit(train, dropout=0.2), fit(train, seed=1, dropout=0.2)
    assert one.weights.tobytes() == two.weights.tobytes()
    assert one.weights.tobytes() != other.weights.tobytes()
    torch.manual_seed(123)  # nothing outside decides a draw, and nothing inside changes the draws outside
    before = torch.rand(1)
    torch.manual_seed(123)
    assert fit(train, dropout=0.2).weights.tobytes() == one.weights.tobytes()
    assert torch.equal(torch.rand(1), before)


def test_prediction_is_in_batches_of_bounded_size(train, monkeypatch):
    from perturbcast.models.cross_fitting import Among
    from perturbcast.nn.intervention import Intervention

    model, sizes, described = fit(train, over="additive"), [], []
    forward, describe = Intervention.forward, Among.__call__
    monkeypatch.setattr(Intervention, "forward", lambda self, row: sizes.append(len(row["dose"])) or forward(self, row))
    monkeypatch.setattr(Among, "__call__", lambda *a, **k: described.append(len(a[1])) or describe(*a, **k))
    ask(model, *["G0"] * 22)
    assert sizes == described == [8, 8, 6], "11 features of each gene are a row's, so that they come in batches too"


def test_training_describes_a_batch_at_a_time(train, monkeypatch):
    """Rows of 11 features per gene are made for a batch and for few validation conditions, never for all of train."""
    from perturbcast.models.cross_fitting import Descriptions

    held = Validation(effects=train.effects, metric="m", values=lambda d: np.abs(d).mean(axis=1), loss=float)
    sizes, describe = [], Descriptions.__call__
    monkeypatch.setattr(Descriptions, "__call__", lambda self, rows: sizes.append(len(rows)) or describe(self, rows))
    fit(dataclasses.replace(train, validation=held), over="additive", batch=4, steps=6, every=3)
    assert sizes == [8, 1, 4, 4, 4, 8, 1, 4, 4, 4, 8, 1], "nine conditions, by eight where validation is looked at"


def test_a_second_question_fits_and_builds_nothing_again(train, monkeypatch):
    from perturbcast.models import additive

    model, made = fit(train, over="additive"), []
    network, base = cgio.Model._network, additive.Model.fit
    monkeypatch.setattr(cgio.Model, "_network", lambda self, **given: made.append("network") or network(self, **given))
    monkeypatch.setattr(additive.Model, "fit", lambda *given, **named: made.append("base") or base(*given, **named))
    first, second = ask(model, "G0", "G1"), ask(model, "G0", "G1")
    assert sorted(made) == ["base", "network"]
    np.testing.assert_array_equal(first.delta, second.delta)


def test_weights_load_strictly(train):
    model = fit(train)
    changed = dataclasses.replace(model, config=model.config | {"width": 6})
    with pytest.raises(ValueError, match=r"loaded by name and shape; .* trained with another config"):
        ask(changed, "G0")


def test_a_missing_graph_and_a_graph_of_other_genes_are_refused(train):
    with pytest.raises(ValueError, match=r"uses the graphs that it is given; coexpression.*given: net\. Build one"):
        fit(train, graphs="coexpression")
    with pytest.raises(ValueError, match="A graph stands in the gene order of the data"):
        dataclasses.replace(train, graphs={"net": graph(genes=GENES[::-1])})


def test_no_train_conditions_are_refused(train):
    none = dataclasses.replace(train, effects=train.effects.select(np.zeros(9, dtype=bool)))
    with pytest.raises(ValueError, match="fitted on train conditions; there are none"):
        fit(none)


@pytest.mark.parametrize("fields", [{"width": 3}, {"dropout": 1.5}, {"steps": 0}, {"learning_rate": 0.0}], ids=str)
def test_impossible_parameters_are_refused(fields):
    with pytest.raises(ValueError, match=f"cgio needs .*{next(iter(fields))} = "):
        cgio.Config(**fields)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"state": "mlp"}, "a state of 'mlp' would change nothing"),
        ({"gate": "node"}, "Gates and shuffling are of"),
        ({"encoder": "path"}, "state = none, encoder = 'path'"),
        ({"operator": "fused", "state": "pretrained"}, "A pretrained state has an encoder"),
        ({"encoder_tuned": True}, "encoder_tuned = True"),
    ],
    ids=["state", "gate", "encoder", "pretrained", "tuned"],
)
def test_a_switch_that_would_do_nothing_is_refused(fields, message):
    with pytest.raises(ValueError, match=message):
        cgio.Config(**fields)


def test_the_residual_starts_as_its_base_and_keeps_it_where_validation_says_so(train):
    """A validation score that any change makes worse: the prediction is additive's to float precision."""
    asked = [Condition("G0", "c"), Condition("G2", "c")]
    held = dataclasses.replace(
        train.effects.select(np.array([0, 2])), conditions=tuple(asked), control=np.tile(CONTROLS["c"], (2, 1))
    )
    from perturbcast.models import additive

    base = additive.Model.fit(train, additive.Config(), generator=np.random.default_rng(0)).predict(
        asked, control=held.control
    )

    def values(delta):
        return np.abs(delta - base.delta).max(axis=1)

    validation = Validation(effects=held, metric="distance", values=values, loss=lambda value: value)
    with_validation = dataclasses.replace(train, validation=validation)
    model = fit(with_validation, over="additive", every=1, steps=30, patience=3)
    np.testing.assert_allclose(model.predict(asked, control=held.control).delta, base.delta, atol=1e-5)
    free = fit(train, over="additive", steps=30).predict(asked, control=held.control)
    assert np.abs(free.delta - base.delta).max() > 1e-2


def test_a_base_that_learns_from_hidden_conditions_hides_what_will_be_new(train):
    """With nothing new, the other context tells a base nearly all; with a new context at test it has to do without."""
    bases = []
    for axes in ((), ("context",)):
        model = fit(dataclasses.replace(train, ood_axes=axes), over="random_effects", steps=1)
        assert model.describer.axes == axes
        bases.append(ask(model, "G0", "G3").delta)
    assert not np.allclose(*bases, atol=1e-3)


def test_members_are_averaged_and_their_spread_widens_the_variance(train):
    two = fit(train, members=2)
    alone = [dataclasses.replace(two, weights=two.weights[[i]]) for i in range(2)]
    answers = [ask(model, "G0") for model in alone]
    both = ask(two, "G0")
    np.testing.assert_allclose(both.delta, np.mean([answer.delta for answer in answers], axis=0))
    spread = np.var([answer.delta for answer in answers], axis=0)
    np.testing.assert_allclose(both.variance, np.mean([a.variance for a in answers], axis=0) + spread)


def test_nothing_saved_is_a_pickle(train):
    arrays, values = to_state(fit(train, graphs="net"))
    assert all(array.dtype.kind in "fi" for array in arrays.values())
    import json

    json.dumps(values, allow_nan=False)


def test_the_catalog_lists_and_loads_without_torch_and_a_fit_names_the_extra():
    script = (
        "import sys; sys.modules['torch'] = None\n"
        "from perturbcast import catalog\n"
        "import numpy as np\n"
        "assert 'cgio' in catalog.names('models'); module = catalog.load('models', 'cgio')\n"
        "try:\n    module.Model.fit(None, module.Config(), generator=np.random.default_rng(0))\n"
        "except ValueError as error:\n    print(type(error).__name__, error)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("UsageError A model that learns by gradient needs torch; it is not installed here.")
    assert "the extra 'train'" in done.stdout
