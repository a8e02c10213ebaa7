"""Effects of known conditions, without cells."""

from __future__ import annotations

import numpy as np
import pytest

from perturbcast.models import TrainingSet
from perturbcast.schema import Condition
from perturbcast.stores import Effects


def _make_train(deltas, *, genes=None, baseline=None):
    """TrainingSet from {(perturbation, context): delta}; baseline maps context -> control mean (default 1)."""
    conditions = tuple(Condition(*pair) for pair in deltas)
    delta = np.array(list(deltas.values()), dtype=float)
    control = np.array([(baseline or {}).get(c.context, np.ones(delta.shape[1])) for c in conditions], dtype=float)
    return TrainingSet(
        effects=Effects(
            conditions=conditions,
            genes=tuple(genes or (f"G{i}" for i in range(delta.shape[1]))),
            delta=delta,
            control=control,
            error=np.full_like(delta, 0.01),
            n_cells=np.full(len(conditions), 50),
            matching=("context",) * len(conditions),
        )
    )


@pytest.fixture(scope="session")
def make_train():
    """Factory of training sets with stated deltas."""
    return _make_train
