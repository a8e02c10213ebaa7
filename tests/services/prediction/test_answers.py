import types

import pytest

from prediction_service import answers
from prediction_service.served_model import QUICK_CONDITIONS


def piece(*, conditions=1, level=0.0, cells=0, quick=True, quick_intervals=False):
    plan = types.SimpleNamespace(
        served=types.SimpleNamespace(quick=quick, quick_intervals=quick_intervals),
        level=level,
        request=types.SimpleNamespace(wanted=types.SimpleNamespace(cells=cells)),
    )
    return types.SimpleNamespace(plan=plan, start=0, stop=conditions)


@pytest.mark.parametrize(
    ("slices", "quick"),
    [
        ([piece(), piece()], True),
        ([piece(quick=False)], False),
        ([piece(), piece(conditions=QUICK_CONDITIONS)], False),
        ([piece(), piece(level=0.9)], False),
        ([piece(), piece(cells=3)], False),
        ([piece(level=0.9, quick=False, quick_intervals=True)], True),
    ],
    ids=["delta", "slow", "many", "an-interval-among-them", "cells-among-them", "intervals-that-are-quick"],
)
def test_a_batch_is_quick_by_what_it_asks_of_the_model(slices, quick):
    assert answers._quick(slices) is quick
