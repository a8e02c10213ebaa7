"""Did anything leak? What can be recomputed from the frozen folds and the scores, one line per check.

A check that fails says so in the report and does not stop it: a reader must see it. Where a check does not apply, or
what it needs is not there, it is listed as not checked, never as passed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from perturbcast.evaluation.limits import degenerate, floors
from perturbcast.metrics import metric as descriptor
from perturbcast.schema import Condition, Split

__all__ = ["leak_checks"]

TOLERANCE = 1e-6


def leak_checks(
    folds: Sequence[Split],
    *,
    split: Mapping[str, Any],
    calibration: Sequence[str] | None,
    matched_by_batch: bool = False,
) -> list[dict[str, Any]]:
    """Checks as ``{"check", "passed": true | false | null, "said"}``; null where it could not be made.

    Args:
        folds: the frozen folds.
        split: the split's part of a report, for the degenerate rows.
        calibration: per fold the sha256 of the cells that the champion's intervals were fitted on, or None where
            its model directories are not at hand.
        matched_by_batch: conditions of a context have controls of their own batches, above which even a constant
            answer tells conditions apart.
    """
    return [
        _disjoint(folds),
        _new_at_test(folds),
        _apart_from_calibration(folds),
        _calibrated_on(folds, calibration),
        _at_chance(split, folds=folds, matched_by_batch=matched_by_batch),
    ]


def _check(name: str, passed: bool | None, said: str) -> dict[str, Any]:
    return {"check": name, "passed": passed, "said": said}


def _disjoint(folds: Sequence[Split]) -> dict[str, Any]:
    cells = [sum(len(fold.parts[part]) for part in fold.PARTS) for fold in folds]
    shared = sum(total - len(set().union(*fold.parts.values())) for total, fold in zip(cells, folds, strict=True))
    return _check(
        "No cell is in two parts of a fold",
        shared == 0,
        f"{shared} shared barcodes in {len(folds)} fold{'s' * (len(folds) > 1)} of {max(cells):,} cells; "
        "the hash of every part was recomputed on loading",
    )


def _new_at_test(folds: Sequence[Split]) -> dict[str, Any]:
    """Test conditions against train, by what the split says is new."""
    n = sum(len(fold.conditions["test"]) for fold in folds)
    seen = {"condition": 0, "perturbation": 0, "context": 0}
    known = 0  # new in no respect that the split names
    for fold in folds:
        train = fold.conditions["train"]
        of = {
            "condition": set(train),
            "perturbation": {c.perturbation for c in train},
            "context": {c.context for c in train},
        }
        for condition in fold.conditions["test"]:
            has = _has(condition, of)
            for axis, count in has.items():
                seen[axis] += count
            known += not any(not has[axis] for axis in _judged(fold))
    said = (
        f"of {n} test conditions in all folds: {seen['condition']} were trained on, {seen['perturbation']} have a "
        f"trained perturbation, {seen['context']} a trained context"
    )
    axes = folds[0].ood_axes
    name = f"Every test condition is new: {', '.join(axes) or 'in distribution'}"
    if not axes:
        return _check("Test conditions are also in train, as this rule means", None, said)
    if not _judged(folds[0]):
        return _check(name, None, f"{said}; labels of conditions do not show this axis")
    return _check(name, known == 0, said)


def _judged(fold: Split) -> list[str]:
    """Axes that can be read off the labels; a new combination is a new perturbation label."""
    words = {"context": "context", "perturbation": "perturbation", "combination": "perturbation"}
    return [words[axis] for axis in fold.ood_axes if axis in words]


def _has(condition: Condition, of: Mapping[str, Any]) -> dict[str, bool]:
    return {
        "condition": condition in of["condition"],
        "perturbation": condition.perturbation in of["perturbation"],
        "context": condition.context in of["context"],
    }


def _apart_from_calibration(folds: Sequence[Split]) -> dict[str, Any]:
    cells = [set(fold.parts["calibration"]) for fold in folds]
    others = [set().union(*(fold.parts[p] for p in fold.PARTS if p != "calibration")) for fold in folds]
    shared = sum(len(mine & theirs) for mine, theirs in zip(cells, others, strict=True))
    conditions = [len(fold.conditions["calibration"]) for fold in folds]
    return _check(
        "Calibration cells are in no other part",
        shared == 0,
        f"per fold {_span([len(c) for c in cells])} cells and {_span(conditions)} condition"
        f"{'s' * (max(conditions) > 1)}; {shared} of the cells are elsewhere too",
    )


def _calibrated_on(folds: Sequence[Split], used: Sequence[str] | None) -> dict[str, Any]:
    name = "The champion's intervals were fitted on those cells"
    if used is None:
        return _check(name, None, "its model directories are not at hand")
    right = sum(fold.barcode_hashes["calibration"] == digest for fold, digest in zip(folds, used, strict=True))
    return _check(name, right == len(folds), f"sha256 of the cells agrees in {right} of {len(folds)} folds")


def _at_chance(split: Mapping[str, Any], *, folds: Sequence[Split], matched_by_batch: bool) -> dict[str, Any]:
    """The evaluation itself stops where a fold is off; this is what it found, on the conditions that the report counts.

    Places in a fold average to chance. A condition that two folds test (a combination of two held-out perturbations)
    counts once, with the mean of its places, which can move the average by its share of the conditions and no more.
    """
    tested = [condition for fold in folds for condition in fold.conditions["test"]]
    distinct = len(set(tested))
    repeated = len(tested) - distinct
    allowed = TOLERANCE + repeated / distinct
    name = "A constant answer scores chance where conditions are told apart"
    off, n = [], 0
    for metric_id in split["metrics"]:
        metric = descriptor(metric_id)
        chance, constant = floors(split, metric_id)["chance"], degenerate(split, metric_id)["constant"]
        if metric.discrimination != "exact" or chance is None or constant is None:
            continue
        n += 1
        if abs(constant - chance) > allowed:
            off.append(f"{metric.title} {constant:.3g} where chance is {chance:.3g}")
    if not n:
        return _check(name, None, "no metric that tells conditions apart was scored with degenerate predictors")
    if off and matched_by_batch:
        said = f"controls are matched by batch, and a change above them tells batches apart; off: {', '.join(off)}"
        return _check(name, None, said)
    said = f"{n - len(off)} of {n} metrics at chance"
    said += f" to within {allowed:.2g}, since {repeated} conditions are tested in two folds" if repeated else ""
    return _check(name, not off, said + (f"; off: {', '.join(off)}" if off else ""))


def _span(counts: Sequence[int]) -> str:
    low, high = min(counts), max(counts)
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"
