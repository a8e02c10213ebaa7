"""One evaluation in shards, by the lines of the guide: array jobs behind one another, and the bytes of the whole."""

from __future__ import annotations

import re
import shutil
import time

import pytest
from tests.cluster.test_pipeline_on_slurm import BIN, DEADLINE_S, run

from perturbcast import catalog, splits
from perturbcast.cluster import Slurm
from perturbcast.stores import control_means, h5ad, predictions
from perturbcast.training import fit

pytestmark = pytest.mark.slow

SHARDS = 3


def lines_of(guide):
    """The block that submits shards, for fewer of them."""
    blocks = re.findall(r"^```\w*\n(.*?)^```", guide.read_text(), flags=re.DOTALL | re.MULTILINE)
    block = next(text for text in blocks if "--step" in text)
    assert block.count("sbatch") == 3
    return re.sub(r"(--shards |--array 1-)20\b", rf"\g<1>{SHARDS}", block)


def make_workspace(folder, data):
    """The environment, the dataset, the split and the predictions that the guide names."""
    (folder / ".venv").symlink_to(BIN.parent)
    h5ad.write(data, folder / f"artifacts/datasets/{data.dataset}.h5ad")
    fold = splits.make(data, "unseen_context", seed=1)[0]
    splits.freeze(fold, folder / "artifacts/splits/mine/fold_0.json")
    config = catalog.load("models", "mean_delta").Config()
    model = fit(data, fold, kind="mean_delta", plugin="mean_delta", config=config, seed=0)
    for part in ("validation", "test"):
        answers = model.predict(fold.conditions[part], control_means=control_means(data))
        predictions.write(answers, folder / f"artifacts/predictions/mine/mean_delta/fold_0/{part}.npz")


def test_shards_as_array_jobs_give_the_bytes_of_the_whole(root, slurm, make_data, tmp_path):
    make_workspace(tmp_path, make_data(contexts=("a", "b", "c"), perturbations=[f"G{k}" for k in range(6)], genes=12))
    lines = lines_of(root / "docs/guides/sweeps.md")
    said = run("bash", "-euc", lines, cwd=tmp_path, env=slurm)
    assert "Submitted batch job" in said
    begun = time.monotonic()
    while run("squeue", "-h", cwd=tmp_path, env=slurm).strip():
        assert time.monotonic() - begun < DEADLINE_S, run("squeue", cwd=tmp_path, env=slurm)
        time.sleep(1)
    logs = {path.name: path.read_text()[-500:] for path in tmp_path.glob("slurm-*.out")}
    assert len(logs) == 2 * SHARDS + 1
    merge = said.split()[-1]  # "Submitted batch job 3"
    assert [name for name, text in logs.items() if "share of range:" in text] == [f"slurm-{merge}.out"], logs
    shutil.rmtree(tmp_path / "scores/shards")
    whole = re.search(r'E="(.*) --out scores', lines)[1]
    run(*whole.split(), "--out", "whole", cwd=tmp_path, env=slurm)
    ours, theirs = (
        {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
        for folder in (tmp_path / "scores", tmp_path / "whole")
    )
    assert set(ours) == set(theirs)
    different = [path for path, held in ours.items() if held != theirs[path] and path.name != "provenance.json"]
    assert not different, "the folder of the scores stands in provenance.json alone"


def test_a_time_above_the_limit_of_the_partition_is_said_by_the_reason(slurm, monkeypatch, tmp_path):
    for name in ("SLURM_CONF", "PATH"):
        monkeypatch.setenv(name, slurm[name])
    monkeypatch.chdir(tmp_path)
    job = Slurm().submit(["sbatch", "--parsable", "--partition=low", "--time=120", "--array=0-0", "--wrap", "true"])
    seen = []
    try:
        for _ in range(30):
            seen.append(str(Slurm().states([job])[job, 0]))
            if seen[-1] == "pending (PartitionTimeLimit)":
                break
            time.sleep(0.5)
    finally:
        Slurm().cancel([job])
    assert seen[-1] == "pending (PartitionTimeLimit)", seen
