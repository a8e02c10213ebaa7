"""A gene graph: its order, its refusals, its files, and what propagation adds up."""

from __future__ import annotations

import json

import numpy as np
import pytest

from perturbcast.errors import UsageError
from perturbcast.graphs import GeneGraph, load, save

GENES = ("A", "B", "C", "D")


def make_graph(edges=((0, 1, 0.5), (2, 1, -1.0), (3, 0, 2.0)), *, genes=GENES, **provenance):
    source, target, weight = (np.array(column) for column in zip(*edges, strict=True))
    return GeneGraph.of(name="made", genes=genes, source=source, target=target, weight=weight, provenance=provenance)


def named(graph):
    """{(source name, target name): weight}."""
    source, target = graph.edge_index
    return {(graph.genes[s], graph.genes[t]): float(w) for s, t, w in zip(source, target, graph.weight, strict=True)}


def test_edges_stand_in_one_order_without_loops_and_zeros():
    edges = [(3, 0, 2.0), (1, 1, 9.0), (2, 1, -1.0), (0, 1, 0.5), (0, 2, 0.0)]
    graph = make_graph(edges)
    assert graph.edge_index.tolist() == [[3, 0, 2], [0, 1, 1]]
    assert graph.weight.tolist() == [2.0, 0.5, -1.0]
    assert graph.hash == make_graph(edges[::-1]).hash


def test_propagation_sums_weighted_sources_into_targets():
    h = np.array([[1.0, 10.0], [2.0, 20.0], [3.0, 30.0], [4.0, 40.0]])
    # A gets 2 D; B gets 0.5 A - C; C and D get nothing
    assert make_graph().propagate(h).tolist() == [[8.0, 80.0], [-2.5, -25.0], [0.0, 0.0], [0.0, 0.0]]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"genes": ("A", "A", "C", "D")}, "names A more than once"),
        ({"weight": np.array([1.0, np.nan], dtype=np.float32)}, "1 weights that are not finite"),
        ({"weight": np.ones(2)}, "types int64 and float64"),
        ({"weight": np.ones(3, dtype=np.float32)}, r"shapes \(2, 2\) and \(3,\)"),
        ({"edge_index": np.array([[0, 4], [1, 2]])}, "positions 0 to 4 for 4 genes"),
        ({"edge_index": np.array([[0, 2], [1, 2]])}, "an edge from a gene to itself"),
        ({"edge_index": np.array([[0, 0], [1, 1]])}, "an edge twice"),
        ({"edge_index": np.array([[0, 1], [2, 0]])}, "not sorted by target and source"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_bad_graph_is_refused(changes, message):
    good = {"edge_index": np.array([[0, 1], [1, 2]]), "weight": np.ones(2, dtype=np.float32), "genes": GENES}
    with pytest.raises(ValueError, match=message):
        GeneGraph(name="bad", provenance={}, **(good | changes))


def test_another_gene_order_is_an_error_with_the_coverage():
    with pytest.raises(ValueError, match=r"in another order: it covers 4 of 4 genes \(100.0%\)"):
        make_graph().check_genes(GENES[::-1])
    with pytest.raises(ValueError, match=r"not the same names: it covers 3 of 5 genes \(60.0%\)"):
        make_graph().check_genes(("A", "B", "X", "D", "Y"))


def test_matching_follows_names_and_drops_the_edges_of_absent_genes():
    graph = make_graph()
    assert named(graph.matched(GENES[::-1])) == named(graph)
    fewer = graph.matched(("D", "X", "A", "B"))
    assert named(fewer) == {("D", "A"): 2.0, ("A", "B"): 0.5}
    assert fewer.provenance["matched_from"] == graph.hash
    assert fewer.provenance["matched_coverage"] == 0.75


def test_too_few_shared_names_are_refused_with_those_missing():
    with pytest.raises(ValueError, match=r"at least 50% .* covers 1 of 4 genes \(25.0%\), missing first X, Y, Z"):
        make_graph().matched(("A", "X", "Y", "Z"))
    with pytest.raises(ValueError, match="covers 0 of 1 genes"):
        make_graph().matched(("X",), min_coverage=0.0)


def test_shuffling_keeps_degrees_and_weights_and_moves_genes():
    rng = np.random.default_rng(0)
    edges = [(s, t, rng.standard_normal()) for s in range(30) for t in range(30) if s != t and rng.random() < 0.2]
    graph = make_graph(edges, genes=tuple(f"G{i}" for i in range(30)))
    other = graph.shuffled(generator=np.random.default_rng(1))
    for row in (0, 1):
        degrees = [sorted(np.bincount(g.edge_index[row], minlength=30)) for g in (graph, other)]
        assert degrees[0] == degrees[1]
    assert sorted(graph.weight) == sorted(other.weight)
    assert len(named(graph).keys() & named(other).keys()) < 0.5 * graph.n_edges
    assert other.hash == graph.shuffled(generator=np.random.default_rng(1)).hash


def test_a_round_trip_keeps_every_byte_and_writes_no_pickle(tmp_path):
    graph = make_graph(source="hand")
    for name in ("one", "two"):
        save(graph, tmp_path / name)
    assert sorted(p.name for p in (tmp_path / "one").iterdir()) == ["edges.safetensors", "graph.json"]
    for file in ("edges.safetensors", "graph.json"):
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes()
    again = load(tmp_path / "one")
    assert (again.hash, again.genes, again.provenance) == (graph.hash, graph.genes, {"source": "hand"})
    np.testing.assert_array_equal(again.edge_index, graph.edge_index)


def test_changed_and_half_written_graphs_are_refused(tmp_path):
    save(make_graph(), tmp_path / "g")
    edges, record = tmp_path / "g" / "edges.safetensors", tmp_path / "g" / "graph.json"
    whole, text = edges.read_bytes(), record.read_text()
    edges.write_bytes(whole[:-1] + b"\x01")
    with pytest.raises(ValueError, match=r"edges\.safetensors does not have the sha256"):
        load(tmp_path / "g")
    edges.write_bytes(whole)
    record.write_text(json.dumps(json.loads(text) | {"genes": ["A", "C", "B", "D"]}))
    with pytest.raises(ValueError, match=r"graph\.json does not have its own sha256"):
        load(tmp_path / "g")
    record.write_text(json.dumps(json.loads(text) | {"format": "other/2"}))
    with pytest.raises(ValueError, match="is 'other/2'"):
        load(tmp_path / "g")
    record.unlink()
    with pytest.raises(ValueError, match=r"lacks graph\.json: it is half-written"):
        load(tmp_path / "g")
    with pytest.raises(UsageError, match="does not exist"):
        load(tmp_path / "absent")
