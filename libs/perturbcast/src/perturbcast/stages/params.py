"""params.yaml at the edge: read once, checked, refused with the name of the field that is wrong."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pydantic
import yaml

from perturbcast import catalog
from perturbcast.errors import UsageError

__all__ = ["DEFAULT", "Params", "SplitParams", "in_words", "model_plugin", "options", "read"]

DEFAULT = Path("params.yaml")
SHOWN = 80  # characters of a value in a message


class _Strict(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="forbid", frozen=True)


class SplitParams(_Strict):
    """One split: a rule on a dataset, with the rule's parameters."""

    dataset: str
    rule: str
    config: dict[str, Any] = {}


class Run(_Strict):
    """What the pipeline runs: every named model on every named split."""

    splits: list[str]
    models: list[str]


class Params(_Strict):
    """The whole file."""

    seed: int
    datasets: list[str]
    min_cells: int
    splits: dict[str, SplitParams]
    models: dict[str, dict[str, Any]]
    run: Run
    oracle: Run = Run(splits=[], models=[])
    selection: dict[str, str]
    simulate: dict[str, Any]
    suites: dict[str, Any] = {}  # checked by 'perturbcast suite' and 'perturbcast sweep', which read them
    sweeps: dict[str, Any] = {}

    def models_of(self, split: str) -> list[str]:
        """Models that the pipeline runs on a split, its oracles among them."""
        sections = [run for run in (self.run, self.oracle) if split in run.splits]
        return sorted({name for run in sections for name in run.models})

    @pydantic.model_validator(mode="after")
    def _names_exist(self) -> Params:
        for section, run in (("run", self.run), ("oracle", self.oracle)):
            for kind, named, known in (("splits", run.splits, self.splits), ("models", run.models, self.models)):
                unknown = sorted(set(named) - set(known))
                if unknown:
                    raise ValueError(f"{section}.{kind} names {', '.join(unknown)}; {kind} has {', '.join(known)}")
        return self


def read(path: Path = DEFAULT) -> Params:
    """Read and check params.yaml.

    Raises:
        UsageError: the file is absent, or a field is missing, unknown or of the wrong type.
    """
    if not path.is_file():
        raise UsageError(
            f"The pipeline's numbers are in params.yaml; {path} does not exist. Run in the repository root."
        )
    try:
        return Params.model_validate(yaml.safe_load(path.read_text()))
    except (pydantic.ValidationError, yaml.YAMLError) as error:
        raise UsageError(f"{path} does not fit the pipeline: {in_words(error)}") from error


def in_words(error: pydantic.ValidationError | yaml.YAMLError) -> str:
    """Which fields of a file are wrong, and how, at most three; of a value of several forms, the nearest form.

    A form that a value is not is told in the field's own place, what is wrong inside a form further down.
    """
    if not isinstance(error, pydantic.ValidationError):
        return str(error)
    found = error.errors(include_url=False)
    deepest = max(len(one["loc"]) for one in found)
    said = []
    for one in found:
        if len(one["loc"]) == deepest:
            where = ".".join(str(part) for part in one["loc"] if not set("[(") & set(str(part)))
            value = repr(one["input"])
            shown = value if len(value) <= SHOWN else f"{value[:SHOWN]}..."
            said.append(f"{where or 'the whole file'} = {shown}: {one['msg'].removeprefix('Value error, ')}")
    return "; ".join(said[:3])


def model_plugin(name: str, overrides: dict[str, Any], path: Path | None = None) -> tuple[str, Any]:
    """The plugin and ``Config`` of a model name.

    A name in ``models:`` of params.yaml brings its section (``plugin`` where it differs from the name, and the
    fields); another name is that of a plugin with its defaults. ``overrides`` come last.

    Raises:
        UsageError: neither knows the name, or a field does not fit.
    """
    section: dict[str, Any] = {}
    if path is not None or DEFAULT.is_file():
        section = dict(read(path or DEFAULT).models.get(name, {}))
    plugin = str(section.pop("plugin", name))
    return plugin, catalog.configure("models", plugin, section | overrides)


def options(words: list[str]) -> dict[str, str]:
    """Fields of a ``Config`` given on the command line as ``--field value`` or ``--field=value``.

    Raises:
        UsageError: a word is not an option, or has no value.
    """
    found: dict[str, str] = {}
    left = list(words)
    while left:
        word = left.pop(0)
        name, equals, value = word.partition("=")
        if not name.startswith("--") or (not equals and not left):
            raise UsageError(f"Parameters are given as --NAME VALUE; {word!r} does not fit. See --help for the names.")
        found[name[2:].replace("-", "_")] = value if equals else left.pop(0)
    return found
