"""Hold out values of a covariate: does a response carry to a dose, time, donor or batch that was never fitted?

Each value of the named obs column is the test value of one fold. Its perturbed cells are test, in every condition;
the same condition at other values is train, so that conditions are shared and cells divide. Validation is the cells
of a further held-out value, calibration those of another where five or more values exist (as for contexts). Controls
that carry a held-out value (a donor's own) are input only; controls without one (dose 0) stay in train.

Models are asked for a condition and are not told the covariate: the score says how far the response at the other
values carries. Measured deltas are against controls matched by context and batch, as everywhere.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import pandas as pd

from perturbcast.errors import UsageError
from perturbcast.schema import REQUIRED_OBS, Condition, PerturbationData
from perturbcast.splits import shared_perturbations
from perturbcast.splits.fold import FITTED_PARTS, Fold, hold_out
from perturbcast.splits.shared_perturbations import SharedConfig

__all__ = ["Config", "folds"]

MIN_VALUES = 3


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(SharedConfig):
    """Parameters of the rule, beside the policy of ``SharedConfig``.

    Attributes:
        covariate: obs column whose values are held out: dose, time, donor, batch, or another.
        values: values to hold out, comma-separated, in the unit of the column; empty for each in turn.
    """

    covariate: str = ""
    values: str = ""


def folds(data: PerturbationData, config: Config, *, generator: np.random.Generator) -> list[Fold]:
    """One fold per held-out value.

    Raises:
        UsageError: the covariate or a value is not in the data.
        ValueError: fewer than three values hold perturbed cells, some cells have none, or the policy on unshared
            perturbations cannot be kept.
    """
    column = _column(data, config.covariate)
    listed = set(map(str, data.conditions))
    name = data.obs["perturbation"].astype(str) + " in " + data.obs["context"].astype(str)
    cells = pd.DataFrame({"value": column, "condition": name})[name.isin(listed).to_numpy()]
    values = sorted(cells["value"].unique(), key=_by_number)
    if len(values) < MIN_VALUES:
        raise ValueError(
            f"Split 'covariate_transfer' needs at least {MIN_VALUES} values with perturbed cells (train, validation, "
            f"test); column {config.covariate!r} of {data.dataset!r} has {len(values)}: {', '.join(values)}. "
            "Name another covariate, or use in_distribution."
        )
    wanted = [_text(word.strip()) for word in config.values.split(",") if word.strip()]  # noqa: PD011
    unknown = sorted(set(wanted) - set(values))
    if unknown:
        raise UsageError(
            f"Values to hold out are values of the column; {', '.join(unknown)} unknown in {config.covariate!r}. "
            f"Known: {', '.join(values)}."
        )
    order = [values[i] for i in generator.permutation(len(values))]
    condition_of = {str(condition): condition for condition in data.conditions}
    by_value: dict[str, dict[Condition, pd.Index]] = {value: {} for value in values}
    for (value, key), group in cells.groupby(["value", "condition"]):
        by_value[str(value)][condition_of[str(key)]] = group.index
    controls = column[data.obs["is_control"].to_numpy(dtype=bool)]
    return [_fold(test, order, by_value, controls, config) for test in wanted or values]


def _column(data: PerturbationData, name: str) -> pd.Series:
    """The covariate of each cell as text; numbers in their shortest form."""
    others = [str(column) for column in data.obs.columns if column not in REQUIRED_OBS]
    if name not in others:
        hint = " Contexts are held out by unseen_context." if name == "context" else ""
        raise UsageError(
            f"Split 'covariate_transfer' holds out values of an obs column; {name!r} is none of "
            f"{', '.join(others) or 'the columns: there is none'} in {data.dataset!r}.{hint} Give --covariate, or map "
            "the column at import (batch, donor, guide, dose, time)."
        )
    column = data.obs[name]
    absent = int((column.isna() & ~data.obs["is_control"]).sum())
    if absent:
        raise ValueError(
            f"Every perturbed cell has a value of the covariate; {absent} of {len(column)} cells have none in "
            f"{name!r}. Fill them in or remove these cells before import."
        )
    return column.astype(object).where(column.notna(), "").map(_text)


def _text(value: object) -> str:
    try:
        return f"{float(str(value)):g}"
    except ValueError:
        return str(value)


def _by_number(value: str) -> tuple[float, str]:
    try:
        return float(value), value
    except ValueError:
        return np.inf, value


def _fold(
    test: str,
    order: list[str],
    by_value: dict[str, dict[Condition, pd.Index]],
    controls: pd.Series,
    config: Config,
) -> Fold:
    held = hold_out(test, order, sizes={value: len(group) for value, group in by_value.items()})
    values_of = {part: [value] for part, value in held.items()}
    values_of = {"calibration": [], "train": [value for value in order if value not in held.values()]} | values_of
    proposed = {part: sorted({c for value in values_of[part] for c in by_value[value]}) for part in FITTED_PARTS}
    where = {part: f"{config.covariate} {value}" for part, value in held.items()}
    parts, shared = shared_perturbations.apply(proposed, policy=config.policy, rule="covariate_transfer", where=where)
    cells = {
        part: [
            str(barcode)
            for value in values_of[part]
            for condition in parts[part]
            for barcode in by_value[value].get(condition, ())
        ]
        for part in FITTED_PARTS
    }
    warnings = shared_perturbations.warnings_of(shared, where)
    if len(set(controls)) > 1 and config.covariate != "batch":
        warnings.append(
            f"controls carry {config.covariate} too and are matched by context and batch, not by {config.covariate}; "
            "map that column to batch at import to match by it"
        )
    return Fold(
        held_out=f"{config.covariate} {test}",
        conditions=parts,
        cells=cells,
        strata=shared_perturbations.strata(parts, shared),
        ood_axes=shared_perturbations.axes(config.covariate, shared),
        warnings=tuple(warnings),
        withheld_controls=tuple(map(str, controls.index[controls.isin(list(held.values()))])),
        shared=shared,
    )
