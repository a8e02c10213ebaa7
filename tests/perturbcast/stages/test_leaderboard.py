"""Stage ``leaderboard``: validation folders in, the choice and tables for dvc out."""

from __future__ import annotations

import json

import pandas as pd
import pytest

from perturbcast.errors import UsageError
from perturbcast.evaluation import Evaluation, write_directory
from perturbcast.stages.leaderboard import command

MAE = "celleval.mae@1"


def _write(folder, split, model, value, *, part="validation"):
    row = {"value": value, "interval": [value - 0.1, value + 0.1], "n": 2, "n_excluded": 0, "chance": None}
    row |= {"optimum": 0.0, "floor": {"control": 1.0, "train_mean": None}, "notes": []}
    rows = (("a", "P", MAE, value), ("a", "Q", MAE, value))
    folds = [{"fold": 0, "split_sha256": split}]
    provenance = {"part": part, "dataset_hash": "d", "folds": folds}
    write_directory(
        Evaluation(metrics={MAE: row}, values=rows),
        folder / split / model,
        provenance=provenance,
    )


def test_chooses_per_split_and_writes_tables(tmp_path, capsys):
    for split, model, value in (("s", "x", 0.2), ("s", "y", 0.4), ("t", "x", 0.5), ("t", "y", 0.3)):
        _write(tmp_path / "validation", split, model, value)
    command(metric=MAE, evaluations=tmp_path / "validation", out=tmp_path / "out")
    board = json.loads((tmp_path / "out/leaderboard.json").read_text())
    assert {name: choice["selected"] for name, choice in board["splits"].items()} == {"s": "x", "t": "y"}
    assert board["rule"].startswith(f"lowest {MAE} over the validation conditions")
    assert json.loads((tmp_path / "out/scores.json").read_text())["t"] == {"x": {MAE: 0.5}, "y": {MAE: 0.3}}
    table = pd.read_csv(tmp_path / "out/scores.csv")
    assert table.loc[0, ["split", "model", "metric_id", "value", "floor_control"]].tolist() == ["s", "x", MAE, 0.2, 1.0]
    assert "s: x 0.2" in capsys.readouterr().out


def test_test_scores_are_refused_and_nothing_is_written(tmp_path):
    _write(tmp_path / "validation", "s", "x", 0.2)
    _write(tmp_path / "validation", "s", "y", 0.1, part="test")
    with pytest.raises(ValueError, match="holds scores of 'test'"):
        command(metric=MAE, evaluations=tmp_path / "validation", out=tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_an_unknown_metric_and_an_empty_folder(tmp_path):
    _write(tmp_path / "validation", "s", "x", 0.2)
    with pytest.raises(UsageError, match="'mae' is unknown"):
        command(metric="mae", evaluations=tmp_path / "validation", out=tmp_path / "out")
    with pytest.raises(UsageError, match="holds none"):
        command(metric=MAE, evaluations=tmp_path / "nowhere", out=tmp_path / "out")
