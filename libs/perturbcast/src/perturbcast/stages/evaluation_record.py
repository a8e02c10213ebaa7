"""What every evaluation says of how it was made."""

from __future__ import annotations

import shlex
from importlib.metadata import version
from typing import Any

from perturbcast.evaluation.bootstrap import RESAMPLES

__all__ = ["provenance_of"]

VERSIONS = ("perturbcast", "numpy", "scipy", "pandas")


def provenance_of(options: list[tuple[str, Any]], *, panel: str, bounds: bool, seed: int) -> dict[str, Any]:
    """The command that makes the same numbers again, and what made these.

    Args:
        options: of the command, but for those that follow.
        panel: which metrics.
        bounds: whether ceilings and degenerate predictors were scored.
        seed: of every draw.
    """
    words = [word for option, value in options for word in (option, str(value))]
    words += ["--panel", panel, "--bounds" if bounds else "--no-bounds", "--seed", str(seed)]
    return {
        "command": shlex.join(["perturbcast", "evaluate", *words]),
        "panel": panel,
        "bounds": bounds,
        "seed": seed,
        "bootstrap_resamples": RESAMPLES,
        "versions": {package: version(package) for package in VERSIONS},
    }
