"""Runs of a suite on this machine: a process each, so that one that is killed for its memory takes no other along."""

from __future__ import annotations

import importlib
import multiprocessing
import signal
from collections.abc import Sequence
from multiprocessing.connection import wait
from multiprocessing.context import ForkProcess
from types import FrameType

from rich.console import Console

from perturbcast.stages.suite_run import AGAIN, commands, module_of, perform, provenance
from perturbcast.suites import Run, SuiteFolder, failure, record_of
from perturbcast.suites.ledger import FAILED, write_record

__all__ = ["run_here"]


def run_here(folder: SuiteFolder, runs: Sequence[Run], *, jobs: int) -> int:
    """Run what has no record yet, ``jobs`` at a time.

    A child is a fork of this process, which has the libraries and no threads. SIGTERM is passed on, so that training
    saves itself.

    Returns:
        how many were interrupted and have to be run again.
    """
    context = multiprocessing.get_context("fork")
    for verb in ("train", "predict", "evaluate"):
        module_of(verb)  # imported once, before the children, as is what they import late
    importlib.import_module("anndata")
    waiting = [run for run in runs if record_of(run) is None]
    console, total, interrupted = Console(stderr=True, highlight=False), len(waiting), 0
    running: dict[int, tuple[Run, ForkProcess]] = {}
    ended = 0

    def stop(_number: int, _frame: FrameType | None) -> None:
        raise SystemExit(AGAIN)

    before = signal.signal(signal.SIGTERM, stop)
    try:
        while waiting or running:
            while waiting and len(running) < jobs:
                run = waiting.pop(0)
                process = context.Process(target=_child, args=(folder, run))
                process.start()
                running[process.sentinel] = (run, process)
            for sentinel in wait(list(running)):
                assert isinstance(sentinel, int)
                run, process = running.pop(sentinel)
                process.join()
                ended += 1
                interrupted += process.exitcode == AGAIN
                if process.exitcode not in (0, AGAIN) and record_of(run) is None:
                    known = provenance(run, commands(folder, run))
                    write_record(run, state=FAILED, reason=_death(process.exitcode), **known)
                said = "interrupted" if process.exitcode == AGAIN else failure(run) or "done"
                console.print(f"{ended}/{total} {run.label}: {said.splitlines()[0]}", soft_wrap=True, markup=False)
    finally:
        for _, process in running.values():
            process.terminate()
        for _, process in running.values():
            process.join()
        signal.signal(signal.SIGTERM, before)
    return interrupted


def _child(folder: SuiteFolder, run: Run) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # of the parent alone
    raise SystemExit(perform(folder, run))


def _death(code: int | None) -> str:
    if code is not None and code < 0:
        name = signal.Signals(-code).name
        hint = ", as the kernel does where memory runs out" if -code == signal.SIGKILL else ""
        return f"ended by {name}{hint}"
    return f"ended with exit code {code}"
