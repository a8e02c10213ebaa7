"""Propagation against a sum worked out by hand, and gates that learn."""

from __future__ import annotations

import pytest
import torch

from perturbcast.nn.gates import KINDS, blocks
from perturbcast.nn.propagation import Propagation, arrived, in_degree_normalised

GENES, WIDTH = 5, 4
EDGES = torch.tensor([[0, 1, 0, 3], [1, 2, 2, 4]])
WEIGHT = torch.tensor([0.5, -1.0, 2.0, 1.0])


def make(gate="none", *, edges=EDGES, weight=WEIGHT, rounds=1, seed=0):
    torch.manual_seed(seed)
    return Propagation(edges, weight, genes=GENES, width=WIDTH, context=WIDTH, gate=gate, rounds=rounds)


def inputs(rows=2):
    generator = torch.Generator().manual_seed(1)
    h = torch.zeros(rows, GENES, WIDTH)
    h[:, 0] = torch.randn(rows, WIDTH, generator=generator)
    return h, torch.randn(GENES, WIDTH, generator=generator), torch.randn(rows, WIDTH, generator=generator)


def test_one_round_is_the_weighted_sum_over_edges_plus_the_gene_itself():
    layer = make()
    h, z, c = inputs()
    u, w = layer.across[0].weight, layer.own[0].weight
    arrived = torch.zeros_like(h)
    for s, t, weight in zip(*EDGES.tolist(), WEIGHT.tolist(), strict=True):
        arrived[:, t] += weight * (h[:, s] @ u.T)
    torch.testing.assert_close(layer(h, z_Gd=z, context_Bc=c), torch.tanh(h @ w.T + arrived) + h)


def test_a_signal_travels_as_many_edges_as_there_are_rounds_and_no_gene_beyond():
    h, z, c = inputs()
    chain = torch.tensor([[0, 1, 2], [1, 2, 3]])
    for rounds in (1, 2, 3):
        out = make(edges=chain, weight=torch.ones(3), rounds=rounds)(h, z_Gd=z, context_Bc=c)
        reached = (out[0] != 0).any(dim=1).tolist()
        assert reached == [i <= rounds for i in range(GENES)]


@pytest.mark.parametrize("weight", [torch.zeros(4), torch.full((4,), 9e-7)], ids=["zero", "below 1e-6"])
def test_a_closed_graph_returns_what_came_in(weight):
    h, z, c = inputs()
    assert make(weight=weight)(h, z_Gd=z, context_Bc=c) is h
    assert make(weight=torch.full((4,), 2e-6))(h, z_Gd=z, context_Bc=c) is not h


@pytest.mark.parametrize("gate", [gate for gate in KINDS if gate != "none"])
def test_every_parameter_of_a_gate_moves_in_ten_steps(gate):
    layer = make(gate)
    h, z, c = inputs()
    h = h + 0.1
    before = {name: value.detach().clone() for name, value in layer.gate.named_parameters()}
    descent = torch.optim.AdamW(layer.parameters(), lr=0.01, weight_decay=0.0)
    for _ in range(10):
        loss = (layer(h, z_Gd=z, context_Bc=c) - 1).square().mean()
        descent.zero_grad()
        loss.backward()
        descent.step()
    assert before
    for name, value in layer.gate.named_parameters():
        assert (value - before[name]).abs().max() > 1e-4, name


@pytest.mark.parametrize("gate", KINDS)
def test_a_gate_lies_between_0_and_1_and_only_mlp_reads_the_context(gate):
    layer = make(gate)
    _, z, c = inputs()
    one = layer.gate(*EDGES, z_Gd=z, context_Bc=c)
    other = layer.gate(*EDGES, z_Gd=z, context_Bc=c + 1)
    assert ((one >= 0) & (one <= 1)).all()
    assert (gate == "mlp") == (not torch.equal(one, other))
    assert one.shape == ((2, 4) if gate == "mlp" else (4,))


def test_edges_are_saved_and_move_with_the_module():
    layer = make()
    assert {"edges", "weight"} <= set(layer.state_dict())
    assert layer.double().weight.dtype == torch.float64
    assert layer.edges.dtype == torch.int64
    with pytest.raises(RuntimeError, match="size mismatch"):
        make(edges=EDGES[:, :2], weight=WEIGHT[:2]).load_state_dict(layer.state_dict())


def test_a_graph_of_other_genes_is_refused():
    with pytest.raises(ValueError, match="Edges join genes 0 to 4; one names 7"):
        make(edges=torch.tensor([[0], [7]]), weight=torch.ones(1))


def test_weights_into_a_gene_are_divided_by_the_root_of_their_sum():
    weight = in_degree_normalised(EDGES, WEIGHT, genes=GENES)
    torch.testing.assert_close(weight, torch.tensor([0.5 / 0.5**0.5, -1 / 3**0.5, 2 / 3**0.5, 1.0]))


def step(gate, *, edges, weight, genes, rows=2, width=4):
    """Signals and gradients of one step, and the largest tensor that is kept for the gradient (values)."""
    torch.manual_seed(3)
    layer = Propagation(edges, weight, genes=genes, width=width, context=width, gate=gate, rounds=2)
    h = torch.randn(rows, genes, width, requires_grad=True)
    z, c = torch.randn(genes, width), torch.randn(rows, width)
    kept = [0]

    def keep(tensor):
        kept.append(tensor.numel())
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        signal = layer(h, z_Gd=z, context_Bc=c)
        signal.square().sum().backward()
    return [signal.detach(), h.grad, *(value.grad for value in layer.parameters())], max(kept)


@pytest.mark.parametrize("gate", KINDS)
def test_blocks_of_edges_give_what_comes_of_all_edges_at_once(gate, monkeypatch):
    edges = torch.randint(30, (2, 200), generator=torch.Generator().manual_seed(0))
    given = {"edges": edges, "weight": torch.linspace(-1, 1, 200), "genes": 30}
    whole, _ = step(gate, **given)
    monkeypatch.setattr("perturbcast.nn.gates.VALUES_AT_ONCE", 7 * 2 * 4)
    in_blocks, _ = step(gate, **given)
    assert [block.stop - block.start for block in blocks(20, values=8)] == [7, 7, 7]
    for one, other in zip(whole, in_blocks, strict=True):
        if gate == "mlp":  # a product of matrices of other shapes
            torch.testing.assert_close(one, other)
        else:
            assert torch.equal(one, other)


def test_gradients_of_what_arrives_are_those_of_the_sum():
    generator = torch.Generator().manual_seed(0)
    message = torch.randn(2, GENES, 3, dtype=torch.float64, generator=generator, requires_grad=True)
    for shape in ((4,), (2, 4)):
        gated = torch.randn(shape, dtype=torch.float64, generator=generator, requires_grad=True)
        assert torch.autograd.gradcheck(
            lambda m, g: arrived(m, g, source_E=EDGES[0], target_E=EDGES[1]), (message, gated)
        )


def test_what_a_step_keeps_is_of_edges_and_of_genes_and_not_of_both_times_width():
    """20,000 genes and 2 million edges: all messages would be 8 million values, a [gene, gene] array 400 million."""
    genes, n, rows = 20_000, 2_000_000, 1
    edges = torch.randint(genes, (2, n), generator=torch.Generator().manual_seed(0))
    _, largest = step("mlp", edges=edges, weight=torch.ones(n), genes=genes, rows=rows)
    assert n <= largest <= rows * n
