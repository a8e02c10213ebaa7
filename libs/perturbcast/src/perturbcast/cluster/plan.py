"""Which stages have to run, and the arrays that they become: one per stage name, in an order that the graph allows."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any

from perturbcast.errors import UsageError

__all__ = ["Array", "Plan", "Stage", "make_plan", "needed", "unmade"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Stage:
    """One stage of the expanded pipeline.

    Attributes:
        name: ``train@SPLIT-MODEL``, or ``report``.
        command: what a task runs.
        inputs: paths that it reads.
        outputs: paths that it writes.
        after: stages that run before it.
    """

    name: str
    command: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    after: tuple[str, ...]

    @property
    def group(self) -> str:
        """The name before ``@``."""
        return self.name.partition("@")[0]

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Stage:
        lists = {key: tuple(value[key]) for key in ("inputs", "outputs", "after")}
        return cls(name=value["name"], command=value["command"], **lists)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Array:
    """Stages that run side by side.

    Attributes:
        group: the stages' common name.
        stages: in the order of the task numbers.
        after: groups that have to end before, and to end well.
        whatever: it runs also where they did not end well.
        like: name in the site file whose resources a task asks for; the group's own if empty.
    """

    group: str
    stages: tuple[Stage, ...]
    after: tuple[str, ...]
    whatever: bool = False
    like: str = ""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Plan:
    """Everything that a submission runs.

    Attributes:
        commit: git commit of the code and of dvc.yaml.
        params: sha256 of params.yaml.
        arrays: each after those that it waits for.
    """

    commit: str
    params: str
    arrays: tuple[Array, ...]

    @property
    def stages(self) -> tuple[Stage, ...]:
        return tuple(stage for array in self.arrays for stage in array.stages)

    @property
    def name(self) -> str:
        """Commit and content of the plan in a few letters: the same plan has the same name."""
        digest = hashlib.sha256(json.dumps(self.to_json(), sort_keys=True).encode()).hexdigest()
        return f"{self.commit[:8]}-{digest[:8]}"

    def array(self, group: str) -> Array:
        """The array of a group.

        Raises:
            UsageError: the plan has none of the name.
        """
        for array in self.arrays:
            if array.group == group:
                return array
        known = ", ".join(array.group for array in self.arrays)
        raise UsageError(f"A task belongs to an array of its plan; {group!r} is none of {known}.")

    def to_json(self) -> dict[str, Any]:
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Plan:
        arrays = tuple(
            Array(
                group=array["group"],
                stages=tuple(Stage.from_json(stage) for stage in array["stages"]),
                after=tuple(array["after"]),
                whatever=array["whatever"],
                like=array["like"],
            )
            for array in value["arrays"]
        )
        return cls(commit=value["commit"], params=value["params"], arrays=arrays)


def needed(
    stages: Sequence[Stage], *, changed: Collection[str], present: Collection[str], targets: Collection[str] = ()
) -> list[Stage]:
    """Stages that have to run, in the order of the pipeline.

    Args:
        stages: the whole pipeline.
        changed: names of stages that DVC would run.
        present: outputs that exist.
        targets: names of stages, or of groups, that are wanted (with what they need); empty for the whole pipeline.

    Raises:
        UsageError: a target is no stage and no group.
    """
    ordered = _ordered(stages)
    known = {stage.name for stage in stages} | {stage.group for stage in stages}
    unknown = sorted(set(targets) - known)
    if unknown:
        groups = ", ".join(dict.fromkeys(stage.group for stage in ordered))
        raise UsageError(f"Stages to submit are stages of dvc.yaml; {', '.join(unknown)} unknown. Known: {groups}.")
    wanted = {stage.name for stage in stages if not targets or stage.name in targets or stage.group in targets}
    for stage in reversed(ordered):
        if stage.name in wanted:
            wanted |= set(stage.after)
    runs: set[str] = set()
    for stage in ordered:
        missing = not set(stage.outputs) <= set(present)
        if stage.name in wanted and (stage.name in changed or missing or runs & set(stage.after)):
            runs.add(stage.name)
    return [stage for stage in ordered if stage.name in runs]


def unmade(runs: Iterable[Stage], stages: Iterable[Stage]) -> dict[str, list[str]]:
    """Stage -> inputs that no stage of the pipeline makes; those have to be there before anything runs.

    Args:
        runs: the stages that have to run.
        stages: the whole pipeline.
    """
    made = [PurePosixPath(path) for stage in stages for path in stage.outputs]

    def is_made(path: PurePosixPath) -> bool:  # an input is an output, a part of one, or a folder that holds some
        return any(path.is_relative_to(output) or output.is_relative_to(path) for output in made)

    left = {stage.name: [path for path in stage.inputs if not is_made(PurePosixPath(path))] for stage in runs}
    return {name: paths for name, paths in left.items() if paths}


def make_plan(stages: Iterable[Stage], *, commit: str, params: str) -> Plan:
    """One array per group of ``stages``.

    Raises:
        ValueError: two groups wait for each other, so that arrays of whole groups have no order.
    """
    chosen = list(stages)
    group_of = {stage.name: stage.group for stage in chosen}
    after: dict[str, set[str]] = {stage.group: set() for stage in chosen}
    for stage in chosen:
        after[stage.group] |= {group_of[name] for name in stage.after if name in group_of} - {stage.group}
    arrays: list[Array] = []
    while len(arrays) < len(after):
        done = {array.group for array in arrays}
        ready = [group for group in after if group not in done and after[group] <= done]
        if not ready:
            left = ", ".join(sorted(set(after) - done))
            raise ValueError(
                f"Stages of one name run as one array; {left} wait for each other. Submit them by stage name, in steps."
            )
        for group in ready:
            members = tuple(stage for stage in chosen if stage.group == group)
            arrays.append(Array(group=group, stages=members, after=tuple(sorted(after[group]))))
    return Plan(commit=commit, params=params, arrays=tuple(arrays))


def _ordered(stages: Sequence[Stage]) -> list[Stage]:
    """Each stage behind those that it waits for; otherwise as given."""
    left = {stage.name: stage for stage in stages}
    ordered: list[Stage] = []
    while left:
        ready = [stage for stage in left.values() if not set(stage.after) & set(left)]
        if not ready:
            raise ValueError(f"A pipeline has no circles; {', '.join(left)} wait for each other. Mend dvc.yaml.")
        ordered += ready
        for stage in ready:
            del left[stage.name]
    return ordered
