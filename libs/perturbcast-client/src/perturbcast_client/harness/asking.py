"""Asks a service for sampled cells of many conditions, a context at a time, and checks what comes back."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from perturbcast_client.calls import Model
from perturbcast_client.client import Client
from perturbcast_client.harness.screen import Screen
from perturbcast_client.messages import Condition, ModelRef, SeenInTraining, Wanted

__all__ = ["PredictedCells", "predicted_cells"]

REPLY_BYTES = 32 * 2**20  # half of what a server allows by default


@dataclasses.dataclass(frozen=True, eq=False)
class PredictedCells:
    """Predicted cells of one condition.

    Attributes:
        condition: as asked.
        cells: [cell, gene] float32, columns in the order of the screen's genes.
        delta: [gene] float64, in the same order.
        seen: what training held; a harness proves by it that there is no leak.
        notes: what a reader must know.
        model: name and version that answered, ``name/version``.
        fingerprint: of that model.
    """

    condition: Condition
    cells: NDArray[np.float32]
    delta: NDArray[np.float64]
    seen: SeenInTraining
    notes: tuple[str, ...]
    model: str
    fingerprint: str


def predicted_cells(
    client: Client,
    model: Model,
    screen: Screen,
    conditions: Sequence[Condition],
    *,
    cells: int = 100,
    seed: int = 0,
) -> Iterator[PredictedCells]:
    """Every condition once, those of a context together, contexts in order of appearance.

    Args:
        client: of the service.
        model: which model.
        screen: control cells of every context that is asked for.
        conditions: what to predict, without repeats.
        cells: sampled cells per condition.
        seed: of the sampled cells.

    Raises:
        ValueError: no cells are asked for, a condition repeats, a context has no control cells, the cells are not what
            the model takes, or the reply does not cover what was asked.
        ServiceError: the service refuses.
    """
    if cells < 1:
        raise ValueError(f"cells: at least one per condition; got {cells}. Ask for more.")
    repeated = [label for label, count in Counter(map(str, conditions)).items() if count > 1]  # as files are named
    if repeated:
        raise ValueError(f"conditions: each is predicted once; {', '.join(repeated[:5])} repeats. Drop the repeats.")
    contexts = list(dict.fromkeys(condition.context for condition in conditions))
    without = [context for context in contexts if context not in screen.controls]
    if without:
        raise ValueError(
            f"conditions: every context has control cells in the file; {', '.join(without[:5])} has none (there are: "
            f"{', '.join(list(screen.controls)[:5])}). Add them, or leave those conditions out."
        )
    info = client.get_model(model, include_genes=True)
    screen.check(info)
    pinned = ModelRef(info.name, version=info.version) if info.version else model  # one version for the whole export
    position = {gene: i for i, gene in enumerate(info.genes)}
    order = np.array([position[gene] for gene in screen.genes])
    chunk = max(1, REPLY_BYTES // (len(info.genes) * (4 * cells + 8)))
    for context in contexts:
        asked = [condition for condition in conditions if condition.context == context]
        replies = client.predict_stream(
            pinned,
            asked,
            chunk_size=chunk,
            controls={context: screen.controls[context]},
            genes=screen.genes,
            wanted=Wanted(cells=cells),
            seed=seed,
        )
        got = 0
        for reply in replies:
            sampled = reply.cells
            if sampled is None or sampled.shape[1] != cells or not np.isfinite(sampled).all() or sampled.min() < 0:
                raise ValueError("cells: a reply holds as many finite cells, not negative, as were asked; it does not.")
            for i, condition in enumerate(reply.conditions):
                if condition != asked[got]:
                    raise ValueError(f"conditions: replies come in order; {asked[got]} was answered as {condition}.")
                got += 1
                yield PredictedCells(
                    condition=condition,
                    cells=sampled[i][:, order],
                    delta=reply.delta[i][order],
                    seen=reply.seen[i],
                    notes=reply.notes[i],
                    model=f"{reply.model}/{reply.version}" if reply.version else reply.model,
                    fingerprint=reply.fingerprint,
                )
        if got != len(asked):
            raise ValueError(f"conditions: every one is answered; {len(asked) - got} of {context!r} were not.")
