"""``evaluate --shards``: conditions scored apart and put together, to the bytes of the whole."""

from __future__ import annotations

import dataclasses
import shutil

import h5py
import numpy as np
import pytest

from perturbcast import catalog, splits
from perturbcast.evaluation.shards import Part, blocks, joined, shard_rows
from perturbcast.schema import content_hash
from perturbcast.stages import split_shards
from perturbcast.stages.split_scores import Job, score_folds, write_scores
from perturbcast.stores import CellFile, control_means, h5ad, predictions
from perturbcast.training import fit

WORDS = ("--data", "made.h5ad", "--split", "split", "--prediction", "answers")


def content(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.fixture
def folder(make_data, tmp_path, monkeypatch):
    """A dataset whose conditions lie mixed in the file, with batches, a fold of it and the answers of a model."""
    monkeypatch.chdir(tmp_path)
    data = make_data(contexts=("a", "b", "c"), perturbations=[f"G{k}" for k in range(7)], genes=12, batches=2)
    mixed = np.random.default_rng(1).permutation(len(data.obs))
    x, obs = data.x[mixed], data.obs.iloc[mixed]
    x.data[x.data < 2.0] = 0
    x.eliminate_zeros()
    meta = {**data.meta, "content_hash": content_hash(x, data.genes, obs)}
    data = dataclasses.replace(data, x=x, obs=obs, meta=meta)
    h5ad.write(data, tmp_path / "made.h5ad")
    fold = splits.make(data, "unseen_context", seed=1)[0]
    splits.freeze(fold, tmp_path / "split/fold_0.json")
    config = catalog.load("models", "mean_delta").Config()
    model = fit(data, fold, kind="mean_delta", plugin="mean_delta", config=config, seed=0)
    for part in ("validation", "test"):
        answers = model.predict(fold.conditions[part], control_means=control_means(data))
        predictions.write(answers, tmp_path / f"answers/fold_0/{part}.npz")
    return tmp_path


def test_any_number_of_shards_gives_the_bytes_of_the_whole(folder, call, monkeypatch):
    words = ("evaluate", *WORDS, "--panel", "all", "--validation-panel", "spine", "--out", "scores")
    assert call(*words).code == 0
    whole = content(folder / "scores")
    assert len(whole) == 8
    do = split_shards._work
    pieces = []

    def backwards(groups, **options):
        """Whoever comes last is put first, as where workers are not equally fast."""
        pieces.extend(len(group) for group in groups.values())
        return {key: parts[::-1] for key, parts in do(groups, **options).items()}

    monkeypatch.setattr(split_shards, "_work", backwards)
    for shards in (1, 2, 5):
        pieces.clear()
        assert call(*words, "--shards", shards).code == 0
        assert content(folder / "scores") == whole
        assert max(pieces) == shards


def test_blocks_of_a_shard_do_not_change_a_bit(folder, monkeypatch):
    job = Job(
        split=folder / "split",
        predictions={"answers": folder / "answers"},
        out=folder / "whole",
        panels={"test": "perturbcast"},
        bounds=False,
        seed=0,
    )
    write_scores(job, score_folds(job, folder / "made.h5ad"))
    monkeypatch.setattr("perturbcast.evaluation.held_out.RUN", 7)
    for module in ("shard_means", "shard_cells"):
        monkeypatch.setattr(f"perturbcast.evaluation.{module}.blocks", lambda sizes: blocks(sizes, limit=1))
    pieces = dataclasses.replace(job, out=folder / "pieces")
    write_scores(pieces, split_shards.score_shards(pieces, folder / "made.h5ad", shards=1))
    for name in ("metrics.json", "per_condition.csv", "curves.json"):
        of_job = [(one.out / "test/split/answers" / name).read_bytes() for one in (job, pieces)]
        assert of_job[0] == of_job[1]


def test_tasks_of_an_array_leave_what_merges_to_the_whole_and_a_missing_one_is_named(folder, call):
    words = ("evaluate", *WORDS, "--panel", "spine", "--part", "test", "--out", "scores")
    assert call(*words).code == 0
    whole = content(folder / "scores")
    shards = (*words, "--shards", 3)
    for number in (3, 1):
        assert call(*shards, "--shard", number, "--step", "means").code == 0
    done = call(*shards, "--shard", 1, "--step", "cells")
    assert done.code == 1
    assert "each once; of the test part of fold_0 (step means) missing: 2. Make these shards" in done.err
    assert call(*shards, "--shard", 2, "--step", "means").code == 0
    for number in (2, 3):
        assert call(*shards, "--shard", number, "--step", "cells").code == 0
    assert "fold_0 (step cells) missing: 1." in call(*shards, "--step", "merge").err
    assert call(*shards, "--shard", 1, "--step", "cells").code == 0
    assert call(*shards, "--step", "merge").code == 0
    assert {name: held for name, held in content(folder / "scores").items() if "shards/" not in name} == whole
    assert "is of others. Make it again" in call(*shards, "--step", "merge", "--seed", 1).err


def test_a_task_reads_labels_once_and_the_last_one_checks_the_content(folder, call, monkeypatch):
    opened = []
    whole = CellFile.open.__func__

    def counted(cls, path, *, check=True):
        opened.append((path.name, check))
        return whole(cls, path, check=check)

    monkeypatch.setattr(CellFile, "open", classmethod(counted))
    shards = ("evaluate", *WORDS, "--out", "scores", "--shards", 2)
    for step in ("means", "cells"):
        for number in (1, 2):
            split_shards._opened.cache_clear()  # each task is a process of its own
            opened.clear()
            assert call(*shards, "--shard", number, "--step", step).code == 0
            assert opened == [("made.h5ad", False)]
    shutil.copy(folder / "made.h5ad", folder / "edited.h5ad")
    with h5py.File(folder / "edited.h5ad", "r+") as file:
        file["X/data"][0] += 1
    (folder / "edited.h5ad").replace(folder / "made.h5ad")
    done = call(*shards, "--step", "merge")
    assert done.code == 1
    assert "A dataset is not edited after import" in done.err


def test_shards_go_together_once_each_and_of_one_division():
    parts = [Part(number=k, of=3, arrays={"value": np.full(k, float(k))}) for k in (1, 2, 3)]
    np.testing.assert_array_equal(joined(parts[::-1], of=3, what="it")["value"], [1, 2, 2, 3, 3, 3])
    with pytest.raises(ValueError, match=r"of it missing: 1, 3\."):
        joined(parts[1:2], of=3, what="it")
    with pytest.raises(ValueError, match="of it there twice or unknown: 2"):
        joined([*parts, parts[1]], of=3, what="it")
    with pytest.raises(ValueError, match="of it there twice or unknown: 4; of a division into 4"):
        joined([*parts, Part(number=4, of=4, arrays={})], of=3, what="it")


def test_shards_and_blocks_hold_every_condition_once():
    assert [len(rows) for rows in shard_rows(7, shards=3)] == [3, 2, 2]
    assert [len(rows) for rows in shard_rows(2, shards=5)] == [1, 1]
    assert [rows.tolist() for rows in blocks([3, 3, 9, 1, 1], limit=6)] == [[0, 1], [2], [3, 4]]


def test_a_pair_of_files_has_no_shards(call):
    done = call("evaluate", "--truth", "a.h5ad", "--prediction", "b.h5ad", "--out", "c", "--shards", "2")
    assert done.code == 2
    assert "--shards does not go with --truth" in done.err


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--shards", 2, "--shard", 1), "one step of one shard"),
        (("--step", "merge"), "one step of one shard"),
        (("--shards", 2, "--shard", 3, "--step", "means"), "one of --shards 2, counted from 1; --shard is 3"),
    ],
    ids=["no step", "no shards", "too far"],
)
def test_options_of_an_array_go_together(call, options, words):
    done = call("evaluate", *WORDS, "--out", "c", *options)
    assert done.code == 2
    assert words in done.err
