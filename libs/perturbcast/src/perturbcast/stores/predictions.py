"""Predictions on disk: one compressed ``.npz`` per part and fold, arrays and JSON text, no pickles."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from perturbcast.errors import UsageError
from perturbcast.schema import Condition, Prediction
from perturbcast.stores.atomic import replacing

__all__ = ["read", "write"]


def write(prediction: Prediction, path: Path) -> None:
    """Write ``path`` beside and rename; equal predictions give equal bytes."""
    levels = sorted(prediction.intervals)
    record = {
        "format": "perturbcast.prediction/1",
        "conditions": [[c.perturbation, c.context] for c in prediction.conditions],
        "genes": list(prediction.genes),
        "levels": levels,
        "notes": [list(notes) for notes in prediction.notes],
        "model": prediction.model,
        "kind": prediction.kind,
        "seed": prediction.seed,
    }
    arrays: dict[str, Any] = {
        "record": np.frombuffer(json.dumps(record).encode(), dtype=np.uint8),
        "delta": prediction.delta,
        "variance": prediction.variance,
        "control": prediction.control,
        "seen": prediction.seen,
        "half_width": np.stack([prediction.intervals[level] for level in levels])
        if levels
        else np.empty((0, *prediction.delta.shape)),
    }
    if prediction.ood_score is not None:
        arrays["ood_score"] = prediction.ood_score
    with replacing(path) as beside:
        np.savez_compressed(beside, **arrays)


def read(path: Path) -> Prediction:
    """Read a prediction written by ``write``.

    Raises:
        UsageError: there is no such file.
        ValueError: the file is not a whole prediction.
    """
    if not path.is_file():
        raise UsageError(f"A prediction is an .npz file; {path} does not exist. Make it with 'perturbcast predict'.")
    try:
        # an open file of ours is closed also when the archive is broken; numpy leaks its own then
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            record = json.loads(arrays["record"].tobytes())
            return Prediction(
                conditions=tuple(Condition(*pair) for pair in record["conditions"]),
                genes=tuple(record["genes"]),
                delta=arrays["delta"],
                variance=arrays["variance"],
                control=arrays["control"],
                intervals=dict(zip(record["levels"], arrays["half_width"], strict=True)),
                seen=arrays["seen"],
                notes=tuple(tuple(notes) for notes in record["notes"]),
                model=record["model"],
                kind=record.get("kind", ""),
                seed=record.get("seed"),
                ood_score=arrays.get("ood_score"),
            )
    except (OSError, EOFError, KeyError, ValueError, zipfile.BadZipFile) as error:
        raise ValueError(
            f"A prediction file holds arrays and their record; {path} cannot be read whole "
            f"({type(error).__name__}: {error}). Run 'perturbcast predict' again."
        ) from error
