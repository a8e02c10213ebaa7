"""The command line: what it prints and writes, and how it refuses."""

from __future__ import annotations

import json
import sys

import numpy as np
import pytest

from perturbcast_client import Condition, cli
from perturbcast_client.testing import FAKE_MODEL, FakeServer, fake_delta


@pytest.fixture
def run(capsys):
    with FakeServer() as server:

        def run(*words, code=0):
            given = cli.main([str(word) for word in [*words[:1], "--address", server.address, *words[1:]]])
            said = capsys.readouterr()
            assert given == code, said.err
            return said.err if code else said.out

        yield run


def test_models_are_listed_and_shown_in_full(run):
    assert run("models") == "fake/1 @champion  fake, 3 genes, fake\n"
    shown = run("models", "fake@champion", "--genes")
    assert "genes               ISG15, STAT1, CD3D\n" in shown
    (as_json,) = json.loads(run("models", "fake/1", "--json"))
    assert as_json["genes_sha256"] == FAKE_MODEL.genes_sha256


def test_predict_prints_the_largest_changes(run):
    delta = fake_delta(Condition.from_label("A+B", "B cells"), FAKE_MODEL.genes)
    largest = int(np.argmax(np.abs(delta)))
    said = run("predict", "fake", "--condition", "B+A", "B cells", "--top", 1)
    assert said == (
        f"A+B in B cells  (not seen in training)\n  {FAKE_MODEL.genes[largest]:<16} {delta[largest]:+.4f}\n"
    )


def test_predict_writes_every_gene(run, tmp_path):
    conditions = tmp_path / "conditions.csv"
    conditions.write_text("context,perturbation\nB cells,IFNB\nT cells,A+B\n")
    run("predict", "fake", "--conditions", conditions, "--level", 0.9, "--out", tmp_path / "out.npz")
    with np.load(tmp_path / "out.npz") as arrays:
        expected = [fake_delta(Condition.from_label(*p), FAKE_MODEL.genes) for p in [("IFNB", "B cells"), ("A+B", "T")]]
        np.testing.assert_array_equal(arrays["delta"][0], expected[0])
        np.testing.assert_array_equal(arrays["upper"], arrays["delta"] + 1)
        assert arrays["perturbation"].tolist() == ["IFNB", "A+B"]
        assert arrays["seen"].tolist() == [[True, True, True], [False, False, False]]
    assert [path.name for path in tmp_path.glob(".*")] == []


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("predict", "fake"), "--condition: at least one condition is asked for"),
        (("predict", "other", "--condition", "A", "c"), "NOT_FOUND: model: .*Known: fake/1"),
        (("predict", "fake", "--condition", "", "c"), "name: a name is not empty"),
        (("models", "--certificate", "x"), "certificate_file: .*Give both"),
        (("models", "--token-file", "/absent"), "No such file"),
    ],
    ids=["no-condition", "no-model", "no-target", "no-key", "no-token-file"],
)
def test_refusals_are_one_message(run, words, says):
    said = run(*words, code=1)
    with pytest.raises(ValueError, match=f"^error: .*{says}"):
        raise ValueError(said)
    assert said.count("\n") == 1


def test_a_csv_without_its_columns_is_named(run, tmp_path):
    (tmp_path / "c.csv").write_text("gene,cell\nA,c\n")
    assert "it has gene, cell" in run("predict", "fake", "--conditions", tmp_path / "c.csv", code=1).replace(
        f"{tmp_path / 'c.csv'} has", "it has"
    )


def test_a_wrong_command_line_is_code_two(capsys):
    with pytest.raises(SystemExit) as ended:
        cli.main(["predict"])
    assert ended.value.code == 2
    assert "model" in capsys.readouterr().err


def test_export_names_the_extra_where_anndata_is_missing(run, monkeypatch):
    for name in [name for name in sys.modules if name.startswith("perturbcast_client.harness")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.delattr("perturbcast_client.harness", raising=False)
    monkeypatch.setitem(sys.modules, "anndata", None)
    words = ("export", "fake", "--condition", "A", "c", "--controls", "x", "--layout", "npz", "--out", "y")
    assert "pip install 'perturbcast-client[anndata]'" in run(*words, code=1)
