"""What a stage took: wall and CPU seconds and peak memory, kept beside the pipeline and never inside its outputs.

Equal inputs give equal bytes, and no two runs take equally long: the files are outside DVC's outputs. ``register``
logs them to MLflow, and ``report`` gathers them into resources.csv.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
import json
import os
import resource
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd

from perturbcast.stages.layout import ARTIFACTS
from perturbcast.stores.atomic import write_json

__all__ = ["FOLDER", "is_first_process", "of_model", "recorded", "recording", "table"]

FOLDER = ARTIFACTS / "resources"


@contextlib.contextmanager
def recording(stage: str, out: Path) -> Iterator[None]:
    """Keeps what the block took, if it ends well and ``out`` is ``artifacts/*/SPLIT/MODEL``.

    Peak memory is that of the process up to the end of the block; of several processes the first one is recorded.
    """
    wall, cpu = time.perf_counter(), time.process_time()
    yield
    if is_first_process() and len(out.parts) == 4 and out.parts[0] == ARTIFACTS.name:
        taken = {
            "wall_s": time.perf_counter() - wall,
            "cpu_s": time.process_time() - cpu,
            "peak_rss_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,  # Linux counts kilobytes
        }
        write_json(FOLDER / stage / out.parts[2] / f"{out.parts[3]}.json", taken)


def is_first_process() -> bool:
    """This process writes files: it is alone, or the first of those that SLURM, torchrun or Lightning started."""
    return all(os.environ.get(name, "0") == "0" for name in ("RANK", "LOCAL_RANK", "SLURM_PROCID"))


def recorded(stage: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Decorates a command of one model with ``recording`` of its option ``out``."""

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        signature = inspect.signature(command)

        @functools.wraps(command)
        def measured(*args: Any, **options: Any) -> None:
            with recording(stage, Path(signature.bind(*args, **options).arguments["out"])):
                command(*args, **options)

        return measured

    return decorate


def of_model(split: str, model: str) -> dict[str, float]:
    """``resources/STAGE_QUANTITY`` -> value of the stages that ran for a model on this machine."""
    files = sorted(FOLDER.glob(f"*/{split}/{model}.json"))
    return {
        f"resources/{file.parts[-3]}_{quantity}": float(value)
        for file in files
        for quantity, value in json.loads(file.read_text()).items()
    }


def table(models: Iterable[tuple[str, str]]) -> pd.DataFrame:
    """One row per split, model and stage that ran on this machine."""
    rows = [
        {"split": split, "model": model, "stage": file.parts[-3], **json.loads(file.read_text())}
        for split, model in models
        for file in sorted(FOLDER.glob(f"*/{split}/{model}.json"))
    ]
    return pd.DataFrame(rows, columns=["split", "model", "stage", "wall_s", "cpu_s", "peak_rss_mb"])
