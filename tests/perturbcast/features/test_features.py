"""Features of targets: what each source says, by name, and that a combination has no order."""

from __future__ import annotations

import dataclasses
import gzip

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

from perturbcast.errors import UsageError
from perturbcast.features import TargetFeatures, encode, gather, kind_signs, principal_axes
from perturbcast.features.embedding_file import of_file
from perturbcast.features.expression import of_controls
from perturbcast.features.graph_position import of_graph
from perturbcast.features.set_membership import of_gene_sets
from perturbcast.graphs import GeneGraph
from perturbcast.models import ridge
from perturbcast.schema import Condition
from perturbcast.stores import effects

TABLE = TargetFeatures(names=("A", "B", "C"), vectors=np.array([[1.0, 0], [0, 2], [0.1, 0.2]]))


def cosine(features, one, two):
    a, b = (features.vectors[features.names.index(name)] for name in (one, two))
    return a @ b / np.sqrt(a @ a * (b @ b))


def test_a_combination_is_the_sum_of_its_targets_in_any_order():
    labels = ["A+B", "B+A", "A", "A+X", "X"]
    rows, missing = encode([Condition(label, "a") for label in labels], TABLE, {})
    np.testing.assert_array_equal(rows, [[1, 2], [1, 2], [1, 0], [1, 0], [0, 0]])
    assert missing == [[], [], [], ["X"], ["X"]]
    np.testing.assert_array_equal(TABLE.of([("C", "B", "A")])[0], TABLE.of([("A", "B", "C")])[0])


def test_kinds_sign_by_context_and_an_unknown_context_has_the_usual_one(make_data):
    data = make_data(contexts=("a", "b", "c"))
    by_context = {"a": "CRISPRa", "b": "CRISPRi", "c": "CRISPRko"}
    signs = kind_signs(dataclasses.replace(data, meta={**data.meta, "perturbation_type": by_context}))
    assert signs == {"a": 1.0, "b": -1.0, "c": -1.0}
    rows, _ = encode([Condition("A", context) for context in ("a", "b", "new")], TABLE, signs)
    np.testing.assert_array_equal(rows[:, 0], [1, -1, -1])
    drug = dataclasses.replace(data, meta={**data.meta, "perturbation_type": "drug"})
    assert kind_signs(drug) == {"a": 1.0, "b": 1.0, "c": 1.0}
    assert kind_signs(None) == {}


@pytest.mark.parametrize("dense_values", [10**9, 0], ids=["dense", "sparse"])
def test_principal_axes_are_those_of_numpy(monkeypatch, dense_values):
    monkeypatch.setattr("perturbcast.features.axes.DENSE_VALUES", dense_values)
    rng = np.random.default_rng(0)
    x = np.where(rng.random((60, 40)) < 0.4, rng.random((60, 40)) * np.linspace(0.1, 3, 40), 0)
    groups = np.repeat(["a", "b"], 30)
    centred = x - np.stack([x[groups == g].mean(axis=0) for g in groups])
    made = principal_axes(sp.csr_matrix(x), groups, components=3)
    _, scale, axes = np.linalg.svd(centred, full_matrices=False)
    np.testing.assert_allclose(np.abs(made), np.abs(axes[:3].T * scale[:3]), atol=1e-8)
    np.testing.assert_array_equal(made, principal_axes(sp.csr_matrix(x), groups, components=3))


def test_expression_features_put_genes_of_a_programme_together_and_read_controls_only(make_data):
    data = make_data(contexts=("a", "b"), cells=80, noise=0.1)
    x = data.x.toarray()
    activity = np.random.default_rng(1).standard_normal((len(x), 1)).clip(-0.9, 0.9)
    x[:, :3] += activity
    data = dataclasses.replace(data, x=sp.csr_matrix(x))
    features = of_controls(data, components=1)
    size = np.abs(features.vectors[:, 0])
    assert size[:3].min() > 5 * size[3:].max()
    assert (features.vectors**2).sum(axis=1).mean() == pytest.approx(1)
    perturbed = ~data.obs["is_control"].to_numpy()
    x[perturbed] = 1.0
    np.testing.assert_array_equal(
        of_controls(dataclasses.replace(data, x=sp.csr_matrix(x)), components=1).vectors, features.vectors
    )


def test_gene_set_features_know_genes_that_are_not_measured(tmp_path):
    text = "S1\t\tA\tB\tC\nS2\t\tA\tB\nS3\t\tC\tD\tE\nS4\t\tD\tE\n"
    (tmp_path / "sets.gmt.gz").write_bytes(gzip.compress(text.encode()))
    features = of_gene_sets(tmp_path / "sets.gmt.gz", components=4)
    assert features.names == ("A", "B", "C", "D", "E")
    assert cosine(features, "A", "B") == pytest.approx(1)
    assert cosine(features, "A", "C") > 0.1
    assert abs(cosine(features, "A", "D")) < 1e-9, "no set in common"
    # by hand: A in S1 (weight log(5/3)) and S2 (log(5/2)); C in S1 and S3, both log(5/3)
    one, two = np.log(5 / 3) + 1e-3, np.log(5 / 2) + 1e-3
    expected = one * one / (np.hypot(one, two) * np.hypot(one, one))
    assert cosine(features, "A", "C") == pytest.approx(expected)


def test_graph_features_of_genes_with_the_same_neighbours_are_alike():
    ends = np.array([[0, 1], [2, 1], [3, 4]])
    source, target = np.concatenate([ends, ends[:, ::-1]]).T
    graph = GeneGraph.of(name="g", genes="ABCDEF", source=source, target=target, weight=np.ones(6), provenance={})
    features = of_graph(graph, components=5)
    assert features.names == ("A", "B", "C", "D", "E"), "F has no edge and no features"
    assert cosine(features, "A", "C") == pytest.approx(1)
    assert abs(cosine(features, "A", "D")) < 1e-9
    empty = GeneGraph.of(
        name="empty", genes="AB", source=ends[:0, 0], target=ends[:0, 1], weight=np.ones(0), provenance={}
    )
    with pytest.raises(ValueError, match="'empty' has none"):
        of_graph(empty, components=2)


@pytest.mark.parametrize("kind", ["npz", "csv", "tsv.gz", "parquet"])
def test_embedding_files_of_each_kind_say_the_same(kind, tmp_path):
    names, values = ["A", "B", "aspirin"], np.array([[1.0, 2], [3, 4], [0, -1]])
    table = pd.DataFrame(values, columns=["x", "y"]).assign(name=names)[["name", "x", "y"]]
    path = tmp_path / f"embedding.{kind}"
    if kind == "npz":
        np.savez(path, names=np.array(names), values=values)
    elif kind == "parquet":
        table.set_index("name").to_parquet(path)
        table.to_parquet(tmp_path / "column.parquet")
        np.testing.assert_array_equal(of_file(tmp_path / "column.parquet").vectors, of_file(path).vectors)
    else:
        table.to_csv(path, sep="," if kind == "csv" else "\t", index=False)
    features = of_file(path)
    assert features.names == tuple(names)
    size = np.sqrt((values**2).sum(axis=1).mean())
    np.testing.assert_allclose(features.vectors, values / size)


def test_bad_embedding_files_are_refused(tmp_path):
    def refused(name, text, message, error=ValueError):
        (tmp_path / name).write_text(text)
        with pytest.raises(error, match=message):
            of_file(tmp_path / name)

    refused("twice.csv", "name,x\nA,1\nA,2\n", "one row of features; A has several")
    refused("text.csv", "name,x\nA,high\n", "are numbers")
    refused("empty.csv", "name,x\nA,nan\n", "1 of them not finite")
    refused("one.csv", "name\nA\n", "column of names and columns of numbers")
    refused("other.txt", "A 1\n", "is none of them", UsageError)
    np.savez(tmp_path / "other.npz", rows=np.ones(2))
    with pytest.raises(ValueError, match="holds 'names'"):
        of_file(tmp_path / "other.npz")
    with pytest.raises(UsageError, match="does not exist"):
        of_file(tmp_path / "absent.npz")


def test_sources_stand_side_by_side_and_a_target_needs_only_one(make_data, tmp_path):
    data = make_data(contexts=("a", "b"))
    (tmp_path / "drugs.csv").write_text("name,x\naspirin,2\nG0,1\n")
    measured = effects(data, cells=tuple(data.obs.index), conditions=data.conditions)
    config = ridge.Config(components=2, embedding=str(tmp_path / "drugs.csv"))
    features = gather(config, effects=measured, cells=data, graphs={})
    assert features.vectors.shape == (7, 3)
    assert set(features.names) == {*data.genes, "aspirin"}
    drug = features.vectors[features.names.index("aspirin")]
    assert drug[:2].tolist() == [0, 0]
    assert drug[2] > 0


def test_curated_files_are_found_by_name_in_a_data_folder(tmp_path, monkeypatch, make_data):
    (tmp_path / "priors").mkdir()
    (tmp_path / "priors" / "mine.gmt").write_text("S\t\tG0\tG1\nT\t\tG1\tG2\n")
    monkeypatch.setenv("PERTURBCAST_DATA", str(tmp_path))
    data = make_data(contexts=("a", "b"))
    measured = effects(data, cells=tuple(data.obs.index), conditions=data.conditions)
    given = {"effects": measured, "cells": data, "graphs": {}}
    assert gather(ridge.Config(expression=False, gene_sets="mine.gmt"), **given).names == ("G0", "G1", "G2")
    with pytest.raises(UsageError, match=r"other\.gmt does not exist"):
        gather(ridge.Config(gene_sets="other.gmt"), **given)
