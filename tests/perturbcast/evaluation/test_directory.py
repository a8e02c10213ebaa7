"""Evaluations on disk: whole or refused, the same bytes for the same scores, never NaN."""

from __future__ import annotations

import json

import pytest

from perturbcast.errors import UsageError
from perturbcast.evaluation import read_directory, write_directory
from perturbcast.evaluation.directory import find_directories


def test_round_trip_and_equal_bytes(make_stored, tmp_path):
    stored = make_stored("m", [0.1, 0.25, 1 / 3], labels=[("NA", "null"), ("b", "A+B"), ("c", "x,y")])
    assert stored.evaluation.per_condition["perturbation"].tolist() == ["null", "A+B", "x,y"]
    assert stored.evaluation.per_condition["value"].tolist() == [0.1, 0.25, 1 / 3]
    write_directory(stored.evaluation, tmp_path / "again", provenance=stored.provenance)
    for name in ("metrics.json", "per_condition.csv", "provenance.json"):
        assert (tmp_path / "again" / name).read_bytes() == (stored.directory / name).read_bytes()


def test_metrics_json_holds_ids_at_the_top(make_stored):
    entry = json.loads((make_stored("m", [1.0, 2.0]).directory / "metrics.json").read_text())["celleval.mae@1"]
    assert {"value", "interval", "floor", "chance", "optimum", "n", "n_excluded", "direction"} <= set(entry)
    header = (make_stored("m", [1.0]).directory / "per_condition.csv").read_text().splitlines()[0]
    assert header == "context,perturbation,metric_id,value"


@pytest.mark.parametrize("name", ["metrics.json", "per_condition.csv", "provenance.json"])
def test_half_written_is_refused(make_stored, name):
    directory = make_stored("m", [1.0]).directory
    (directory / name).unlink()
    with pytest.raises(ValueError, match=rf"has no {name}"):
        read_directory(directory)


def test_edited_scores_are_refused(make_stored):
    path = make_stored("m", [1.0]).directory / "metrics.json"
    path.write_text(path.read_text().replace("1.0", "0.1"))
    with pytest.raises(ValueError, match=r"metrics\.json in .* changed since it was written"):
        read_directory(path.parent)


def test_a_failed_write_leaves_nothing_that_reads_as_whole(make_stored, monkeypatch):
    stored = make_stored("m", [1.0])

    def fail(*_):
        raise OSError("disk full")

    monkeypatch.setattr("perturbcast.evaluation.directory.write_bytes", fail)
    with pytest.raises(OSError, match="disk full"):
        write_directory(stored.evaluation, stored.directory, provenance=stored.provenance)
    assert not [path for path in stored.directory.iterdir() if "partial" in path.name]
    with pytest.raises(ValueError, match="half-written"):
        read_directory(stored.directory)


def test_nan_in_provenance_is_refused(make_stored, tmp_path):
    stored = make_stored("m", [1.0])
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_directory(stored.evaluation, tmp_path / "x", provenance={"part": "test", "seconds": float("nan")})
    assert not (tmp_path / "x" / "provenance.json").exists()


def test_folders_are_found_by_split_and_model(make_stored, tmp_path):
    for split, model in (("s", "b"), ("s", "a"), ("r", "a")):
        make_stored(model, [1.0], split=split)
    found = find_directories(tmp_path / "validation")
    assert {split: list(models) for split, models in found.items()} == {"r": ["a"], "s": ["a", "b"]}


def test_an_empty_folder_is_refused(tmp_path):
    with pytest.raises(UsageError, match="holds none"):
        find_directories(tmp_path)
    with pytest.raises(UsageError, match="does not exist"):
        read_directory(tmp_path / "nowhere")


def test_curves_are_kept_with_the_scores_and_not_edited(make_stored, tmp_path):
    stored = make_stored("m", [1.0])
    directory = tmp_path / "with curves"
    write_directory(stored.evaluation, directory, provenance=stored.provenance, curves={"examples": []})
    assert read_directory(directory).curves == {"examples": []}
    assert read_directory(stored.directory).curves is None
    (directory / "curves.json").write_text("{}")
    with pytest.raises(ValueError, match=r"curves\.json in .* changed since it was written"):
        read_directory(directory)
    (directory / "curves.json").unlink()
    with pytest.raises(ValueError, match=r"has no curves\.json"):
        read_directory(directory)
    write_directory(stored.evaluation, directory, provenance=stored.provenance)
    assert read_directory(directory).curves is None
