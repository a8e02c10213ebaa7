"""The pretrained encoder that the ``Config`` of a model names."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from perturbcast import encoders
from perturbcast.stages.layout import of_fold

__all__ = ["encoder_of"]


def encoder_of(config: Any, fold: int) -> encoders.Encoder | None:
    """Read for one fold: from its folder fold_K/, or the one for all; None where the config names none."""
    named = getattr(config, "encoder", "")
    return encoders.load(of_fold(Path(named), fold)) if named else None
