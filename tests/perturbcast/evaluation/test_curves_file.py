"""curves.json: folds pooled, groups named, the best and worst conditions with their genes."""

from __future__ import annotations

import json

import numpy as np
import pytest

from perturbcast.evaluation.curves_file import curves_of
from perturbcast.metrics import Comparison, Truth
from perturbcast.schema import Condition

GENES = 6


def _fold(context, quality, *, half=0.5):
    """One condition per entry of ``quality``: the share of the measured delta in the prediction, the rest noise."""
    rng = np.random.default_rng(len(context))
    delta = rng.normal(size=(len(quality), GENES))
    noise = rng.normal(size=delta.shape)
    share = np.array(quality)[:, None]
    truth = Truth(
        conditions=tuple(Condition(f"P{i}", context) for i in range(len(quality))),
        genes=tuple(f"g{i}" for i in range(GENES)),
        mean=1 + delta,
        control=np.ones_like(delta),
        error=np.full_like(delta, 0.01),
    )
    return Comparison(
        truth=truth,
        predicted=1 + share * delta + (1 - share) * noise,
        half_widths={} if half is None else {0.9: np.full_like(delta, half)},
        variance=np.full_like(delta, 0.1),
    )


def test_examples_are_the_best_and_the_worst(tmp_path):
    found = curves_of([_fold("a", [1.0, 0.0, 0.9]), _fold("bb", [0.95, 0.1])], strata={}, axes=["context"])
    assert found["format"] == "perturbcast.curves/1"
    places = [(one["place"], one["context"], one["perturbation"]) for one in found["examples"]]
    assert places[0] == ("best", "a", "P0")
    assert [place for place, *_ in places] == ["best", "best", "worst", "worst"]
    assert len({label for _, *label in map(tuple, ((p, c + q) for p, c, q in places)) for label in label}) == 4
    example = found["examples"][0]
    assert example["measured"] == pytest.approx(example["predicted"])
    assert example["half_width_90"] == [0.5] * GENES
    assert example["score"] == pytest.approx(1.0)
    json.dumps(found, allow_nan=False)


def test_intervals_are_counted_by_context_and_stratum():
    folds = [_fold("a", [1.0, 1.0]), _fold("bb", [1.0, 0.0, 0.0])]
    found = curves_of(folds, strata={"P0 in a": "old", "P1 in a": "new"}, axes=["perturbation"])["intervals"]
    counts = {name: curve[0]["n_conditions"] for name, curve in found.items()}
    expected = {"all": 5, "context: a": 2, "context: bb": 3}
    assert counts == expected | {"perturbation: old": 1, "perturbation: new": 1, "perturbation: other": 3}
    assert found["context: a"][0]["coverage"] == 1.0


def test_without_intervals_there_are_no_curves_of_them():
    found = curves_of([_fold("a", [1.0, 0.5], half=None)], strata={}, axes=[])
    assert found["intervals"] == {}
    assert found["examples"][0]["half_width_90"] is None


def test_an_infinite_interval_is_left_out_of_json():
    found = curves_of([_fold("a", [1.0, 0.5], half=np.inf)], strata={}, axes=[])
    assert found["intervals"] == {}
    assert found["examples"][0]["half_width_90"] is None
    json.dumps(found, allow_nan=False)
