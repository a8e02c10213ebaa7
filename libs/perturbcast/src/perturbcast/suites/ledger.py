"""What became of a run and what it took: one record per run, written last, so that a run with one is whole."""

from __future__ import annotations

import contextlib
import json
import resource
import sys
import time
from collections.abc import Iterator
from typing import Any

from perturbcast.stores.atomic import write_json
from perturbcast.suites.folder import Run

__all__ = ["DONE", "FAILED", "failure", "forget", "record_of", "taken", "write_record"]

DONE, FAILED = "done", "failed"


@contextlib.contextmanager
def taken(before: dict[str, float]) -> Iterator[dict[str, float | None]]:
    """What the block took, filled in when it ends, however it ends.

    ``wall_s`` and ``cpu_s`` (of child processes too) count on from ``before``, the share of a run that was interrupted;
    ``peak_rss_mb`` is that of the process, ``peak_gpu_mb`` that of torch's tensors on a card, None without one.
    """
    found: dict[str, float | None] = {}
    wall, cpu = time.perf_counter(), _cpu()
    try:
        yield found
    finally:
        found["wall_s"] = before.get("wall_s", 0.0) + time.perf_counter() - wall
        found["cpu_s"] = before.get("cpu_s", 0.0) + _cpu() - cpu
        found["peak_rss_mb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024  # Linux counts kilobytes
        torch = sys.modules.get("torch")  # whoever trained on a card has imported it
        on_card = torch is not None and torch.cuda.is_available() and torch.cuda.is_initialized()
        found["peak_gpu_mb"] = torch.cuda.max_memory_allocated() / 2**20 if torch is not None and on_card else None


def _cpu() -> float:
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


def record_of(run: Run) -> dict[str, Any] | None:
    """The record of a run that ended; None while it did not."""
    if not run.record.is_file():
        return None
    record: dict[str, Any] = json.loads(run.record.read_text())
    return record


def forget(run: Run) -> None:
    """Take the record of a run away, so that it is run again."""
    run.record.unlink(missing_ok=True)


def write_record(run: Run, *, state: str, reason: str, **fields: Any) -> None:
    """Keep how a run ended; ``reason`` is empty where it is done."""
    record = {
        "format": "perturbcast.suite_run/1",
        "state": state,
        "reason": reason,
        "split": run.split,
        "model": run.trial.name,
        "family": run.trial.family,
        "plugin": run.trial.plugin,
        "parameters": dict(run.trial.parameters),
        "config_sha256": run.trial.sha256,
        "seed": run.seed,
    }
    write_json(run.record, record | fields)


def failure(run: Run) -> str | None:
    """Why a run failed, or that it left no record; None where it is done."""
    record = record_of(run)
    if record is None:
        return "left no record: it did not run to its end"
    return None if record["state"] == DONE else str(record["reason"])
