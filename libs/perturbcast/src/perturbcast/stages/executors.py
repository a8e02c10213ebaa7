"""Where the pieces of a stage are worked on: one after the other in this process, or by the workers of a Dask cluster.

A piece is what folds, models and shards of conditions give; it is computed by the same function either way, and the
results come back in order, so that the outputs are the same bytes. Dask (the extra ``dask``) connects to the scheduler
that ``DASK_SCHEDULER_ADDRESS`` names, for example one of dask-jobqueue on SLURM, whose workers see the same files under
the same paths; without one it starts a worker per core of this machine.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from typing import Annotated, Literal, TypeVar

import typer

from perturbcast.errors import UsageError
from perturbcast.stages.progress import track

__all__ = ["Executor", "spread"]

Item = TypeVar("Item")
Result = TypeVar("Result")
Executor = Annotated[
    Literal["serial", "dask"],
    typer.Option(help="Who works: this process, or Dask: a worker per core, or those of DASK_SCHEDULER_ADDRESS."),
]


def spread(
    function: Callable[[Item], Result], items: Sequence[Item], *, executor: str, what: str, unit: str = "folds"
) -> Iterator[Result]:
    """``function`` of every item, in order.

    Args:
        function: importable by a worker; its arguments and results can be pickled.
        items: the pieces.
        executor: ``serial`` or ``dask``.
        what: is shown while it runs.
        unit: what the items are, for the same line.

    Raises:
        UsageError: Dask is not installed.
    """
    if executor == "serial":
        for item in track(items, what, unit=unit):
            yield function(item)
        return
    try:
        import dask
        from distributed import Client, LocalCluster
    except ModuleNotFoundError as error:
        raise UsageError(
            "Executor dask needs dask.distributed; it is not installed here. Run 'pip install -c constraints.txt -e "
            "libs/perturbcast[dask]' (the extra 'dask'), or leave --executor out."
        ) from error
    address = dask.config.get("scheduler-address", None)
    cores = min(len(os.sched_getaffinity(0)), len(items))
    with (
        Client(address) if address else LocalCluster(n_workers=cores, threads_per_worker=1, dashboard_address=None)
    ) as place:
        client = place if address else place.get_client()
        for future in track(client.map(function, items, pure=False), what, unit=unit):
            yield future.result()
            future.release()  # what has come back is no longer kept on its worker
