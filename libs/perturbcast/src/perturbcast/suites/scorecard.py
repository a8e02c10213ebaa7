"""The choice of a suite by validation scores, and the table of all its runs.

A model is a candidate where every one of its seeds ran: it is judged by all of them, never by those that went well.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Iterable, Mapping
from typing import Any

import numpy as np
import pandas as pd

from perturbcast.evaluation.directory import Stored, read_directory
from perturbcast.evaluation.leaderboard import leaderboard
from perturbcast.metrics import metric as descriptor
from perturbcast.suites.folder import Run, SuiteFolder
from perturbcast.suites.ledger import failure, record_of

__all__ = ["Scorecard", "candidates", "choose", "finalists", "losses"]

PROVENANCE = ("commit", "versions", "dataset", "dataset_sha256", "split_sha256", "model_fingerprints", "commands")
TAKEN = ("wall_s", "cpu_s", "peak_rss_mb", "peak_gpu_mb", "steps")
COLUMNS = ("split", "model", "family", "seed", "state", "reason", "config_sha256", "validation", "test", *TAKEN)


def candidates(folder: SuiteFolder) -> dict[str, dict[str, list[Run]]]:
    """Split -> model -> its runs, of models that ended well with every seed."""
    found: dict[str, dict[str, list[Run]]] = {}
    for run in folder.runs():
        found.setdefault(run.split, {}).setdefault(run.trial.name, []).append(run)
    return {
        split: {name: runs for name, runs in models.items() if not any(map(failure, runs))}
        for split, models in found.items()
    }


def choose(folder: SuiteFolder, *, oracles: Collection[str]) -> dict[str, Any]:
    """The leaderboard of a suite, from its validation scores.

    Args:
        folder: the suite.
        oracles: plugins that know the truth: shown, never chosen.

    Raises:
        ValueError: no model ended well, or a directory of validation scores holds others.
    """
    evaluations: dict[str, dict[str, Stored]] = {}
    knowing = {trial.name for trial in folder.trials() if trial.plugin in oracles}
    for split, models in candidates(folder).items():
        for name, runs in models.items():
            first, *others = (read_directory(run.evaluation("validation")) for run in runs)
            of_split = evaluations.setdefault(split, {})
            of_split[name] = first
            of_split |= {f"{name} seed {run.seed}": one for run, one in zip(runs[1:], others, strict=True)}
    # a split that only its oracle can answer has nothing to choose from
    evaluations = {split: found for split, found in evaluations.items() if {s.model for s in found.values()} - knowing}
    if not evaluations:
        why = next(filter(None, map(failure, folder.runs())), "no run was drawn")
        raise ValueError(
            f"A choice needs a model that ended well with every seed; in {folder.path} there is none. The first "
            f"failure: {why}. Mend it and run again with --retry."
        )
    return leaderboard(evaluations, metric_id=folder.section.metric, oracles=knowing)


def finalists(board: Mapping[str, Any], *, count: int) -> dict[str, list[str]]:
    """Split -> its ``count`` best models by validation, best first."""
    ranked = {
        split: sorted((c["rank"], name) for name, c in choice["candidates"].items() if c["rank"] is not None)
        for split, choice in board["splits"].items()
    }
    return {split: [name for _, name in models[:count]] for split, models in ranked.items()}


def losses(folder: SuiteFolder, *, rounds: Iterable[int]) -> dict[str, dict[int, float | None]]:
    """Model -> number of a trial -> its validation loss (smaller is better), None where a seed failed.

    The loss is the mean over splits of the mean over seeds: give splits of one scale to a sweep that looks at it.
    """
    loss = descriptor(folder.section.metric).loss
    found: dict[str, dict[int, float | None]] = {}
    for number in rounds:
        of_round = folder.runs(number)
        for trial in folder.round(number) or ():
            assert trial.number is not None
            runs = [run for run in of_round if run.trial == trial]
            values = [_value(_scores(run, "validation"), folder.section.metric) for run in runs if failure(run) is None]
            known = [loss(value) for value in values if value is not None]
            whole = len(known) == len(runs)
            found.setdefault(trial.family, {})[trial.number] = float(np.mean(known)) if whole else None
    return found


@dataclasses.dataclass(frozen=True, kw_only=True)
class Scorecard:
    """Every run of a suite, one row each, and the finalists' scores of all parts.

    Attributes:
        rows: of ``scorecard.json``: state and reason, configuration and hash, score, what it took, provenance.
        finals: split -> finalist -> seed -> part -> metric id -> entry of metrics.json.
    """

    rows: list[dict[str, Any]]
    finals: dict[str, dict[str, dict[str, Any]]]

    @classmethod
    def of(cls, folder: SuiteFolder, *, chosen: Mapping[str, Collection[str]]) -> Scorecard:
        """Read records and scores.

        Args:
            folder: the suite.
            chosen: finalists of each split, whose test scores are there.
        """
        rows: list[dict[str, Any]] = []
        finals: dict[str, dict[str, dict[str, Any]]] = {}
        for run in folder.runs():
            record, why = record_of(run) or {}, failure(run)
            scores = {part: _scores(run, part) for part in ("validation", "test")} if why is None else {}
            is_final = why is None and run.trial.name in chosen.get(run.split, ())
            if not is_final:
                scores.pop("test", None)
            rows.append(
                {
                    "split": run.split,
                    "model": run.trial.name,
                    "family": run.trial.family,
                    "plugin": run.trial.plugin,
                    "parameters": dict(run.trial.parameters),
                    "drawn": dict(run.trial.drawn),
                    "config_sha256": run.trial.sha256,
                    "seed": run.seed,
                    "state": record.get("state", "missing"),
                    "reason": why or "",
                    "finalist": is_final,
                    "budget": folder.section.budget.model_dump(),
                    **{p: _value(scores.get(p), folder.section.metric) for p in ("validation", "test")},
                    **{name: record.get(name) for name in (*TAKEN, *PROVENANCE)},
                }
            )
            if is_final:
                finals.setdefault(run.split, {}).setdefault(run.trial.name, {})[str(run.seed)] = scores
        return cls(rows=rows, finals=finals)

    def table(self) -> pd.DataFrame:
        """The rows without what does not fit a cell."""
        return pd.DataFrame(self.rows, columns=list(COLUMNS))

    def to_json(self, folder: SuiteFolder) -> dict[str, Any]:
        families = [trial.family for trial in folder.trials()]
        return {
            "format": "perturbcast.scorecard/1",
            "kind": folder.kind,
            "name": folder.path.name,
            "metric": folder.section.metric,
            "selected_on": "validation",
            "seeds": list(folder.section.seeds),
            "trials": {family: families.count(family) for family in folder.section.models},
            "rows": self.rows,
            "finalists": self.finals,
        }


def _scores(run: Run, part: str) -> dict[str, Any] | None:
    directory = run.evaluation(part)
    return dict(read_directory(directory).evaluation.metrics) if directory.is_dir() else None


def _value(scores: Mapping[str, Any] | None, metric: str) -> float | None:
    return None if scores is None or metric not in scores else scores[metric]["value"]
