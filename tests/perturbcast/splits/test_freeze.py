"""A frozen split cannot be changed, mixed up or overwritten without an error."""

from __future__ import annotations

import gzip
import json

import pytest

from perturbcast import splits
from perturbcast.errors import UsageError
from perturbcast.schema import Split


@pytest.fixture
def data(make_data):
    return make_data()


@pytest.fixture
def path(data, tmp_path):
    splits.freeze(splits.make(data, "unseen_context")[0], tmp_path / "s" / "fold_0.json")
    return tmp_path / "s" / "fold_0.json"


def test_round_trip(data, path):
    assert splits.load(path, data=data) == splits.make(data, "unseen_context")[0]


def test_equal_splits_give_equal_bytes(data, path, tmp_path):
    splits.freeze(splits.make(data, "unseen_context")[0], tmp_path / "again" / "fold_0.json")
    for name in ("fold_0.json", "fold_0.barcodes.tsv.gz"):
        assert (path.parent / name).read_bytes() == (tmp_path / "again" / name).read_bytes()


@pytest.mark.parametrize("field", ["held_out", "seed", "rule", "strata", "warnings"])
def test_an_edited_record_is_refused(path, field):
    record = json.loads(path.read_text())
    record[field] = {"held_out": "b!", "seed": 9, "rule": "other", "strata": {"x": "y"}, "warnings": ["w"]}[field]
    path.write_text(json.dumps(record))
    with pytest.raises(ValueError, match=r"A frozen split is not edited; .* but says .* make a new split"):
        splits.load(path)


def test_a_moved_condition_is_refused(path):
    record = json.loads(path.read_text())
    record["conditions"]["train"].append(record["conditions"]["test"].pop())
    path.write_text(json.dumps(record))
    with pytest.raises(ValueError, match="A frozen split is not edited"):
        splits.load(path)


def test_changed_barcodes_are_refused(path):
    file = path.with_suffix(".barcodes.tsv.gz")
    lines = gzip.decompress(file.read_bytes()).decode().splitlines()
    moved = next(line for line in lines if line.startswith("test\t"))
    lines.remove(moved)
    file.write_bytes(gzip.compress("\n".join(lines).encode()))
    with pytest.raises(ValueError, match="barcodes other than those it was frozen with"):
        splits.load(path)


def test_a_truncated_file_is_refused(path):
    path.with_suffix(".barcodes.tsv.gz").write_bytes(b"\x1f\x8b")
    with pytest.raises(ValueError, match="cannot be read whole"):
        splits.load(path)


def test_another_dataset_is_refused(make_data, path):
    with pytest.raises(ValueError, match=r"belongs to one dataset by content; .* made for 'made' .* 'other'"):
        splits.load(path, data=make_data(seed=5, dataset="other"))


def test_other_content_is_never_overwritten(data, path):
    before = path.read_bytes()
    splits.freeze(splits.make(data, "unseen_context")[0], path)
    with pytest.raises(ValueError, match="A frozen split is never overwritten"):
        splits.freeze(splits.make(data, "unseen_context")[1], path)
    assert path.read_bytes() == before
    assert not list(path.parent.glob("*.partial*"))


def test_an_absent_file_is_a_usage_error(tmp_path):
    with pytest.raises(UsageError, match="does not exist"):
        splits.load(tmp_path / "fold_0.json")


def test_a_cell_in_two_parts_is_refused(data):
    good = splits.make(data, "unseen_context")[0]
    parts = dict(good.parts)
    parts["validation"] = tuple(sorted([*parts["validation"], parts["test"][0]]))
    with pytest.raises(ValueError, match=r"parts of a split are disjoint; cell .* is in 'validation' and 'test'"):
        Split(**{**{f: getattr(good, f) for f in good.__dataclass_fields__}, "parts": parts})
