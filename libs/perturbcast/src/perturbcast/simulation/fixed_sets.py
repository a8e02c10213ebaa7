"""The fixed validation and test sets of a registry, and whether training saw their graphs.

Observational and interventional sets have seeds of their own, so that one can be published and the other kept.
"""

from __future__ import annotations

import dataclasses
import io
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from perturbcast.errors import UsageError
from perturbcast.simulation.causal_graph import CausalGraph
from perturbcast.simulation.seed_registry import KINDS, SeedRegistry
from perturbcast.simulation.seeding import Part, stream
from perturbcast.simulation.tasks import Task, draw_task
from perturbcast.stores.atomic import write_bytes

__all__ = ["Collisions", "FixedSet", "collisions", "fixed_set", "write_fixed_set"]


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class FixedSet:
    """Tasks of one part and kind: T seeds of every family.

    Attributes:
        part: ``validation`` or ``test``.
        kind: ``observational`` (no interventional rows) or ``interventional``.
        tasks: by family name, in the order of ``seeds``.
        seeds: of the registry.
    """

    part: str
    kind: str
    tasks: dict[str, tuple[Task, ...]]
    seeds: tuple[int, ...]


def fixed_set(registry: SeedRegistry, part: str, kind: str) -> FixedSet:
    """Draw a fixed set; always the same for a registry.

    An observational set has no environments; an interventional one at least one, whatever the family says.

    Raises:
        UsageError: an unknown part or kind.
    """
    if part not in ("validation", "test") or kind not in KINDS:
        raise UsageError(
            f"Fixed sets are validation or test, {' or '.join(KINDS)}; {part!r}, {kind!r} is none of them."
        )
    families = registry.validation if part == "validation" else registry.test
    seeds = (registry.validation_seeds if part == "validation" else registry.test_seeds)[kind]
    code = Part.VALIDATION if part == "validation" else Part.TEST
    tasks = {}
    for name, family in families.items():
        environments = 0 if kind == "observational" else max(1, family.environments)
        own = dataclasses.replace(family, environments=environments)
        tasks[name] = tuple(draw_task(own, stream(seed, code, KINDS.index(kind))) for seed in seeds)
    return FixedSet(part=part, kind=kind, tasks=tasks, seeds=seeds)


def write_fixed_set(fixed: FixedSet, path: Path) -> None:
    """One .npz: per task ``FAMILY/SEED/`` edges [edge, 2], order, observational, interventional [sample, node],
    targets and values [environment, target]; ``index`` is JSON with families, seeds and kinds of intervention.
    """
    arrays: dict[str, np.ndarray] = {}
    kinds = {}
    for name, tasks in fixed.tasks.items():
        for seed, task in zip(fixed.seeds, tasks, strict=True):
            key = f"{name}/{seed}"
            arrays |= {
                f"{key}/edges": task.graph.edges,
                f"{key}/order": task.graph.order,
                f"{key}/observational": task.observational,
            }
            if task.interventions:
                arrays |= {
                    f"{key}/interventional": task.interventional,
                    f"{key}/targets": np.array([done.targets for done in task.interventions]),
                    f"{key}/values": np.array([done.values for done in task.interventions]),
                }
                kinds[key] = task.interventions[0].kind
    index = {
        "part": fixed.part,
        "kind": fixed.kind,
        "seeds": fixed.seeds,
        "families": list(fixed.tasks),
        "kinds": kinds,
    }
    arrays["index"] = np.array(json.dumps(index, sort_keys=True))
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, **arrays)
    write_bytes(path, buffer.getvalue())


@dataclasses.dataclass(frozen=True, kw_only=True)
class Collisions:
    """Graphs that two sets share, up to node names.

    Attributes:
        pairs: (index in the first set, index in the second), confirmed isomorphic.
        n_first, n_second: sizes of the sets.
    """

    pairs: tuple[tuple[int, int], ...]
    n_first: int
    n_second: int

    @property
    def share(self) -> float:
        """Share of the second set that the first holds too."""
        return len({second for _, second in self.pairs}) / max(self.n_second, 1)


def collisions(first: Sequence[CausalGraph], second: Sequence[CausalGraph]) -> Collisions:
    """Find shared structures: by Weisfeiler-Lehman hash first, confirmed by an exact isomorphism test."""
    by_hash: dict[str, list[int]] = {}
    for i, graph in enumerate(first):
        by_hash.setdefault(graph.structure_hash(), []).append(i)
    pairs = tuple(
        (i, j)
        for j, graph in enumerate(second)
        for i in by_hash.get(graph.structure_hash(), [])
        if first[i].same_structure(graph)
    )
    return Collisions(pairs=pairs, n_first=len(first), n_second=len(second))
