"""Trials by Optuna's tree-structured Parzen estimator, kept in an sqlite file that a killed sweep goes on from.

A sampler is made anew for each round from the sweep's seed and the round's number, so that what it draws depends on
the scores so far and on nothing that a kill loses. Trials of a round that was never written count as failed, which the
estimator does not look at.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from perturbcast.errors import UsageError
from perturbcast.suites.sections import Range, Sweep
from perturbcast.suites.space import free

__all__ = ["ask"]


def ask(
    sweep: Sweep, number: int, *, scores: Mapping[str, Mapping[int, float | None]], storage: Path
) -> dict[str, list[tuple[int, dict[str, Any]]]]:
    """Model -> (number in its study, values of all its fields) of the trials of a round.

    Args:
        sweep: the sweep.
        number: of the round.
        scores: model -> number of a trial of an earlier round -> its loss (smaller is better), None where it failed.
        storage: sqlite file.

    Raises:
        UsageError: Optuna is not installed.
    """
    try:
        import optuna
    except ModuleNotFoundError as error:
        raise UsageError(
            "Method tpe is Optuna's; it is not installed here. Run 'pip install -c constraints.txt -e "
            "libs/perturbcast[sweep]' (the extra 'sweep'), or choose method random."
        ) from error
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    assert sweep.trials is not None
    storage.parent.mkdir(parents=True, exist_ok=True)
    found: dict[str, list[tuple[int, dict[str, Any]]]] = {}
    for place, (model, space) in enumerate(sweep.models.items()):
        state = np.random.SeedSequence([sweep.seed, place, number]).generate_state(1)
        sampler = optuna.samplers.TPESampler(
            seed=int(state[0]),
            n_startup_trials=max(2, sweep.trials // 4),  # a quarter at random, so that there is something to model
            constant_liar=sweep.parallel > 1,
        )
        study = optuna.create_study(
            storage=f"sqlite:///{storage}", study_name=model, sampler=sampler, direction="minimize", load_if_exists=True
        )
        _tell(study, scores.get(model, {}), failed=optuna.trial.TrialState.FAIL)
        distributions = {name: _distribution(value, optuna) for name, value in free(space).items()}
        fixed = {name: value for name, value in space.items() if name not in distributions}
        trials = [
            study.ask(fixed_distributions=distributions)
            for _ in range(min(sweep.parallel, sweep.trials - number * sweep.parallel))
        ]
        found[model] = [(trial.number, fixed | trial.params) for trial in trials]
    return found


def _tell(study: Any, scores: Mapping[int, float | None], *, failed: Any) -> None:
    for trial in study.get_trials(deepcopy=False):
        if not trial.state.is_finished():
            loss = scores.get(trial.number)
            if loss is None:
                study.tell(trial.number, state=failed)
            else:
                study.tell(trial.number, loss)


def _distribution(value: list[Any] | Range, optuna: Any) -> Any:
    if isinstance(value, list):
        return optuna.distributions.CategoricalDistribution(value)
    if value.integer:
        return optuna.distributions.IntDistribution(int(value.low), int(value.high), log=value.log)
    return optuna.distributions.FloatDistribution(value.low, value.high, log=value.log)
