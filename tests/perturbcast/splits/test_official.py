"""Split files of PerturBench, State and GEARS become frozen splits, and what does not fit is refused by name."""

from __future__ import annotations

import hashlib
import json

import numpy as np
import pytest

from perturbcast import catalog, splits
from perturbcast.errors import UsageError
from perturbcast.schema import Condition
from perturbcast.splits.official import import_split
from perturbcast.splits.verify import check_labels

LABELS = ("A", "B", "C", "D", "E", "A+B", "C+D")


@pytest.fixture
def data(make_data):
    return make_data(perturbations=LABELS, cells=10)


def perturbench_csv(data, held, path, *, header=True):
    """What PerturBench saves: conditions of ``held`` are val or test, controls are dealt to train, val and test."""
    lines = [",transfer_split_seed0"] if header else []
    controls = iter(np.resize(["train", "train", "val", "test"], len(data.obs)))
    for barcode, row in data.obs.iterrows():
        part = next(controls) if row["is_control"] else held.get((row["perturbation"], row["context"]), "train")
        lines.append(f"{barcode},{part}")
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.mark.parametrize("header", [True, False])
def test_perturbench(data, tmp_path, header):
    held = {("A", "a"): "val", ("B", "a"): "val", ("A", "b"): "test", ("B", "c"): "test", ("E", "c"): ""}
    path = perturbench_csv(data, held, tmp_path / "split.csv", header=header)
    split = import_split(path, data, source="perturbench")
    check_labels(split, data)
    assert split.rule == "imported"
    assert split.parameters == {
        "format": "perturbench",
        "file": "split.csv",
        "file_sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        "absent": 0,
    }
    assert split.conditions["test"] == (Condition("A", "b"), Condition("B", "c"))
    assert len(split.conditions["validation"]) == len(split.conditions["calibration"]) == 1
    assert split.ood_axes == ("pair",), "A, B and every context are in train, these pairs are not"
    assert split.n_controls == {"train": 16, "validation": 0, "calibration": 0, "test": 0, "control_input": 14}
    assert any(warning.startswith("10 perturbed cells are in no part") for warning in split.warnings)
    marked = dict(line.split(",") for line in path.read_text().splitlines())
    assert {marked[barcode] for barcode in split.parts["train"]} == {"train"}
    splits.freeze(split, tmp_path / "fold_0.json")
    assert splits.load(tmp_path / "fold_0.json", data=data) == split


def test_state(data, tmp_path):
    path = tmp_path / "split.toml"
    path.write_text(
        '[datasets]\nmade = "/data/made"\n[training]\nmade = "train"\n[zeroshot]\n"made.c" = "test"\n'
        '[fewshot."made.b"]\nval = ["A", "control", "D+C"]\ntest = ["E"]\n'
    )
    split = import_split(path, data, source="state")
    check_labels(split, data)
    assert set(split.conditions["test"]) == {Condition("E", "b")} | {Condition(p, "c") for p in LABELS}
    held = {Condition("A", "b"), Condition("C+D", "b")}
    assert {*split.conditions["validation"], *split.conditions["calibration"]} == held
    assert {c.context for c in split.conditions["train"]} == {"a", "b"}
    assert split.ood_axes == ("context", "pair")
    assert split.n_controls["control_input"] == 10, "controls of the zero-shot cell type are never fitted"


GEARS = {"train": ["ctrl", "A+ctrl", "ctrl+B", "C+ctrl", "A+B"], "val": ["D+ctrl"], "test": ["E+ctrl", "D+C"]}


@pytest.mark.parametrize("form", ["json", "csv"])
def test_gears(data, tmp_path, form):
    path = tmp_path / f"split.{form}"
    rows = [f"{name},{part}" for part, names in GEARS.items() for name in names]
    path.write_text(json.dumps(GEARS) if form == "json" else "\n".join(["condition,set", *rows]))
    split = import_split(path, data, source="gears")
    check_labels(split, data)
    assert {c.perturbation for c in split.conditions["train"]} == {"A", "B", "C", "A+B"}
    assert {c.perturbation for c in split.conditions["test"]} == {"E", "C+D"}
    assert split.ood_axes == ("perturbation", "combination")
    assert split.strata == {f"C+D in {context}": "1 of 2 singles seen" for context in "abc"}


def write(path, text):
    path.write_text(text)
    return path


CELLS = "cell00010,train\ncell00020,val\ncell00030,test\n"
TOML = '[training]\nmade = "train"\n'
REFUSED = [
    ("perturbench", "s.csv", CELLS + "nobody,test\n", "1 of .* are not in 'made', first nobody"),
    ("perturbench", "s.csv", CELLS + "cell00010,test\n", "'cell00010' is listed as train and as test"),
    ("perturbench", "s.csv", CELLS + "cell00040,tset\n", "holds 'cell00040,tset'"),
    ("perturbench", "s.csv", CELLS.replace("test", "val"), "has none in test"),
    ("gears", "s.json", json.dumps(GEARS | {"test": ["E+ctrl", "A+ctrl"]}), "A in a in train and test"),
    ("gears", "s.json", json.dumps(GEARS | {"test": ["Z+ctrl"]}), r"first Z\+ctrl"),
    ("gears", "s.json", json.dumps({"train": ["A"]}), "holds train"),
    ("gears", "s.json", "{", "is JSON or csv"),
    ("state", "s.toml", TOML + '[zeroshot]\n"made.c" = "test"\n"made.x" = "val"\n', "first cell type x"),
    ("state", "s.toml", TOML + '[zeroshot]\n"made.c" = "tset"\n', "says 'tset' of 'c'"),
    ("state", "s.toml", TOML + '[fewshot."made.a"]\nval = ["A"]\ntest = ["A"]\n', "A in a in val and test"),
    ("state", "s.toml", TOML + '[fewshot."made.a"]\ntest = ["Q"]\n', "first Q in a"),
    ("state", "s.toml", TOML + "[zeroshot.made]\nc = 'test'\n", "in quotes; .* has 'made'"),
    ("state", "s.toml", TOML + '[zeroshot]\n"made.c" = "test"\n[fewshot."made.c"]\nval = ["A"]\n', "c of .* is both"),
    ("state", "s.toml", TOML + 'other = "train"\n', "names made, other. Say with --dataset"),
]


@pytest.mark.parametrize(("source", "name", "text", "message"), REFUSED, ids=[f"{r[0]}: {r[3][:24]}" for r in REFUSED])
def test_a_file_that_does_not_fit_is_refused(data, tmp_path, source, name, text, message):
    with pytest.raises(ValueError, match=message):
        import_split(write(tmp_path / name, text), data, source=source)


def test_absent_names_may_be_left_out_and_are_counted(data, tmp_path):
    held = {("A", "a"): "val", ("B", "a"): "val", ("A", "b"): "test"}
    path = perturbench_csv(data, held, tmp_path / "s.csv")
    path.write_text(path.read_text() + "nobody,test\n")
    split = import_split(path, data, source="perturbench", allow_absent=True)
    assert split.parameters["absent"] == 1
    assert "1 barcodes of the file are not in the dataset" in split.warnings


def test_a_pickle_is_not_loaded(data, tmp_path):
    with pytest.raises(UsageError, match=r"A pickle runs code .* json\.dump\(pickle\.load"):
        import_split(write(tmp_path / "s.pkl", "x"), data, source="gears")


def test_one_validation_condition_cannot_calibrate_too(data, tmp_path):
    path = perturbench_csv(data, {("A", "a"): "val", ("A", "b"): "test"}, tmp_path / "s.csv")
    with pytest.raises(ValueError, match="Calibration needs conditions of its own"):
        import_split(path, data, source="perturbench")


def test_a_perturbench_split_of_its_own_development_file(shared, tmp_path, monkeypatch):
    """norman2019_mcfaline2023 is PerturBench's devel.h5ad; two targets are held out of each glioblastoma line."""
    monkeypatch.setenv("PERTURBCAST_DATA", str(shared / "data"))
    module = catalog.load("datasets", "norman2019_mcfaline2023")
    data, _ = module.build(module.Config())
    targets = sorted({c.perturbation for c in data.conditions if c.context == "A172"})
    held = {}
    for i, context in enumerate(("A172", "T98G", "U87MG")):
        held |= {(targets[2 * i], context): "val", (targets[2 * i + 1], context): "test"}
    path = perturbench_csv(data, held, tmp_path / "train_test_split.csv")
    split = import_split(path, data, source="perturbench")
    check_labels(split, data)
    assert split.ood_axes == ("pair",)
    assert set(map(str, split.conditions["test"])) == {f"{p} in {c}" for (p, c), part in held.items() if part == "test"}
    assert split.n_controls["train"] == 200
    assert split.n_controls["control_input"] == 200
    assert sum(map(len, split.parts.values())) == len(data.obs)
