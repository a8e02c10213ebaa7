"""What each source takes for an edge, and that cells outside the train part's controls change no byte of a graph."""

from __future__ import annotations

import dataclasses
import tracemalloc

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

from perturbcast import catalog, splits
from perturbcast.errors import UsageError
from perturbcast.graphs import GeneGraph, coexpression, edge_list, gene_sets, load, save, tf_targets
from perturbcast.schema import PerturbationData

SOURCES = catalog.names("graphs")
FILE_OF = {"gene_sets": "sets.gmt.gz", "tf_targets": "factors.csv", "edge_list": "edges.tsv"}


def named(graph):
    """{(source name, target name): weight}."""
    source, target = graph.edge_index
    return {(graph.genes[s], graph.genes[t]): float(w) for s, t, w in zip(source, target, graph.weight, strict=True)}


def configured(name, files):
    return catalog.configure("graphs", name, {"file": str(files[FILE_OF[name]])} if name in FILE_OF else {})


@pytest.mark.parametrize("name", SOURCES)
def test_every_source_is_documented_and_stands_in_the_order_of_the_data(name, files, make_data):
    module = catalog.load("graphs", name)
    assert len(module.__doc__.splitlines()[0]) > 20
    for field in dataclasses.fields(module.Config):
        assert f"{field.name}:" in module.Config.__doc__, f"{name}.Config.{field.name} is not documented"
    data = make_data(contexts=("a", "b"), noise=0.5)
    one, two = (module.build(data, configured(name, files)) for _ in range(2))
    assert one.genes == data.genes
    assert one.hash == two.hash
    assert one.n_edges > 0
    assert one.provenance["source"] == name


def with_correlation(make_data, seed=3):
    """Data whose control cells have correlated genes, in two contexts of different baselines."""
    data = make_data(contexts=("a", "b"), genes=6, cells=60, noise=0.4, seed=seed)
    x = data.x.toarray()
    x[:, 1] += 0.8 * (x[:, 0] - x[:, 0].mean())
    x[:, 4] -= 0.6 * (x[:, 3] - x[:, 3].mean())
    return dataclasses.replace(data, x=sp.csr_matrix(np.maximum(x, 0)))


def correlations(data):
    """numpy's corrcoef [gene, gene] of control cells, centred in each context."""
    control = data.obs["is_control"].to_numpy()
    x = data.x.toarray()[control].astype(float)
    context = data.obs.loc[control, "context"].to_numpy()
    for name in set(context):
        x[context == name] -= x[context == name].mean(axis=0)
    return np.corrcoef(x, rowvar=False)


@pytest.mark.parametrize("block", [2**25, 1], ids=["one block", "blocks of 64"])
def test_coexpression_keeps_the_strongest_of_numpys_correlations(make_data, monkeypatch, block):
    monkeypatch.setattr(coexpression, "VALUES_PER_BLOCK", block)
    data = with_correlation(make_data)
    wide = dataclasses.replace(
        data,
        x=sp.csr_matrix(np.tile(data.x.toarray(), 20) + np.random.default_rng(0).random((len(data.obs), 120))),
        genes=tuple(f"W{i}" for i in range(120)),
    )
    graph = coexpression.build(wide, coexpression.Config(k=5, min_correlation=0.05))
    r = correlations(wide)
    np.fill_diagonal(r, 0)
    expected = {
        (f"W{s}", f"W{t}"): r[s, t] for t in range(120) for s in np.argsort(-np.abs(r[:, t]))[:5] if abs(r[s, t]) > 0.05
    }
    assert named(graph).keys() == expected.keys()
    for edge, weight in named(graph).items():
        assert weight == pytest.approx(expected[edge], abs=1e-5)


def test_coexpression_has_signs_and_no_edge_of_a_silent_gene(make_data):
    data = with_correlation(make_data)
    x = data.x.toarray()
    x[:, 5] = 0
    graph = coexpression.build(
        dataclasses.replace(data, x=sp.csr_matrix(x)), coexpression.Config(k=1, min_correlation=0.3)
    )
    assert {edge: np.sign(weight) for edge, weight in named(graph).items()} == {
        ("G0", "G1"): 1,
        ("G1", "G0"): 1,
        ("G3", "G4"): -1,
        ("G4", "G3"): -1,
    }


def test_genes_that_differ_between_contexts_only_are_not_coexpressed(make_data):
    data = make_data(contexts=("a", "b", "c", "d"), cells=60, noise=0.3)  # baselines 2 to 5: all genes rise together
    graph = coexpression.build(data, coexpression.Config(min_correlation=0.3))
    assert graph.n_edges == 0


def test_only_train_controls_change_a_graph(make_data):
    data = make_data(contexts=("a", "b", "c", "d"), noise=0.5)
    split = splits.make(data, "unseen_context", seed=1)[0]
    config = coexpression.Config(min_correlation=0.0)

    def graph(parts, *, perturbed_of_train=False, controls_of_train=False):
        cells = {b for part in parts for b in split.parts[part]}
        control = data.obs["is_control"]
        cells |= {b for b in split.parts["train"] if (control[b] and controls_of_train)}
        cells |= {b for b in split.parts["train"] if (not control[b] and perturbed_of_train)}
        x = data.x.toarray()
        rows = data.obs.index.get_indexer(sorted(cells))
        x[rows] = np.random.default_rng(9).random((len(rows), x.shape[1])) * 9
        changed = dataclasses.replace(data, x=sp.csr_matrix(x))
        return coexpression.build(changed.subset(split.parts["train"]), config)

    kept = graph([])
    changed = graph(["validation", "calibration", "test", "control_input"], perturbed_of_train=True)
    assert changed.hash == kept.hash
    assert changed.edge_index.tobytes() + changed.weight.tobytes() == kept.edge_index.tobytes() + kept.weight.tobytes()
    assert graph([], controls_of_train=True).hash != kept.hash, "the guard can fail"
    assert kept.provenance["cells_sha256"] == split.barcode_hashes["train"]


def test_too_few_controls_are_refused(make_data):
    with pytest.raises(ValueError, match=r"at least 10 more than contexts; .* holds 12 in 3 contexts\. Use a prior"):
        coexpression.build(make_data(cells=4), coexpression.Config())


def test_overlap_of_gene_sets_by_hand(make_data, files):
    """Sets of at most 5 genes: S1 {0,1,2}, S2 {1,2,X9}, S3 {3,4}, S4 {0,5}. Both of 0 and 1: S1; either: S1, S2, S4."""
    graph = gene_sets.build(make_data(), gene_sets.Config(file=str(files["sets.gmt.gz"]), max_size=5))
    expected = {("G0", "G1"): 1 / 3, ("G0", "G2"): 1 / 3, ("G1", "G2"): 1.0, ("G3", "G4"): 1.0, ("G0", "G5"): 1 / 2}
    assert named(graph) == pytest.approx(expected | {edge[::-1]: weight for edge, weight in expected.items()})
    assert graph.provenance["genes_covered"] == 6
    assert graph.provenance["names_without_gene"] == 1
    only = gene_sets.build(make_data(), gene_sets.Config(file=str(files["sets.gmt.gz"]), max_size=5, k=1))
    assert {edge for edge in named(only) if edge[1] in ("G0", "G1", "G2")} == {("G5", "G0"), ("G2", "G1"), ("G1", "G2")}


def test_factors_from_a_table_are_signed_and_repeated_pairs_averaged(make_data, files):
    config = tf_targets.Config(file=str(files["factors.csv"]))
    assert named(tf_targets.build(make_data(), config)) == {("G0", "G1"): 0.25, ("G0", "G2"): -1.0, ("G0", "G3"): -1.0}
    sure = dataclasses.replace(config, confidence="AB")
    assert ("G0", "G3") not in named(tf_targets.build(make_data(), sure))


def test_factors_from_chip_sets_of_several_experiments(make_data, files):
    graph = tf_targets.build(make_data(), tf_targets.Config(file=str(files["chip.gmt"])))
    assert named(graph) == {("G0", "G1"): 1.0, ("G0", "G2"): 1.0, ("G0", "G3"): 1.0}


def test_an_edge_list_is_directed_unless_it_says_otherwise(make_data, files):
    config = edge_list.Config(file=str(files["edges.tsv"]), weight_column="w")
    graph = edge_list.build(make_data(), config)
    assert named(graph) == {("G0", "G1"): 0.5, ("G5", "G4"): -2.0}
    both = edge_list.build(make_data(), dataclasses.replace(config, undirected=True))
    assert named(both) == {("G0", "G1"): 0.5, ("G1", "G0"): 0.5, ("G5", "G4"): -2.0, ("G4", "G5"): -2.0}


def test_ensembl_ids_and_symbols_lead_to_the_same_genes(make_data, files, tmp_path):
    data = make_data()
    ensembl = tuple(f"ENSG{i}.{i}" for i in range(6))
    by_id = dataclasses.replace(data, genes=ensembl)
    ids = tmp_path / "ids.csv"
    ids.write_text("ensembl_id,symbol\n" + "".join(f"ENSG{i},G{i}\n" for i in range(6)))
    config = edge_list.Config(file=str(files["edges.tsv"]), weight_column="w")
    with pytest.raises(ValueError, match=r"at least 5% .* edge_list from .*edges\.tsv covers 0 of 6 genes"):
        edge_list.build(by_id, config)
    mapped = edge_list.build(by_id, dataclasses.replace(config, gene_ids=str(ids)))
    assert mapped.edge_index.tolist() == edge_list.build(data, config).edge_index.tolist()
    in_data = dataclasses.replace(by_id, meta={**data.meta, "symbol": list(data.genes)})
    assert edge_list.build(in_data, config).edge_index.tolist() == mapped.edge_index.tolist()


@pytest.mark.parametrize(
    ("module", "text", "values", "message"),
    [
        (edge_list, "source\tto\nG0\tG1\n", {}, "lacks target, it has source, to"),
        (edge_list, "source\ttarget\tw\nG0\tG1\tmany\n", {"weight_column": "w"}, "has 'many' in column 'w'"),
        (edge_list, "source\ttarget\tw\nG0\tG1\t1\nG0\tG1\t2\n", {"weight_column": "w"}, "G0 -> G1 has two"),
        (tf_targets, "factor\ttarget\nG0\tG1\n", {}, "lacks tf, it has factor, target"),
        (tf_targets, "tf\ttarget\tmor\nG0\tG1\tup\n", {}, "has 1 that are not"),
    ],
    ids=["column", "weight", "two weights", "factor", "mor"],
)
def test_a_bad_table_is_refused(module, text, values, message, make_data, tmp_path):
    (tmp_path / "bad.tsv").write_text(text)
    with pytest.raises(ValueError, match=message):
        module.build(make_data(), module.Config(file=str(tmp_path / "bad.tsv"), **values))


@pytest.mark.parametrize(
    ("text", "message"),
    [("", "holds none"), ("S1 G0 G1\n", "line 1 of .* is not"), ("S\t\tG0\nS\t\tG1\n", "line 2 of .* is not")],
    ids=["empty", "spaces", "twice"],
)
def test_a_bad_gmt_file_is_refused(text, message, make_data, tmp_path):
    (tmp_path / "bad.gmt").write_text(text)
    with pytest.raises(ValueError, match=message):
        gene_sets.build(make_data(), gene_sets.Config(file=str(tmp_path / "bad.gmt")))
    with pytest.raises(UsageError, match="does not exist"):
        gene_sets.build(make_data(), gene_sets.Config(file="absent.gmt"))


def test_curated_files_name_known_biology(shared, make_data):
    """STAT1 activates ISG15 and IRF1 in DoRothEA; interferon genes share hallmark sets; ids lead to the same edges."""
    genes = ("STAT1", "ISG15", "IRF1", "MX1", "IFIT3", "KLF1")
    data = dataclasses.replace(make_data(), genes=genes)
    table = str(shared / "data/priors/dorothea_nonacademic_hs_ABC.csv.gz")
    edges = named(tf_targets.build(data, tf_targets.Config(file=table)))
    assert edges["STAT1", "IRF1"] > 0
    assert not any(target == "STAT1" and source == "KLF1" for source, target in edges)
    hallmark = gene_sets.Config(file=str(shared / "data/priors/msigdb_hallmark_v7.0.gmt"))
    overlap = named(gene_sets.build(data, hallmark))
    assert overlap["ISG15", "MX1"] > overlap.get(("KLF1", "MX1"), 0)
    ids = {"IRF1": "ENSG00000125347", "STAT1": "ENSG00000115415"}
    by_id = dataclasses.replace(data, genes=tuple(ids.get(gene, gene) for gene in genes))
    config = tf_targets.Config(file=table, gene_ids=str(shared / "data/priors/gene_ids_10x_grch38.csv.gz"))
    again = named(tf_targets.build(by_id, config))
    assert again[ids["STAT1"], ids["IRF1"]] == edges["STAT1", "IRF1"]


def peak_megabytes(work):
    """Most memory that ``work()`` holds at once beyond what was there, numpy's arrays included."""
    tracemalloc.start()
    try:
        work()
        return tracemalloc.get_traced_memory()[1] / 2**20
    finally:
        tracemalloc.stop()


def test_no_array_of_all_pairs_of_genes_is_made(make_data, tmp_path):
    """5,000 genes: all pairs are 95 MB in float32; building, filing and propagating stay far below."""
    n = 5000
    x = sp.random(40, n, density=0.3, format="csr", dtype=np.float32, random_state=np.random.default_rng(0))
    obs = pd.DataFrame(
        {"perturbation": "control", "is_control": True, "context": "a"}, index=[f"c{i}" for i in range(40)]
    )
    meta = {"dataset": "random", "content_hash": "0"}
    data = PerturbationData(x=x, genes=tuple(f"G{i}" for i in range(n)), obs=obs, meta=meta)
    rng = np.random.default_rng(1)
    lines = ["\t".join([f"S{i}", "", *(f"G{g}" for g in rng.choice(n, 60, replace=False))]) for i in range(150)]
    (tmp_path / "sets.gmt").write_text("\n".join(lines))
    built = {}

    def work():
        built["coexpression"] = coexpression.build(data, coexpression.Config(k=10, min_correlation=0.0))
        built["gene_sets"] = gene_sets.build(data, gene_sets.Config(file=str(tmp_path / "sets.gmt"), k=10))
        for name, graph in built.items():
            save(graph, tmp_path / name)
            load(tmp_path / name).propagate(np.ones((n, 16), dtype=np.float32))

    assert peak_megabytes(work) < 50
    assert built["coexpression"].n_edges == 10 * n


def test_memory_of_propagation_grows_with_edges_not_with_pairs():
    """Four times the edges over the same genes take four times the adjacency and nothing else."""
    n, rng = 5000, np.random.default_rng(0)
    peaks = []
    for edges in (20_000, 80_000):
        pairs = np.unique(rng.integers(n * n, size=edges))
        graph = GeneGraph.of(name="random", genes=[f"G{i}" for i in range(n)], source=pairs // n, target=pairs % n,
                             weight=np.ones(len(pairs)), provenance={})  # fmt: skip
        peaks.append(peak_megabytes(graph.adjacency))
    assert peaks[1] / peaks[0] < 4.2
    assert peaks[1] < 3, "12 bytes an edge"
