"""``perturbcast graph``: builds from the train part of each fold, describes it, and models can be given it."""

from __future__ import annotations

import re

import pytest

from perturbcast import graphs, splits
from perturbcast.stores import h5ad


@pytest.fixture
def made(make_data, tmp_path):
    """A dataset, its split and an edge list in the folder that commands run in."""
    data = make_data(contexts=("a", "b", "c", "d"), noise=0.5)
    h5ad.write(data, tmp_path / "data.h5ad")
    for fold in splits.make(data, "unseen_context", seed=1):
        splits.freeze(fold, tmp_path / "split" / f"fold_{fold.fold}.json")
    (tmp_path / "edges.csv").write_text("source,target,sign\nG0,G1,-1\nG2,G1,1\nX,G1,1\n")
    return data


def test_builds_for_every_fold_describes_and_trains(made, call, tmp_path):
    built = call("graph", "build", "--split", "split", "--data", "data.h5ad", "--source", "coexpression", "--k", 2,
                 "--min-correlation", 0.05, "--out", "g")  # fmt: skip
    assert built.code == 0, built.err
    assert [p.name for p in sorted((tmp_path / "g").iterdir())] == [f"fold_{k}" for k in range(4)]
    one, other = (graphs.load(tmp_path / f"g/fold_{k}") for k in (0, 1))
    assert one.provenance["parameters"] == {"k": 2, "min_correlation": 0.05}
    assert one.hash != other.hash, "each fold knows its own train controls"
    said = call("graph", "describe", "g/fold_0", "--data", "data.h5ad").out
    for words in (f"edges *│ {one.n_edges} ", "most 2", "positive", r"6 of 6 genes \(100.0%\)", one.hash[:12]):
        assert re.search(words, said), (words, said)
    trained = call(
        "train", "--split", "split", "--data", "data.h5ad", "--model", "control", "--graph", "g", "--out", "m"
    )
    assert trained.code == 0, trained.err
    assert "note: control does not read the graph coexpression" in trained.err
    twice = call("train", "--split", "split", "--data", "data.h5ad", "--model", "control", "--graph", "g", "--graph",
                 "g", "--out", "m")  # fmt: skip
    assert twice.code == 1
    assert "g, g give coexpression more than once" in twice.err
    crossed = call("train", "--split", "split", "--data", "data.h5ad", "--model", "control", "--graph", "g/fold_0",
                   "--out", "m")  # fmt: skip
    assert crossed.code == 1
    assert "made from other cells than the train part of fold 1" in crossed.err


def test_a_table_needs_no_split_and_takes_a_name(made, call, tmp_path):
    built = call("graph", "build", "--data", "data.h5ad", "--source", "edge_list", "--file", "edges.csv",
                 "--weight-column", "sign", "--name", "mine", "--out", "g")  # fmt: skip
    assert built.code == 0, built.err
    assert graphs.load(tmp_path / "g").name == "mine"
    assert "50.0% positive, 50.0% negative" in call("graph", "describe", "g").out


def test_what_cannot_be_built_says_why(made, call):
    def refused(*words, code=2):
        done = call("graph", "build", "--out", "g", *words)
        assert done.code == code
        return done.err

    assert "coexpression' looks at cells. Give --split" in refused("--source", "coexpression", "--data", "data.h5ad")
    assert "give --split or --data" in refused("--source", "coexpression")
    assert "Did you mean 'edge_list'" in refused("--source", "edge_lists", "--data", "data.h5ad")
    few = refused(
        "--source", "edge_list", "--file", "edges.csv", "--min-coverage", "0.9", "--data", "data.h5ad", code=1
    )
    assert "covers 3 of 6 genes (50.0%), missing first G3, G4, G5" in few
