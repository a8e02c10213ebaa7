"""The command line: what it prints and writes, and how it refuses."""

from __future__ import annotations

import dataclasses
import json
import re
import sys
import time

import numpy as np
import pytest

from perturbcast_client import Condition, cli
from perturbcast_client.testing import FAKE_MODEL, FakeServer, fake_delta, fake_prediction


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


def test_predict_prints_the_interval_that_was_asked_for(run):
    delta = fake_delta(Condition.from_label("A", "B cells"), FAKE_MODEL.genes)
    largest = int(np.argmax(np.abs(delta)))
    said = run("predict", "fake", "--condition", "A", "B cells", "--top", 1, "--level", 0.9)
    value = delta[largest]
    assert said.splitlines()[1] == (
        f"  {FAKE_MODEL.genes[largest]:<16} {value:+.4f}  [{value - 1:+.4f}, {value + 1:+.4f}]"
    )


def test_the_timeout_is_that_of_the_predictions_too(tmp_path, capsys):
    def slow(request, model):
        time.sleep(1.0)
        return fake_prediction(request, model)

    with FakeServer(answer=slow) as server:
        words = ["predict", "fake", "--address", server.address, "--condition", "A", "B cells", "--timeout", "0.5"]
        assert cli.main(words) == 1
        assert "DEADLINE_EXCEEDED" in capsys.readouterr().err
        assert cli.main([*words[:-1], "20"]) == 0


def test_predict_writes_every_gene(run, tmp_path):
    conditions = tmp_path / "conditions.csv"
    conditions.write_text("context,perturbation\nB cells,IFNB\nT cells,A+B\n")
    run("predict", "fake", "--conditions", conditions, "--level", 0.9, "--out", tmp_path / "new" / "out.npz")
    with np.load(tmp_path / "new" / "out.npz") as arrays:
        expected = [fake_delta(Condition.from_label(*p), FAKE_MODEL.genes) for p in [("IFNB", "B cells"), ("A+B", "T")]]
        np.testing.assert_array_equal(arrays["delta"][0], expected[0])
        np.testing.assert_array_equal(arrays["upper"], arrays["delta"] + 1)
        assert arrays["perturbation"].tolist() == ["IFNB", "A+B"]
        assert arrays["seen"].tolist() == [[True, True, True], [False, False, False]]
    assert {path.name for path in tmp_path.rglob("*")} == {"conditions.csv", "new", "out.npz"}


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("predict", "fake"), "--condition: at least one condition is asked for"),
        (("predict", "other", "--condition", "A", "c"), "NOT_FOUND: model: .*Known: fake/1"),
        (("predict", "fake", "--condition", "", "c"), "name: a name is not empty"),
        (("models", "--certificate", "x"), "certificate_file: .*Give both"),
        (("models", "--token-file", "/absent"), "No such file"),
        (
            ("models", "--token-file", "/etc/passwd"),
            "token: a token is printable ASCII without blanks; this one is not",
        ),
        (("models", "--address", ""), "address: a service has one, host:port; got ''"),
        (("models", "--timeout", "0"), "timeout_s: a deadline lies ahead; got 0"),
        (("models", "--genes"), "--genes: the genes of one model are listed; none was named"),
    ],
    ids=[
        "no-condition",
        "no-model",
        "no-target",
        "no-key",
        "no-token-file",
        "no-token",
        "no-address",
        "no-time",
        "whose",
    ],
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


def test_a_csv_may_state_doses(run, tmp_path):
    """As a spreadsheet writes it, with a byte order mark."""
    conditions = tmp_path / "c.csv"
    conditions.write_text(
        "perturbation,context,dose\nA,B cells,0.5\nB,B cells,\nA@2+B,B cells,\n", encoding="utf-8-sig"
    )
    said = run("predict", "fake", "--conditions", conditions, "--top", 1)
    assert [line.split("  ")[0] for line in said.splitlines()[::2]] == [
        "A@0.5 in B cells",
        "B in B cells",
        "A@2+B in B cells",
    ]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("perturbation,context,donor\nA,c,7\n", "--conditions: .*perturbation, context and dose; .* has donor too"),
        (
            "perturbation,context,dose\nA+B,c,7\n",
            "--conditions: line 2: a dose belongs to one target; 'A[+]B' has more",
        ),
        ("perturbation,context,dose\nA,c,much\n", "--conditions: line 2: a dose is a number; got 'much'"),
        ("perturbation,context\nA\n", "--conditions: line 2: a line names perturbation and context; one is missing"),
        ("perturbation,context\nA,c,d\n", "--conditions: line 2: .* more cells than the header"),
    ],
    ids=["covariate", "dose-of-several", "no-number", "cell-missing", "cell-too-many"],
)
def test_nothing_in_a_csv_is_left_aside_in_silence(run, tmp_path, text, says):
    (tmp_path / "c.csv").write_text(text)
    said = run("predict", "fake", "--conditions", tmp_path / "c.csv", code=1)
    assert re.search(says, said), said


def test_notes_reach_the_reader(tmp_path, capsys):
    def noted(request, model):
        notes = tuple(("NOPE was not measured",) if c.perturbation == "NOPE" else () for c in request.conditions)
        return dataclasses.replace(fake_prediction(request, model), notes=notes)

    with FakeServer(answer=noted) as server:
        words = ["predict", "fake", "--address", server.address]
        words += ["--condition", "IFNB", "B cells", "--condition", "NOPE", "B cells"]
        assert cli.main([*words, "--top", "0"]) == 0
        assert cli.main([*words, "--out", str(tmp_path / "out.npz")]) == 0
    assert capsys.readouterr().out.splitlines()[:3] == [
        "IFNB in B cells  (seen in training)",
        "NOPE in B cells  (not seen in training)",
        "  note: NOPE was not measured",
    ]
    with np.load(tmp_path / "out.npz") as arrays:
        assert arrays["notes"].tolist() == ["", "NOPE was not measured"]
        assert arrays["ood_score"].tolist() == [0.0, 1.0]


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


def test_stats_says_what_is_missing_where_nothing_answers(capsys):
    assert cli.main(["stats", "--metrics", "http://127.0.0.1:1/metrics"]) == 1
    assert re.search(
        "error: --metrics: .*127.0.0.1:1/metrics gives no numbers .*refused.*--metrics-port", capsys.readouterr().err
    )
