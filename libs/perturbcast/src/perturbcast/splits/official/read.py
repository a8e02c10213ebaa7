"""Someone's split file to a frozen ``Split``: rule ``imported``, with the source format and the file's sha256."""

from __future__ import annotations

import hashlib
from pathlib import Path

from perturbcast.errors import UsageError
from perturbcast.schema import PerturbationData, Split
from perturbcast.splits.assemble import assemble
from perturbcast.splits.official import gears, perturbench, state

__all__ = ["FORMATS", "import_split"]

FORMATS = ("perturbench", "state", "gears")
PICKLES = (".pkl", ".pickle", ".p")


def import_split(
    path: Path, data: PerturbationData, *, source: str, dataset: str = "", allow_absent: bool = False
) -> Split:
    """Read a split file.

    Args:
        path: ``.csv``, ``.toml`` or ``.json``, see the module of each format.
        data: the dataset that it divides.
        source: one of ``FORMATS``.
        dataset: which dataset of a State file ``data`` is; empty where the file names one only.
        allow_absent: leave out names that ``data`` does not hold (dropped at import, say) instead of refusing them.

    Raises:
        UsageError: the format is unknown or has no such option, or the file is absent or a pickle.
        ValueError: the file does not fit the format or the dataset.
    """
    if source not in FORMATS:
        raise UsageError(f"A split file is in one of the formats {', '.join(FORMATS)}; got {source!r}.")
    if path.suffix in PICKLES:
        raise UsageError(
            f"A pickle runs code when it is loaded, and is not; {path} is one. Where you trust it, write the lists as "
            "JSON: python -c \"import json, pickle, sys; json.dump(pickle.load(open(sys.argv[1], 'rb')), "
            f"open(sys.argv[2], 'w'), default=list)\" {path} {path.with_suffix('.json')}"
        )
    if not path.is_file():
        raise UsageError(f"A split to import is a file; {path} does not exist.")
    if dataset and source != "state":
        raise UsageError(f"Only a State file names datasets; leave the dataset {dataset!r} out for {source}.")
    if source == "perturbench":
        fold, absent = perturbench.read(path, data, allow_absent=allow_absent)
    elif source == "gears":
        fold, absent = gears.read(path, data, allow_absent=allow_absent)
    else:
        fold, absent = state.read(path, data, dataset=dataset, allow_absent=allow_absent)
    parameters = {
        "format": source,
        "file": path.name,
        "file_sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        "absent": absent,
    }
    return assemble(data, fold, rule="imported", parameters=parameters)
