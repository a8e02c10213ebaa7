"""Command ``compare``: folders in, a table on the screen and two files."""

from __future__ import annotations

import json

import pandas as pd
import pytest

from perturbcast.errors import UsageError
from perturbcast.evaluation import Evaluation, write_directory
from perturbcast.stages.compare import command

MAE = "celleval.mae@1"


def _write(folder, values, *, part="test"):
    rows = tuple(("a", f"P{i}", MAE, value) for i, value in enumerate(values))
    record = {"part": part, "dataset_hash": "d", "folds": [{"fold": 0, "split_sha256": "f"}]}
    write_directory(Evaluation(metrics={MAE: {"value": 1.0}}, values=rows), folder, provenance=record)
    return folder


def test_writes_a_row_per_model_and_says_who_is_better(tmp_path, capsys):
    base = _write(tmp_path / "control", [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0])
    better = _write(tmp_path / "additive", [0.9, 1.8, 2.9, 3.8, 4.9, 5.8, 6.9])
    command([base, better], out=tmp_path / "out")
    said = capsys.readouterr().out
    assert "additive" in said
    assert "better" in said
    found = json.loads((tmp_path / "out/comparison.json").read_text())["comparisons"]
    assert [(one["metric_id"], one["baseline"], one["n"]) for one in found] == [(MAE, "control", 7)]
    table = pd.read_csv(tmp_path / "out/comparison.csv")
    assert table["model"].tolist() == ["control", "additive"]
    assert table["verdict"].tolist() == ["baseline", "better"]
    assert table.loc[1, "difference"] == pytest.approx(-1.0 / 7)
    first = (tmp_path / "out/comparison.json").read_bytes()
    command([base, better], out=tmp_path / "out")
    assert (tmp_path / "out/comparison.json").read_bytes() == first


def test_folders_of_one_name_and_of_other_parts_are_refused(tmp_path):
    one, other = _write(tmp_path / "x/m", [1.0, 2.0]), _write(tmp_path / "y/m", [1.0, 2.0])
    with pytest.raises(UsageError, match="share 'm'"):
        command([one, other], out=tmp_path / "out")
    validation = _write(tmp_path / "v", [1.0, 2.0], part="validation")
    with pytest.raises(ValueError, match="same part, data and folds"):
        command([one, validation], out=tmp_path / "out")
    assert not (tmp_path / "out").exists()
