"""Hold out a whole dataset: does what was learnt in other studies hold in a study of its own?

On a merged dataset ('perturbcast merge A.h5ad B.h5ad'), whose genes are matched by name. Each dataset is the test set
of one fold, or the named ones are; the split records how many genes train and test share, and refuses too few.
Validation and calibration are held-out conditions inside the train datasets, drawn where possible so that train keeps
one condition of each perturbation that test asks for. They are nearer to train than test is, and the
split says so. A held-out dataset brings its own contexts; its controls are input and never fitted.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from perturbcast.schema import Condition, PerturbationData
from perturbcast.splits import shared_perturbations
from perturbcast.splits.fold import Fold, share_out
from perturbcast.splits.shared_perturbations import SharedConfig
from perturbcast.stores.merge import gene_coverage, sources_of

__all__ = ["Config", "folds"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(SharedConfig):
    """Parameters of the rule, beside the policy of ``SharedConfig``.

    Attributes:
        test: datasets to hold out, comma-separated, each in a fold of its own; empty for each in turn.
        validation: share of the train datasets' conditions, 0 to 1.
        calibration: share of the train datasets' conditions, 0 to 1.
        min_shared_genes: smallest share of the smaller gene list (train's or test's) that both measure, 0 to 1.
    """

    test: str = ""
    validation: float = 0.15
    calibration: float = 0.15
    min_shared_genes: float = 0.5

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.min_shared_genes <= 1:
            raise ValueError(
                f"A share of genes is above 0 and at most 1; min_shared_genes is {self.min_shared_genes}. "
                "Give for example 0.5."
            )


def folds(data: PerturbationData, config: Config, *, generator: np.random.Generator) -> list[Fold]:
    """One fold per held-out dataset.

    Raises:
        UsageError: the data is not a merged dataset, or a name is not one of its datasets.
        ValueError: too few genes are shared, the train datasets have too few conditions, or the policy on unshared
            perturbations cannot be kept.
    """
    named = [name.strip() for name in config.test.split(",") if name.strip()]
    return [_fold(data, test, config, generator=generator) for test in named or sorted(sources_of(data))]


def _fold(data: PerturbationData, test: str, config: Config, *, generator: np.random.Generator) -> Fold:
    coverage = gene_coverage(data, [test])
    share = max(coverage["share_of_train"], coverage["share_of_test"])
    if share < config.min_shared_genes:
        raise ValueError(
            f"Split 'cross_dataset' needs {config.min_shared_genes:.0%} of the smaller gene list in train and test; "
            f"{coverage['shared']} genes are shared with {test!r}, which is {share:.1%} ({coverage['train_only']} only "
            f"in train, {coverage['test_only']} only in test). Lower min_shared_genes, or hold out another dataset."
        )
    origin = dict(data.obs.groupby(data.obs["context"].astype(str))["dataset"].first())
    train = [c for c in data.conditions if origin[c.context] != test]
    tested = [c for c in data.conditions if origin[c.context] == test]
    drawn = _draw(train, tested, config, generator=generator)
    proposed = {
        "test": tested,
        "validation": drawn["validation"],
        "calibration": drawn["calibration"],
        "train": [c for c in train if c not in {*drawn["validation"], *drawn["calibration"]}],
    }
    where = {"test": test, "validation": "the train datasets", "calibration": "the train datasets"}
    # validation lies inside train's datasets: there a perturbation of its own is what is held out
    inside = {part: [] if part in ("validation", "calibration") else group for part, group in proposed.items()}
    parts, shared = shared_perturbations.apply(inside, policy=config.policy, rule="cross_dataset", where=where)
    parts |= {part: proposed[part] for part in ("validation", "calibration")}
    return Fold(
        held_out=test,
        conditions=parts,
        strata=shared_perturbations.strata(parts, shared),
        ood_axes=shared_perturbations.axes("dataset", shared),
        warnings=(
            *shared_perturbations.warnings_of(shared, where),
            "validation and calibration are held-out conditions inside the train datasets, nearer to train than test "
            "is: intervals may be too narrow on test",
            f"{coverage['shared']} genes are in every dataset; {coverage['train_only']} only in train and "
            f"{coverage['test_only']} only in test are left out",
        ),
        shared=shared,
        coverage=coverage,
    )


def _draw(
    train: list[Condition], tested: list[Condition], config: Config, *, generator: np.random.Generator
) -> dict[str, list[Condition]]:
    """Validation and calibration conditions, such that train keeps one condition of what test asks for, if it can."""
    of_perturbation: dict[str, list[Condition]] = {}
    for condition in train:
        of_perturbation.setdefault(condition.perturbation, []).append(condition)
    asked = sorted({c.perturbation for c in tested} & set(of_perturbation))
    kept = {of_perturbation[name][generator.integers(len(of_perturbation[name]))] for name in asked}
    spare = [c for c in train if c not in kept]
    wanted = {part: max(1, round(getattr(config, part) * len(train))) for part in ("validation", "calibration")}
    pool = spare if sum(wanted.values()) < len(spare) else train
    named = {str(c): c for c in pool}
    drawn = share_out(sorted(named), {part: count / len(pool) for part, count in wanted.items()}, generator=generator)
    return {part: [named[name] for name in drawn[part]] for part in wanted}
