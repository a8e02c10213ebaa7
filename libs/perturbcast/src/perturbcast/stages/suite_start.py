"""Starts a suite or sweep from its section, or finds the one that was started: folds and configurations on disk."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pydantic
import yaml

from perturbcast import catalog, splits
from perturbcast.errors import UsageError
from perturbcast.metrics import metric as descriptor
from perturbcast.metrics import panel
from perturbcast.schema import Split
from perturbcast.stages import params
from perturbcast.stages.layout import ARTIFACTS, dataset_file, split_files
from perturbcast.stores import h5ad
from perturbcast.stores.atomic import write_bytes
from perturbcast.suites import Range, Section, SuiteFolder, Sweep, Trial, drawn, free, grid, losses, make_trial

__all__ = ["advance", "start"]


class _File(pydantic.BaseModel):
    """The sections of params.yaml, or of a file in the same form, that suites and sweeps read."""

    model_config = pydantic.ConfigDict(extra="forbid", frozen=True)

    suites: dict[str, Section] = {}
    sweeps: dict[str, Sweep] = {}
    models: dict[str, dict[str, Any]] = {}
    splits: dict[str, params.SplitParams] = {}
    seed: int = 0


def start(kind: str, name: str, *, file: Path, out: Path | None) -> SuiteFolder:
    """Read the section, freeze its folds, and write the configurations that are known at once.

    Args:
        kind: ``suite`` or ``sweep``.
        name: of the section in ``suites:`` or ``sweeps:``.
        file: params.yaml, or a file in the same form.
        out: folder of the suite; by default ``artifacts/suites/NAME`` or ``artifacts/sweeps/NAME``.

    Raises:
        UsageError: file, section, split, model, metric or panel is unknown, or a field does not fit.
        ValueError: the folder was started with something else.
    """
    read = _read(file, kind, name)
    sections: dict[str, Any] = dict(read.suites if kind == "suite" else read.sweeps)
    section: Section | Sweep = sections[name]
    scored = {measure.metric.id for measure in panel(section.panel)}
    if descriptor(section.metric).id not in scored:
        raise UsageError(
            f"A {kind} decides by a metric that it scores; panel {section.panel!r} has no {section.metric!r}. "
            "Name another panel, or 'all'."
        )
    section = _resolved(section, read)
    _known_at_once(section)  # all of this is refused before anything is written
    planned = SuiteFolder(path=out or ARTIFACTS / f"{kind}s" / name, kind=kind, section=section)
    _check_graphs(section)
    made = {split: _folds(planned, split, read) for split in planned.splits}
    folder = SuiteFolder.start(planned.path, kind, section)
    for split, folds in made.items():
        for fold in folds:
            splits.freeze(fold, folder.split(split) / f"fold_{fold.fold}.json")
    configurations = _known_at_once(folder.section)
    if configurations is not None and folder.round(0) is None:
        _write_round(folder, 0, configurations)
    return folder


def advance(folder: SuiteFolder, number: int) -> None:
    """Draw the configurations of a round, if nobody did: the scores of the rounds before decide.

    Raises:
        UsageError: Optuna is not installed.
    """
    if folder.round(number) is not None:
        return
    from perturbcast.suites.tpe import ask  # an optional library stands behind it

    assert isinstance(folder.section, Sweep)
    scores = losses(folder, rounds=range(number))
    asked = ask(folder.section, number, scores=scores, storage=folder.path / "optuna.db")
    trials = [
        _trial(family, values, folder.section, number=place)
        for family, of_family in asked.items()
        for place, values in of_family
    ]
    _write_round(folder, number, trials)


def _read(file: Path, kind: str, name: str) -> _File:
    """The section of a suite, and what it may refer to: a fault in another suite's section is not this one's."""
    if not file.is_file():
        raise UsageError(f"A {kind} is described in params.yaml or a file in the same form; {file} does not exist.")
    try:
        value = yaml.safe_load(file.read_text()) or {}
        others = set(params.Params.model_fields) - set(_File.model_fields)
        value = {field: found for field, found in value.items() if field not in others}
        sections = value.get(f"{kind}s") or {}
        if name not in sections:
            raise UsageError(
                f"A {kind} is a section of {kind}s: in {file}; {name!r} is not there. There is: "
                f"{', '.join(map(str, sections)) or 'none'}."
            )
        return _File.model_validate(value | {"suites": {}, "sweeps": {}} | {f"{kind}s": {name: sections[name]}})
    except AttributeError as error:
        raise UsageError(f"{file} is a table of sections, like params.yaml; it is another kind of YAML.") from error
    except (pydantic.ValidationError, yaml.YAMLError) as error:
        raise UsageError(
            f"{file} does not describe this {kind}: {params.in_words(error)}. docs/guides/sweeps.md shows the sections."
        ) from error


def _resolved(section: Section | Sweep, read: _File) -> Section | Sweep:
    """The section with each model's own section of ``models:`` in it, so that the folder says all there is to say."""
    models: Mapping[str, Mapping[str, Any]] = (
        section.models if isinstance(section.models, dict) else {name: {} for name in section.models}
    )
    complete = {name: {**read.models.get(name, {}), **values} for name, values in models.items()}
    return type(section).model_validate(section.model_dump() | {"models": complete})


def _known_at_once(section: Section | Sweep) -> list[Trial] | None:
    """All configurations, or None where scores decide which."""
    if isinstance(section, Section):
        assert isinstance(section.models, dict)
        return [_trial(name, values, section) for name, values in section.models.items()]
    for family, space in section.models.items():  # what the model does not take is known before anything runs
        first = {field: _ends(value)[0] for field, value in space.items()}
        for field, value in space.items():
            for end in _ends(value):
                _trial(family, first | {field: end}, section)
    if section.method == "tpe":
        return None
    points = grid(section) if section.method == "grid" else drawn(section)
    return [_trial(family, values, section) for family, of_family in points.items() for values in of_family]


def _ends(value: Any) -> list[Any]:
    """The values that a field may have at its furthest: every choice, both ends of a range, or what is fixed."""
    if isinstance(value, Range):
        return [int(end) if value.integer else end for end in (value.low, value.high)]
    return value if isinstance(value, list) else [value]


def _check_graphs(section: Section | Sweep) -> None:
    folders = [ARTIFACTS / "graphs" / split / name for split in section.splits for name in section.training.graphs]
    absent = [str(folder) for folder in folders if not folder.is_dir()]
    if absent:
        raise UsageError(
            f"Graphs of a suite are built before it starts; {', '.join(absent[:3])} not there. Build with 'perturbcast "
            "graph build --split artifacts/splits/SPLIT --out artifacts/graphs/SPLIT/NAME'."
        )


def _trial(family: str, values: Mapping[str, Any], section: Section | Sweep, *, number: int | None = None) -> Trial:
    parameters = dict(values)
    plugin = str(parameters.pop("plugin", family))
    names = free(section.models[family]) if isinstance(section, Sweep) else None
    return make_trial(
        family,
        plugin=plugin,
        parameters=parameters,
        budget=section.budget,
        drawn=None if names is None else {name: parameters[name] for name in names},
        number=number,
    )


def _folds(folder: SuiteFolder, name: str, read: _File) -> list[Split]:
    """Folds for the suite's folder: those that are frozen already, or made by the rule; none once it has its own."""
    section = folder.section
    frozen = ARTIFACTS / "splits" / name
    form = section.splits[name] if isinstance(section.splits, dict) else read.splits.get(name)
    wanted = None if section.folds is None else set(section.folds)
    if not isinstance(section.splits, dict) and frozen.is_dir():
        made = [splits.load(file) for file in split_files(frozen)]
    elif folder.split(name).is_dir():
        return []
    elif form is None:
        raise UsageError(
            f"A split is frozen in {frozen}, or described in splits:; {name!r} is neither. Make it with "
            "'perturbcast split', or give its dataset, rule and config."
        )
    else:
        data = h5ad.read(Path(section.datasets.get(form.dataset, dataset_file(form.dataset))))
        made = splits.make(data, form.rule, config=catalog.configure("splits", form.rule, form.config), seed=read.seed)
    absent = sorted((wanted or set()) - {one.fold for one in made})
    if absent:
        raise UsageError(f"Folds are numbered; {name!r} has 0 to {len(made) - 1} and no {', '.join(map(str, absent))}.")
    return [one for one in made if wanted is None or one.fold in wanted]


def _write_round(folder: SuiteFolder, number: int, trials: list[Trial]) -> None:
    """The parameter file first: a round that is there can be run."""
    models = {one.name: {"plugin": one.plugin, **one.parameters} for one in [*folder.trials(), *trials]}
    value = {
        **{"seed": 0, "datasets": [], "min_cells": 0, "splits": {}, "selection": {}, "simulate": {}},
        "run": {"splits": [], "models": []},
        "models": json.loads(json.dumps(models)),  # YAML has no tuples
    }
    write_bytes(folder.params, yaml.safe_dump(value, sort_keys=False).encode())
    folder.write_round(number, trials)
