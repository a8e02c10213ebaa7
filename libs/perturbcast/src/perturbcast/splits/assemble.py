"""Makes frozen splits from a rule: looks up the cells of each fold, places controls, derives calibration.

Everything here depends on labels alone (barcode, perturbation, context, covariates), never on expression: changing
the values of a cell moves nothing.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from perturbcast import catalog
from perturbcast.schema import Condition, PerturbationData, Split, canonical_hash
from perturbcast.splits.fold import FITTED_PARTS, Fold

if TYPE_CHECKING:  # imported with the data
    import pandas as pd

__all__ = ["assemble", "make"]


def make(data: PerturbationData, rule: str, *, config: Any = None, seed: int = 0) -> list[Split]:
    """The frozen folds of a rule on a dataset.

    Args:
        data: measured cells.
        rule: module name in ``splits/``.
        config: the rule's ``Config``; its defaults where None.
        seed: decides every draw; the same seed gives the same splits.

    Raises:
        ValueError: the dataset cannot carry the rule.
    """
    module = catalog.load("splits", rule)
    config = module.Config() if config is None else config
    folds: list[Fold] = module.folds(data, config, generator=np.random.default_rng(seed))
    return [
        assemble(data, fold, rule=rule, parameters=dataclasses.asdict(config), seed=seed, index=i, n_folds=len(folds))
        for i, fold in enumerate(folds)
    ]


def assemble(
    data: PerturbationData,
    fold: Fold,
    *,
    rule: str,
    parameters: dict[str, Any],
    seed: int = 0,
    index: int = 0,
    n_folds: int = 1,
) -> Split:
    """Look up the cells of a fold's conditions; divide validation where the fold brings no calibration.

    Raises:
        ValueError: validation is too small to give calibration, or a train context keeps no control cell.
    """
    conditions = {part: tuple(sorted(fold.conditions[part])) for part in FITTED_PARTS}
    obs = data.obs
    cells = _cells_of(data, fold)
    warnings = list(fold.warnings)
    if not conditions["calibration"]:
        record = {"dataset": data.dataset, "rule": rule, "parameters": parameters, "seed": seed}
        chosen = _calibration(conditions, record | {"held_out": fold.held_out})
        moved = np.isin(_names(obs.loc[cells["validation"]]), [str(c) for c in chosen])
        cells |= {"validation": cells["validation"][~moved], "calibration": cells["validation"][moved]}
        conditions["validation"] = tuple(c for c in conditions["validation"] if c not in chosen)
        conditions["calibration"] = chosen
        warnings.append("calibration conditions were drawn from validation, seeded by the split's own record")
    train_contexts = {c.context for c in conditions["train"]}
    controls = obs.index[obs["is_control"].to_numpy(dtype=bool)]
    in_train = obs.loc[controls, "context"].astype(str).isin(train_contexts).to_numpy()
    fitted = in_train & ~controls.isin(list(fold.withheld_controls))
    bare = sorted(train_contexts - set(obs.loc[controls[fitted], "context"].astype(str)))
    if bare:
        raise ValueError(
            f"Every train context keeps control cells of its own; split {rule!r} on {data.dataset!r} (held out: "
            f"{fold.held_out}) leaves none in {', '.join(bare)}. Hold out something else, or leave that context out."
        )
    cells["train"] = np.concatenate([cells["train"], controls[fitted].to_numpy(dtype=object)])
    cells["control_input"] = controls[~fitted].to_numpy(dtype=object)
    if data.uncontrolled:
        warnings.append(f"contexts without controls are in no part: {', '.join(data.uncontrolled)}")
    return Split(
        dataset=data.dataset,
        dataset_hash=data.hash,
        rule=rule,
        parameters=parameters,
        seed=seed,
        fold=index,
        n_folds=n_folds,
        held_out=fold.held_out,
        parts={part: tuple(sorted(map(str, cells[part]))) for part in Split.PARTS},
        conditions=conditions,
        strata=fold.strata,
        ood_axes=fold.ood_axes,
        warnings=tuple(warnings),
        n_controls={part: int(fitted.sum()) if part == "train" else 0 for part in FITTED_PARTS}
        | {"control_input": int((~fitted).sum())},
        shared_perturbations=fold.shared,
        coverage=fold.coverage,
    )


def _names(obs: pd.DataFrame) -> np.ndarray:
    """The condition of each cell [cell], as ``str(condition)``."""
    names: np.ndarray = (obs["perturbation"].astype(str) + " in " + obs["context"].astype(str)).to_numpy(dtype=str)
    return names


def _cells_of(data: PerturbationData, fold: Fold) -> dict[str, np.ndarray]:
    """Part -> barcodes of perturbed cells: those that the fold names, or every cell of its conditions."""
    if fold.cells is not None:
        return {part: np.asarray(list(fold.cells[part]), dtype=object) for part in FITTED_PARTS}
    part_of = {str(condition): part for part, group in fold.conditions.items() for condition in group}
    perturbed = data.obs[~data.obs["is_control"].to_numpy(dtype=bool)]
    part = np.array([part_of.get(name, "") for name in _names(perturbed)], dtype=object)
    return {name: perturbed.index[part == name].to_numpy(dtype=object) for name in FITTED_PARTS}


def _calibration(conditions: Mapping[str, tuple[Condition, ...]], record: dict[str, Any]) -> tuple[Condition, ...]:
    """Half of the validation conditions, drawn by a generator seeded by what the split is without them.

    The dataset enters by its id and not by its content hash: other values in a test cell move no condition.
    """
    validation = conditions["validation"]
    if len(validation) < 2:
        raise ValueError(
            f"Calibration needs conditions of its own, apart from validation; {record['rule']!r} on "
            f"{record['dataset']!r} (held out: {record['held_out']}) leaves {len(validation)} for both. "
            "Use data with more contexts or perturbations, or another rule."
        )
    listed = {part: [str(c) for c in group] for part, group in conditions.items()}
    generator = np.random.default_rng(int(canonical_hash(record | {"conditions": listed})[:16], 16))
    chosen = {validation[i] for i in generator.permutation(len(validation))[: len(validation) // 2]}
    return tuple(c for c in validation if c in chosen)
