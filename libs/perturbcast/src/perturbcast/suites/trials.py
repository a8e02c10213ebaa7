"""One configuration of a model: what a run trains, with a name that its content gives."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

from perturbcast import catalog
from perturbcast.schema import canonical_hash
from perturbcast.suites.sections import Budget

__all__ = ["Trial", "make_trial"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Trial:
    """A configuration.

    Attributes:
        name: of the model in tables and folders.
        family: the model that it is a configuration of; its own name in a suite.
        plugin: module in ``models/``.
        parameters: every field of its ``Config``, defaults among them.
        sha256: of plugin and parameters; the seed is not in it.
        drawn: the values that a search drew; empty in a suite.
        number: of the trial in Optuna's study; None where Optuna had no part.
    """

    name: str
    family: str
    plugin: str
    parameters: Mapping[str, Any]
    sha256: str
    drawn: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    number: int | None = None


def make_trial(
    family: str,
    *,
    plugin: str,
    parameters: Mapping[str, Any],
    budget: Budget,
    drawn: Mapping[str, Any] | None = None,
    number: int | None = None,
) -> Trial:
    """Complete and check a configuration; one that was drawn is named after its hash.

    Raises:
        UsageError: the plugin or a field is unknown, or a value does not fit.
    """
    config = catalog.configure("models", plugin, parameters)
    known = {field.name for field in dataclasses.fields(config)}
    if "steps" in known and (budget.steps or budget.samples):
        steps = budget.steps or math.ceil(float(budget.samples or 0) / config.batch)
        config = dataclasses.replace(config, steps=steps)
    complete = dataclasses.asdict(config)
    digest = canonical_hash({"plugin": plugin, "parameters": complete})
    return Trial(
        name=family if drawn is None else f"{family}-{digest[:8]}",
        family=family,
        plugin=plugin,
        parameters=complete,
        sha256=digest,
        drawn=dict(drawn or {}),
        number=number,
    )
