"""Which control cells belong to a perturbed cell, and some of them at a time where there are too many to hold.

The rule is that of ``pseudobulk.effects``: controls of the same context, and of the same batch where every batch in
which the condition has cells holds enough controls of that context.
"""

from __future__ import annotations

import dataclasses
from typing import Self

import numpy as np
import pandas as pd

from perturbcast.stores.pseudobulk import MIN_BATCH_CONTROLS

__all__ = ["ControlGroups"]

_POOL = 3  # what a draw is for, beside those of ``block_order``


@dataclasses.dataclass(frozen=True, kw_only=True)
class ControlGroups:
    """Control cells by what they are matched on.

    Attributes:
        of_cell: [perturbed cell] number of its group.
        members: per group, rows of its control cells, ascending.
        names: per group, context and batch; batch None where controls are matched by context alone.
    """

    of_cell: np.ndarray
    members: tuple[np.ndarray, ...]
    names: tuple[tuple[str, str | None], ...]

    @classmethod
    def of(cls, obs: pd.DataFrame, *, perturbed: np.ndarray, controls: np.ndarray) -> Self:
        """Groups of the cells at ``perturbed``, from the control cells at ``controls`` (rows of ``obs``).

        Raises:
            ValueError: a context holds no controls, or a cell is named as what it is not.
        """
        is_control = obs["is_control"].to_numpy(dtype=bool)
        for rows, wanted, what in ((perturbed, False, "perturbed"), (controls, True, "a control")):
            wrong = rows[is_control[rows] != wanted]
            if len(wrong):
                raise ValueError(
                    f"Perturbed cells are read with matched controls; cell {obs.index[wrong[0]]!r} was given as {what} "
                    f"and is not ({len(wrong)} such). Give perturbed rows and control rows apart."
                )
        context, contexts = pd.factorize(obs["context"].astype(str), sort=True)
        missing = np.setdiff1d(context[perturbed], context[controls])
        if len(missing):
            raise ValueError(
                f"Perturbed cells are read with matched controls; context {contexts[missing[0]]!r} holds none. "
                "Leave its cells out, or give control cells of that context."
            )
        key = context.copy()  # groups by context first, then those by context and batch
        batches: pd.Index = pd.Index([])
        pair = np.zeros_like(key)
        if "batch" in obs:
            batch, batches = pd.factorize(obs["batch"].astype(str), sort=True)
            pair = context * len(batches) + batch
            enough = np.bincount(pair[controls], minlength=len(contexts) * len(batches)) >= MIN_BATCH_CONTROLS
            condition = pd.factorize(obs["perturbation"].astype(str))[0] * len(contexts) + context
            by_context = np.unique(condition[perturbed][~enough[pair[perturbed]]])
            by_batch = ~np.isin(condition[perturbed], by_context)
            key[perturbed[by_batch]] = len(contexts) + pair[perturbed[by_batch]]
        used, of_cell = np.unique(key[perturbed], return_inverse=True)
        rows = np.sort(controls)
        members: list[np.ndarray] = []
        names: list[tuple[str, str | None]] = []
        for group in used.tolist():
            if group < len(contexts):
                members.append(rows[context[rows] == group])
                names.append((str(contexts[group]), None))
            else:
                members.append(rows[pair[rows] == group - len(contexts)])
                at, of_batch = divmod(group - len(contexts), len(batches))
                names.append((str(contexts[at]), str(batches[of_batch])))
        return cls(of_cell=of_cell, members=tuple(members), names=tuple(names))

    def drawn(self, *, seed: int, epoch: int, most: int) -> tuple[np.ndarray, ...]:
        """At most ``most`` members of each group, other ones in each epoch."""
        generator = np.random.default_rng([seed, _POOL, epoch])
        return tuple(
            rows if len(rows) <= most else np.sort(generator.choice(rows, most, replace=False)) for rows in self.members
        )
