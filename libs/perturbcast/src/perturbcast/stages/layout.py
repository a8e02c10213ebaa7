"""Where the pipeline keeps what: the one place that knows the folders below ``artifacts/``.

``SPLIT`` is a name of ``splits:`` in params.yaml, ``MODEL`` one of ``models:``.

| path | written by |
|---|---|
| ``datasets/DATASET.h5ad`` | import, merge, simulate |
| ``splits/SPLIT/fold_K.json`` | split |
| ``graphs/SPLIT/GRAPH/fold_K/`` | graph build |
| ``encoders/SPLIT/ENCODER/fold_K/`` | pretrain |
| ``models/SPLIT/MODEL/fold_K/`` | train |
| ``predictions/SPLIT/MODEL/fold_K/{validation,test}.npz`` | predict |
| ``evaluations/{validation,test}/SPLIT/MODEL/`` | evaluate |
| ``leaderboard/``, ``report/``, ``registry/`` | leaderboard, report, register |
| ``suites/NAME/``, ``sweeps/NAME/`` | suite, sweep; see ``suites/folder.py`` |
| ``resources/STAGE/SPLIT/MODEL.json`` | train, predict; not an output of the pipeline, which is the same every time |
"""

from __future__ import annotations

import functools
import re
from pathlib import Path

from perturbcast import splits
from perturbcast.errors import UsageError
from perturbcast.schema import Cells, PerturbationData, Split
from perturbcast.stores import h5ad
from perturbcast.stores.cell_file import CellFile

__all__ = [
    "ARTIFACTS",
    "PARTS",
    "data_file",
    "dataset_file",
    "load_fold",
    "of_fold",
    "open_cells",
    "open_data",
    "opened",
    "split_files",
]

ARTIFACTS = Path("artifacts")
PARTS = ("validation", "test")


def dataset_file(dataset: str) -> Path:
    """Where import keeps a dataset."""
    return ARTIFACTS / "datasets" / f"{dataset}.h5ad"


def _fold_number(path: Path) -> int:
    match = re.fullmatch(r"fold_(\d+)\.json", path.name)
    return int(match[1]) if match else -1


def split_files(path: Path) -> list[Path]:
    """The fold files of a split folder in order, or the one file given.

    Raises:
        UsageError: there is no such split.
    """
    if path.is_file():
        return [path]
    files = sorted((f for f in path.glob("fold_*.json") if _fold_number(f) >= 0), key=_fold_number)
    if not files:
        known = ", ".join(sorted(p.name for p in (ARTIFACTS / "splits").glob("*") if p.is_dir())) or "none"
        raise UsageError(
            f"A split is a folder of fold_K.json files, or one of them; {path} is neither. "
            f"Make it with 'perturbcast split'. Splits in {ARTIFACTS / 'splits'}: {known}."
        )
    return files


def of_fold(folder: Path, fold: int) -> Path:
    """What ``folder`` holds for one fold (``fold_K/``), or the folder itself where it is the same for all."""
    return folder / f"fold_{fold}" if (folder / f"fold_{fold}").is_dir() else folder


def data_file(split: Path, data: Path | None) -> Path:
    """The dataset of a split: the file given, else the one that the pipeline keeps for it."""
    return data or dataset_file(splits.load(split_files(split)[0]).dataset)


def open_data(split: Path, data: Path | None) -> PerturbationData:
    """What ``data_file`` holds."""
    return h5ad.read(data_file(split, data))


def opened(file: Path) -> PerturbationData:
    """A dataset, read once by each process that works on several of its pieces."""
    return _opened(file.resolve(), file.stat().st_mtime_ns if file.is_file() else 0)


@functools.lru_cache(maxsize=1)
def _opened(file: Path, _changed: int) -> PerturbationData:
    return h5ad.read(file)


def open_cells(split: Path, data: Path | None) -> CellFile:
    """The same dataset, left on disk."""
    return CellFile.open(data_file(split, data))


def load_fold(path: Path, data: Cells) -> Split:
    """One fold, checked against the dataset."""
    return splits.load(path, data=data)
