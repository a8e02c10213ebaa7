"""The command ``perturbcast simulate``, as a person types it."""

from __future__ import annotations

import sys

import pytest

from perturbcast import cli
from perturbcast.simulation import families
from perturbcast.stores import h5ad

# fmt: off
BASE = ["--nodes", "12", "--contexts", "2", "--cells", "100", "--truth-draws", "256"]
# fmt: on
SMALL = [*BASE, "--perturbations", "3", "--combinations", "1"]


@pytest.fixture
def perturbcast(monkeypatch, capsys):
    """Run the command line; returns exit code, stdout and stderr."""

    def run(*words):
        monkeypatch.setattr(sys, "argv", ["perturbcast", *map(str, words)])
        with pytest.raises(SystemExit) as left:
            cli.main()
        out = capsys.readouterr()
        return left.value.code or 0, out.out, out.err

    return run


@pytest.mark.parametrize("family", families())
def test_every_family_writes_a_file_on_the_contract(family, perturbcast, tmp_path):
    path = tmp_path / "cells.h5ad"
    code, out, _ = perturbcast(
        "simulate", "--family", family, *SMALL, "--edges-per-node", 1.5, "--seed", 4, "--out", path
    )
    assert code == 0
    assert "100 cells x 12 genes, 8 perturbed conditions in 2 contexts, seed 4" in out
    data = h5ad.read(path)
    assert data.truth["delta"].shape == (2, 4, 12)
    assert data.meta["scale"] == "log1p(counts per 10 000)"


def test_same_seed_same_file_on_any_number_of_workers(perturbcast, tmp_path):
    files = []
    for workers in (1, 4):
        path = tmp_path / f"{workers}.h5ad"
        assert perturbcast("simulate", *SMALL, "--workers", workers, "--out", path)[0] == 0
        files.append(path.read_bytes())
    assert files[0] == files[1]


def test_every_switch_is_read(perturbcast, tmp_path):
    def content(*words):
        path = tmp_path / "one.h5ad"
        size = BASE if "--target" in words else SMALL  # named targets are counted, not asked for
        code, _, error = perturbcast("simulate", *size, "--out", path, *words)
        assert code == 0, error
        return h5ad.read(path).hash

    plain = content()
    switches: list[tuple[object, ...]] = [
        ("--graph", "erdos_renyi"), ("--control-share", 0.4), ("--intervention", "activation"),
        ("--target", "GENE01"), ("--mechanism", '{"hill": 3.0}'), ("--context-shift", 1), ("--context-edges", 0.6),
        ("--predictable-share", 0.5), ("--systematic-shift", 0.4), ("--shuffle-labels",), ("--library-size", 900),
        ("--overdispersion", 0.4), ("--dropout", 0.1), ("--batches", 2), ("--seed", 9),
    ]  # fmt: skip
    for switch in switches:
        hashed = content(*switch)
        assert hashed != plain, f"{switch[0]} changed nothing"
    assert content("--family", "linear") != content("--family", "linear", "--noise", "uniform")


def test_section_of_params_comes_before_options(perturbcast, tmp_path):
    params = tmp_path / "params.yaml"
    params.write_text(
        "seed: 0\ndatasets: []\nmin_cells: 20\nsplits: {}\nmodels: {}\nrun: {splits: [], models: []}\nselection: {}\n"
        "simulate: {nodes: 15, contexts: 1, perturbations: 3, combinations: 0, cells: 60, truth_draws: 64}\n"
    )
    path = tmp_path / "cells.h5ad"
    assert perturbcast("simulate", "--params", params, "--cells", 70, "--out", path)[0] == 0
    data = h5ad.read(path)
    assert data.x.shape == (70, 15)


def test_describe_prints_figures_and_draws(perturbcast, tmp_path):
    path = tmp_path / "cells.h5ad"
    perturbcast("simulate", *SMALL, "--cells", 400, "--out", path)
    code, out, _ = perturbcast("simulate", "--describe", path)
    assert code == 0
    for word in ("density", "sortability", "mean |true delta|", "explained by parents", "cells.h5ad.svg"):
        assert word in out
    assert (tmp_path / "cells.h5ad.svg").read_text().startswith("<?xml")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--family", "boolean"], "'boolean' is not"),
        (["--cells", 0], "0 cells were asked for"),
        (["--nodes", 5, "--perturbations", 2, "--combinations", 0, "--edges-per-node", 4], "5 nodes has 10 pairs"),
        (["--target", "TP53"], "TP53 is not among them"),
        (["--perturbations", 100], "100 perturbations of 60 genes"),
        (["--combinations", 500], "500 were asked for"),
        (["--mechanism", "hill=3"], "JSON object"),
        (["--mechanism", "[3]"], "JSON object of parameters"),
        (["--describe", "x.h5ad"], "give one of the two"),
    ],
    ids=["family", "cells", "edges", "target", "perturbations", "combinations", "not json", "list", "both"],
)
def test_impossible_requests_exit_2_with_one_message_and_no_file(words, message, perturbcast, tmp_path):
    code, _, error = perturbcast("simulate", "--out", tmp_path / "no.h5ad", *words)
    assert code == 2
    assert error.startswith("error: ")
    assert message in error
    assert not list(tmp_path.iterdir())


def test_nothing_asked_for_and_describe_with_options_exit_2(perturbcast):
    assert "give one of the two" in perturbcast("simulate")[2]
    code, _, error = perturbcast("simulate", "--describe", "x.h5ad", "--seed", 1)
    assert code == 2
    assert "seed changes nothing" in error


def test_describing_measured_data_fails(perturbcast, tmp_path, make_data):
    path = tmp_path / "measured.h5ad"
    h5ad.write(make_data(), path)
    code, _, error = perturbcast("simulate", "--describe", path)
    assert code == 1
    assert "has none" in error
