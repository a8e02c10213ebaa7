"""Where files that the repository does not hold are looked for: measured data, curated gene sets and tables."""

from __future__ import annotations

import os
from pathlib import Path

__all__ = ["VARIABLE", "folders", "located"]

VARIABLE = "PERTURBCAST_DATA"
MIRROR = Path("../shared/data")
PRIORS = "priors"


def folders() -> list[Path]:
    """The folder that ``PERTURBCAST_DATA`` names, then ``../shared/data``."""
    named = os.environ.get(VARIABLE)
    return [Path(named), MIRROR] if named else [MIRROR]


def located(name: str) -> Path:
    """A file by its path, else by its name in the folder ``priors`` of a data folder; else the path as given."""
    path = Path(name)
    if path.is_file() or len(path.parts) > 1:
        return path
    return next((found for folder in folders() if (found := folder / PRIORS / name).is_file()), path)
