"""The file layouts of harnesses: scPerturBench, cell-eval, plain .h5ad and .npz.

Every file appears whole or not at all. X is CSR float32 in the model's scale, genes in the order of the screen.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import anndata
import numpy as np
import pandas as pd
import scipy.sparse as sp

from perturbcast_client.harness.asking import PredictedCells
from perturbcast_client.harness.screen import Screen

__all__ = ["check_file_names", "write_cell_eval", "write_h5ad", "write_npz", "write_scperturbench"]

NAME_BYTES = 200  # of 255 that file systems allow; '_imputed.h5ad' and a temporary ending go with it


def write_cell_eval(
    predictions: Iterable[PredictedCells],
    screen: Screen,
    path: Path,
    *,
    perturbation_key: str = "target_gene",
    context_key: str = "cell_type",
    control_label: str = "non-targeting",
) -> int:
    """One .h5ad of control and predicted cells, as ``cell-eval run -ap`` reads it; the number of conditions."""
    made = list(predictions)
    contexts = list(dict.fromkeys(p.condition.context for p in made))
    blocks = [(control_label, context, screen.controls[context]) for context in contexts]
    blocks += [(p.condition.perturbation, p.condition.context, p.cells) for p in made]
    obs = {perturbation_key: [label for label, _, _ in blocks], context_key: [context for _, context, _ in blocks]}
    _write(path, [x for _, _, x in blocks], obs, screen.genes, _provenance(made))
    return len(made)


def write_scperturbench(
    predictions: Iterable[PredictedCells],
    screen: Screen,
    folder: Path,
    *,
    dataset: str,
    method: str,
    unseen: bool,
    highly_variable: int,
) -> int:
    """A file per condition, ``{dataset}/{o.o.d|i.i.d}/hvg{n}/{method}/{context}/{perturbation}_imputed.h5ad``.

    obs ``perturbation`` is ``control`` (the screen's), ``imputed`` (predicted) or ``stimulated`` (measured, where the
    screen has them).

    Args:
        predictions: what to write, one file each.
        screen: controls and measured cells.
        folder: of all datasets.
        dataset: name of the dataset.
        method: name of the method.
        unseen: whether the contexts are out of distribution.
        highly_variable: the number in ``hvg{n}``.

    Returns:
        the number of files.

    Raises:
        ValueError: a name cannot be that of a folder.
    """
    base = folder / _name(dataset) / ("o.o.d" if unseen else "i.i.d") / f"hvg{highly_variable}" / _name(method)
    count = 0
    for p in predictions:
        label, context = p.condition.perturbation, p.condition.context
        blocks = [("control", screen.controls[context]), ("imputed", p.cells)]
        if (label, context) in screen.measured:
            blocks.append(("stimulated", screen.measured[label, context]))
        path = base / _name(context) / f"{_name(label)}_imputed.h5ad"
        _write(path, [x for _, x in blocks], {"perturbation": [k for k, _ in blocks]}, screen.genes, _provenance([p]))
        count += 1
    return count


def write_h5ad(predictions: Iterable[PredictedCells], screen: Screen, path: Path) -> int:
    """One .h5ad of predicted cells alone, obs ``perturbation`` and ``context``; the number of conditions."""
    made = list(predictions)
    obs = {
        "perturbation": [p.condition.perturbation for p in made],
        "context": [p.condition.context for p in made],
    }
    _write(path, [p.cells for p in made], obs, screen.genes, _provenance(made))
    return len(made)


def write_npz(predictions: Iterable[PredictedCells], screen: Screen, path: Path) -> int:
    """``cells`` [condition, cell, gene], ``delta`` [condition, gene], their labels and what is said of each in ``seen``
    and ``notes``, and which ``model`` answered; the number of conditions."""
    made = list(predictions)
    with _replacing(path) as beside:
        np.savez_compressed(
            beside,
            cells=np.stack([p.cells for p in made]),
            delta=np.stack([p.delta for p in made]),
            perturbation=np.array([p.condition.perturbation for p in made]),
            context=np.array([p.condition.context for p in made]),
            genes=np.array(screen.genes),
            seen=np.array([[p.seen.perturbation, p.seen.context, p.seen.pair] for p in made]),
            notes=np.array([_noted(p) for p in made]),
            model=np.array(sorted({p.model for p in made})),
            fingerprint=np.array(sorted({p.fingerprint for p in made})),
        )
    return len(made)


def _write(
    path: Path, blocks: list[Any], labels: dict[str, list[str]], genes: tuple[str, ...], provenance: dict[str, Any]
) -> None:
    lengths = [block.shape[0] for block in blocks]
    obs = pd.DataFrame({key: pd.Categorical(np.repeat(values, lengths)) for key, values in labels.items()})
    obs.index = pd.Index([f"cell{i}" for i in range(len(obs))])
    x = sp.vstack([sp.csr_matrix(block, dtype=np.float32) for block in blocks], format="csr")
    data = anndata.AnnData(x, obs=obs, var=pd.DataFrame(index=pd.Index(list(genes))), uns={"perturbcast": provenance})
    with _replacing(path) as beside:
        data.write_h5ad(beside)


def _provenance(made: list[PredictedCells]) -> dict[str, Any]:
    """Which model answered, and what its training held of each condition."""
    return {
        "model": sorted({p.model for p in made}),
        "fingerprint": sorted({p.fingerprint for p in made}),
        "seen": pd.DataFrame(
            {
                "condition": [str(p.condition) for p in made],
                "perturbation": [p.seen.perturbation for p in made],
                "context": [p.seen.context for p in made],
                "pair": [p.seen.pair for p in made],
                "notes": [_noted(p) for p in made],
            }
        ),
    }


def _noted(p: PredictedCells) -> str:
    """The notes of a condition as one text; empty where there are none."""
    return "; ".join(p.notes)


def check_file_names(names: Iterable[str]) -> None:
    """Refuse what ``write_scperturbench`` cannot name a file or folder by.

    Raises:
        ValueError: a name is empty, holds a slash or backslash, or is too long.
    """
    for name in names:
        _name(name)


def _name(name: str) -> str:
    if not name or name in (".", "..") or set(name) & set("/\\\0") or len(name.encode()) > NAME_BYTES:
        raise ValueError(f"A name becomes a file or folder; {name!r} cannot. Rename it in the file or the list.")
    return name


@contextlib.contextmanager
def _replacing(path: Path) -> Iterator[Path]:
    """A temporary path beside ``path``, with its suffix, that takes its name when the block ends well."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.stem}.partial{path.suffix}")
    try:
        yield beside
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)
