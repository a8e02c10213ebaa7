"""The shape of report.json. ``schemas/report.schema.json`` is written from it for readers in other languages.

New fields may be added under the same format number; a field that is renamed or removed raises it.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal

import pydantic

__all__ = ["SCHEMA_FILE", "Report", "check", "json_schema"]

SCHEMA_FILE = Path(__file__).with_name("schemas") / "report.schema.json"

Number = float | None
Bounds = tuple[Number, Number]
Direction = Literal["lower", "higher", "target"]
Nested = dict[str, dict[str, dict[str, float]]]


class _Part(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Entry(pydantic.BaseModel):
    """One metric of one model, as metrics.json of its evaluation holds it; an evaluation may say more."""

    model_config = pydantic.ConfigDict(extra="allow", frozen=True, allow_inf_nan=False)

    value: Number
    interval: Bounds
    interval_level: float
    floor: dict[str, Number]
    chance: Number
    optimum: Number
    direction: Direction
    n: int
    n_excluded: int
    title: str
    notes: list[str]
    ceiling: dict[str, Number] = {}
    share_of_range: Number = None
    degenerate: dict[str, Number] = {}


class Dataset(_Part):
    """What was measured."""

    dataset: str
    dataset_hash: str
    n_cells: int
    n_genes: int
    n_conditions: int
    contexts: list[str]
    scale: str | None


class Fold(_Part):
    """One fold of the split: counts by part."""

    fold: int
    held_out: str
    conditions: dict[str, int]
    cells: dict[str, int]
    seed: int
    sha256: str


class Versus(_Part):
    """The champion beside a floor; ``difference`` is champion minus floor, in the units of the metric."""

    verdict: Literal["better", "worse", "no clear difference", "same", "itself", "unknown"]
    difference: Number
    interval: Bounds
    p_adjusted: Number
    n: int
    wins: int
    said: str


class Answers(_Part):
    """Is the champion better than doing nothing, than the mean, and how far from what the data allow?"""

    versus_control: Versus
    versus_train_mean: Versus
    share_of_range: Number


class PairedModel(_Part):
    """One model of a paired comparison; the baseline has no difference."""

    value: float
    interval: Bounds
    seeds: list[int | None]
    difference: Number = None
    difference_interval: Bounds = (None, None)
    p_value: Number = None
    p_adjusted: Number = None
    verdict: Literal["better", "worse", "undecided"] | None = None


class Paired(_Part):
    """All candidates beside a floor, on the conditions that all of them have a value for."""

    format: Literal["perturbcast.comparison/1"]
    metric_id: str
    direction: Direction
    baseline: str
    part: str
    n: int
    n_excluded: int
    interval_level: float
    adjustment: str
    seed: int
    models: dict[str, PairedModel]


class Overall(_Part):
    """A model over all splits, by validation."""

    model: str
    mean_rank: float
    share_of_range: Number
    n_splits: int
    n_shares: int


class Check(_Part):
    """One check for leaks; ``passed`` is null where it could not be made."""

    check: str
    passed: bool | None
    said: str


class Condition(_Part):
    """A condition and every model's value there."""

    context: str
    perturbation: str
    values: dict[str, Number]


class Coverage(_Part):
    """Intervals of one nominal level: share of genes held, and mean full width."""

    level: float
    coverage: Number
    mean_width: Number
    n_conditions: int


class RiskCoverage(_Part):
    """Mean risk of the surest share of conditions."""

    coverage: list[float]
    risk: list[float]
    risk_unit: str


class Curves(_Part):
    """What a model says of its own certainty; empty and null where it says nothing."""

    intervals: dict[str, list[Coverage]]
    risk_coverage: RiskCoverage | None


class Example(_Part):
    """Changes of up to 500 genes in one condition."""

    context: str
    perturbation: str
    place: Literal["best", "worst"]
    metric_id: str
    score: float
    genes: list[str]
    measured: list[float]
    predicted: list[float]
    half_width_90: list[Number] | None


class Stratum(_Part):
    """One metric of one model on the conditions of a stratum."""

    value: float
    interval: Bounds
    n: int


class Provenance(_Part):
    """Where the scores of one model come from."""

    command: str
    seed: int
    model_seed: int | None
    panel: str
    bootstrap_resamples: int
    versions: dict[str, str]
    models: list[str]
    sha256: dict[str, str]


class SplitReport(_Part):
    """Everything about one split."""

    dataset: Dataset
    rule: str
    parameters: dict[str, Any]
    config_sha256: str
    ood_axes: list[str]
    warnings: list[str]
    folds: list[Fold]
    champion: str
    validation: dict[str, Number]
    tied_on_validation: list[str]
    best_on_test: list[str]
    oracles: list[str]
    metrics: list[str]
    primary: list[str]
    models: dict[str, dict[str, Entry]]
    answers: Answers
    paired: dict[str, Paired]
    leaks: list[Check]
    per_context: Nested
    per_perturbation: Nested
    strata: dict[str, dict[str, dict[str, Stratum]]]
    worst_conditions: list[Condition]
    curves: dict[str, Curves]
    examples: list[Example]
    provenance: dict[str, Provenance]


class Report(_Part):
    """The report of a run: its splits, and the rule by which their champions were chosen."""

    format: Literal["perturbcast.report/1"]
    metric: str
    rule: str
    direction: Direction
    overall_rule: str | None = None
    overall: list[Overall] = []
    splits: dict[str, SplitReport]


def check(report: dict[str, Any]) -> None:
    """Refuse a report that is not of the published shape.

    Raises:
        ValueError: a field is missing, of the wrong kind, or not known.
    """
    try:
        Report.model_validate(report)
    except pydantic.ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        raise ValueError(
            f"A report has the shape of {SCHEMA_FILE.name}; {error.error_count()} fields do not, first {place}: "
            f"{first['msg']}. Run 'perturbcast evaluate' again, or state the new field in report_schema.py."
        ) from error


def json_schema() -> str:
    """The text of the published schema."""
    schema = {"$schema": "https://json-schema.org/draft/2020-12/schema"} | Report.model_json_schema()
    return json.dumps(schema, indent=1, sort_keys=True) + "\n"
