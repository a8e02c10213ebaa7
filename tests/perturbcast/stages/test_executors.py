"""``--executor dask``: workers of their own processes, the same bytes as without."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

from perturbcast import splits
from perturbcast.errors import UsageError
from perturbcast.stages.executors import spread
from perturbcast.stores import h5ad

PERTURBCAST = str(Path(sys.executable).with_name("perturbcast"))


@pytest.fixture(scope="module")
def environment(root):
    """With Dask on the path: it is installed apart, since anndata imports it wherever it is."""
    if importlib.util.find_spec("distributed") is not None:
        return dict(os.environ)
    if not (root / ".venv-dask/distributed").is_dir():
        pytest.skip("dask.distributed is neither here nor in .venv-dask: 'make .venv-dask/.installed' puts it there")
    return os.environ | {"PYTHONPATH": str(root / ".venv-dask")}


def run(folder, *words, env):
    done = subprocess.run(
        [PERTURBCAST, *map(str, words)], cwd=folder, capture_output=True, text=True, check=False, env=env
    )
    assert done.returncode == 0, done.stdout + done.stderr


def content(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_workers_write_the_bytes_of_one_process(make_data, environment, tmp_path):
    env = environment
    data = make_data(contexts=("a", "b", "c"), genes=8)
    for where in ("serial", "dask"):
        h5ad.write(data, tmp_path / where / "made.h5ad")
        for split in splits.make(data, "unseen_context", seed=1)[:2]:
            splits.freeze(split, tmp_path / where / f"split/fold_{split.fold}.json")
        words = ("--data", "made.h5ad", "--split", "split")
        if where == "serial":
            for model in ("mean_delta", "linear"):
                run(tmp_path / where, "train", *words, "--model", model, "--out", f"models/{model}", env=env)
            (tmp_path / "dask").mkdir()
            (tmp_path / "dask/models").symlink_to(tmp_path / "serial/models")
        run(
            tmp_path / where,
            "predict",
            *words,
            "--model",
            "models",
            "--out",
            "predictions",
            "--executor",
            where,
            env=env,
        )
        scoring = ("evaluate", *words, "--prediction", "predictions", "--out", "scores", "--executor", where)
        run(tmp_path / where, *scoring, env=env)
    for folder in ("predictions", "scores"):
        serial = content(tmp_path / "serial" / folder)
        assert len(serial) > 7
        assert content(tmp_path / "dask" / folder) == serial
    run(tmp_path / "dask", *scoring, "--shards", 2, env=env)
    assert content(tmp_path / "dask/scores") == content(tmp_path / "serial/scores")


def test_without_dask_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "dask", None)
    with pytest.raises(UsageError, match="the extra 'dask'"):
        list(spread(len, ["a"], executor="dask", what="count"))


def test_a_pair_of_files_has_no_pieces(call, tmp_path):
    done = call("evaluate", "--truth", "a.h5ad", "--prediction", "b.h5ad", "--out", "c", "--executor", "dask")
    assert done.code == 2
    assert "--executor does not go with --truth" in done.err
