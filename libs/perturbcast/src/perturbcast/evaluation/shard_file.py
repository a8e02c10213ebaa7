"""A partial result on disk: one ``.npz`` of arrays and their record in JSON, no pickles.

The record names what it is part of, so that results of another split, model, panel or seed are not put together.
"""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import numpy as np

from perturbcast.evaluation.shards import Part
from perturbcast.stores.atomic import replacing

__all__ = ["read_parts", "write_part"]

FORMAT = "perturbcast.shard/1"


def write_part(part: Part, folder: Path, *, whole: str) -> None:
    """Write ``folder/NUMBER_of_SHARDS.npz``.

    Args:
        part: the partial result.
        folder: of one step of one part of one fold.
        whole: names what it is part of: a hash over all that its numbers depend on.
    """
    names = list(part.arrays)
    record = {"format": FORMAT, "whole": whole, "names": names, "notes": {k: list(v) for k, v in part.notes.items()}}
    arrays = {str(place): part.arrays[name] for place, name in enumerate(names)}
    arrays["record"] = np.frombuffer(json.dumps(record).encode(), dtype=np.uint8)
    with replacing(folder / f"{part.number}_of_{part.of}.npz") as beside:
        np.savez(beside, **arrays)  # type: ignore[arg-type]  # its stubs read ** as its option allow_pickle


def read_parts(folder: Path, *, of: int, whole: str) -> list[Part]:
    """Those of ``of`` shards that are there.

    Raises:
        ValueError: one cannot be read, or is part of something else.
    """
    found = []
    for number in range(1, of + 1):
        path = folder / f"{number}_of_{of}.npz"
        if not path.is_file():
            continue
        try:
            with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
                record = json.loads(arrays["record"].tobytes())
                named = {name: arrays[str(place)] for place, name in enumerate(record["names"])}
        except (OSError, EOFError, KeyError, ValueError, zipfile.BadZipFile) as error:
            raise ValueError(
                f"A partial result holds arrays and their record; {path} cannot be read whole "
                f"({type(error).__name__}: {error}). Make that shard again."
            ) from error
        if record["whole"] != whole:
            raise ValueError(
                "Shards that are put together are of one dataset, split, set of predictions, panel and seed; "
                f"{path} is of others. Make it again with the options of this command."
            )
        found.append(Part(number=number, of=of, arrays=named, notes=record["notes"]))
    return found
