"""Is a model better than a trivial one? The paired comparison over the same conditions, and what follows in words.

Both floors are models as well (``control`` and ``train_mean``), evaluated beside the others. Where one was not, there
is no answer.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from perturbcast.evaluation.bounds import FLOORS
from perturbcast.evaluation.comparison import by_model, compare, over_seeds
from perturbcast.evaluation.directory import Stored
from perturbcast.metrics import metric as descriptor

__all__ = ["answers", "paired"]

WORDS = {"control": "no change", "train_mean": "the train mean"}
NOTHING: dict[str, Any] = {
    "verdict": "unknown",
    "difference": None,
    "interval": [None, None],
    "p_adjusted": None,
    "n": 0,
    "wins": 0,
}


def paired(stored: Mapping[str, Stored], *, metric_id: str, seed: int) -> dict[str, dict[str, Any]]:
    """Floor -> all models beside it (see ``comparison.compare``), for the floors that were evaluated as models.

    Args:
        stored: the candidates of a split; those without a value are left out.
        metric_id: what to compare by.
        seed: of bootstrap and permutations.
    """
    valued = {name: one for name, one in stored.items() if one.evaluation.metrics[metric_id]["value"] is not None}
    models = by_model(valued)
    if len(models) < 2 or not _shared(models, metric_id):
        return {}
    return {
        floor: compare(valued, metric_id=metric_id, baseline=floor, seed=seed) for floor in FLOORS if floor in models
    }


def answers(
    stored: Mapping[str, Stored],
    compared: Mapping[str, Mapping[str, Any]],
    *,
    champion: str,
    metric_id: str,
) -> dict[str, Any]:
    """What a reader asks first about the champion of a split.

    Args:
        stored: the candidates of a split.
        compared: what ``paired`` found of them.
        champion: whom it is about.
        metric_id: decides.
    """
    share: float | None = stored[champion].evaluation.metrics[metric_id].get("share_of_range")
    found = {f"versus_{floor}": _versus(stored, compared, champion, floor, metric_id) for floor in FLOORS}
    return {**found, "share_of_range": share}


def _versus(
    stored: Mapping[str, Stored], compared: Mapping[str, Mapping[str, Any]], champion: str, floor: str, metric_id: str
) -> dict[str, Any]:
    if champion == floor:
        return NOTHING | {"verdict": "itself", "said": f"The champion is {WORDS[floor]} itself."}
    if floor not in stored:
        said = f"The model {floor!r} was not evaluated on this split, so there is nothing to pair with."
        return NOTHING | {"said": said}
    if floor not in compared or champion not in compared[floor]["models"]:
        return NOTHING | {"said": "No condition has a value for both."}
    row = compared[floor]["models"][champion]
    models = by_model(stored)
    loss = descriptor(metric_id).loss
    mine_of, theirs_of = (over_seeds(models[name], metric_id) for name in (champion, floor))
    both = mine_of.index.intersection(theirs_of.index)
    pairs = [(loss(a), loss(b)) for a, b in zip(mine_of[both], theirs_of[both], strict=True)]
    wins, n = sum(mine < theirs for mine, theirs in pairs), len(pairs)
    record = NOTHING | {
        "difference": row["difference"],
        "interval": row["difference_interval"],
        "p_adjusted": row["p_adjusted"],
        "n": n,
        "wins": wins,
    }
    counted = f"Better than {WORDS[floor]} in {wins} of {n} conditions"
    if all(mine == theirs for mine, theirs in pairs):
        return record | {"verdict": "same", "said": f"The same as {WORDS[floor]} in every condition."}
    if row["p_adjusted"] is None:
        return record | {"said": f"{counted}; one condition says nothing of the spread."}
    verdict = row["verdict"] if row["verdict"] != "undecided" else "no clear difference"
    return record | {"verdict": verdict, "said": f"{counted}, p = {row['p_adjusted']:.2g} after adjustment."}


def _shared(models: Mapping[str, Mapping[str, Stored]], metric_id: str) -> bool:
    """Whether any condition has a value for every model."""
    first, *others = (set(over_seeds(seeds, metric_id).index) for seeds in models.values())
    return bool(first.intersection(*others))
