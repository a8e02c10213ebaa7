"""Which seeds train, validate and test: one JSON file in the run directory, never changed once written.

Training tasks are numbered. Worker w of W on rank r of R takes the positions i with i mod (R W) = r W + w, and
task i depends on i alone: streams are disjoint, together complete, and continue from any position under any
other number of ranks and workers.

Small graphs are few, so that train and test would share them whatever the seeds. Up to ``separate_up_to``
nodes the graphs themselves are divided, by their hash: a tenth to test, a tenth to validation, the rest to
training.
"""

from __future__ import annotations

import dataclasses
import itertools
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from perturbcast.simulation.causal_graph import CausalGraph
from perturbcast.simulation.seeding import Part, stream
from perturbcast.simulation.tasks import Task, TaskFamily, draw_graph, draw_task
from perturbcast.stores.atomic import write_bytes

__all__ = ["KINDS", "SeedRegistry", "TrainingStream", "choose_seeds", "in_share"]

FORMAT = "perturbcast.seeds/1"
KINDS = ("observational", "interventional")
ATTEMPTS = 10_000
SHARES = {Part.TEST: range(0, 1), Part.VALIDATION: range(1, 2), Part.TRAINING: range(2, 10)}


def in_share(graph: CausalGraph, part: Part) -> bool:
    """Whether the structure of a graph belongs to training, validation or test."""
    return int(graph.structure_hash(), 16) % 10 in SHARES[part]


def choose_seeds(
    families: Mapping[str, TaskFamily], part: Part, *, n: int, first: int, separate_up_to: int
) -> tuple[int, ...]:
    """The first ``n`` seeds from ``first`` on whose graphs, where small, all lie in the share of ``part``.

    Raises:
        ValueError: the families' graphs are too few to divide.
    """
    small = [family for family in families.values() if family.nodes <= separate_up_to]

    def fits(seed: int) -> bool:
        # Both kinds of fixed sets are checked: a seed is listed for one, and must do for it.
        return all(
            in_share(draw_graph(family, stream(seed, part, kind)), part)
            for family in small
            for kind in range(len(KINDS))
        )

    found = tuple(itertools.islice(filter(fits, range(first, first + ATTEMPTS * n)), n))
    if len(found) < n:
        raise ValueError(
            f"Small graphs are divided between training and test; {len(found)} of {n} seeds were found in "
            f"{ATTEMPTS * n} for {', '.join(families)}. Ask for more nodes, or fewer small families at once."
        )
    return found


@dataclasses.dataclass(frozen=True, kw_only=True)
class SeedRegistry:
    """The file.

    Attributes:
        base_seed: of the training stream.
        training, validation, test: families by name.
        validation_seeds, test_seeds: kind (observational, interventional) -> seeds; no seed is listed twice.
        separate_up_to: number of nodes up to which graphs are divided by hash.
        version: of the project's choice of families and seeds.
    """

    base_seed: int
    training: Mapping[str, TaskFamily]
    validation: Mapping[str, TaskFamily]
    test: Mapping[str, TaskFamily]
    validation_seeds: Mapping[str, tuple[int, ...]]
    test_seeds: Mapping[str, tuple[int, ...]]
    separate_up_to: int = 6
    version: int = 1

    def __post_init__(self) -> None:
        if not self.training:
            raise ValueError("A training stream has at least one family; none was named.")
        ood = {name: f for name, f in self.test.items() if f not in self.training.values()}
        shared = [name for name, f in self.validation.items() if f in ood.values()]
        if shared:
            raise ValueError(
                f"A family that tests out of distribution takes no part in selection; {', '.join(shared)} is in "
                "validation and in test, and not in training. Validate on another family."
            )
        for what, lists in (("validation", self.validation_seeds), ("test", self.test_seeds)):
            if set(lists) != set(KINDS):
                raise ValueError(f"Seeds are listed for {' and '.join(KINDS)}; {what} lists {sorted(lists)}.")
        seeds = [s for lists in (self.validation_seeds, self.test_seeds) for kind in KINDS for s in lists[kind]]
        if len(set(seeds)) < len(seeds):
            twice = sorted({seed for seed in seeds if seeds.count(seed) > 1})
            raise ValueError(f"A seed serves one fixed set; {twice[:5]} are listed twice. Take other seeds.")

    @classmethod
    def make(
        cls,
        *,
        base_seed: int,
        training: Mapping[str, TaskFamily],
        validation: Mapping[str, TaskFamily],
        test: Mapping[str, TaskFamily],
        n_validation: int,
        n_test: int,
        separate_up_to: int = 6,
    ) -> SeedRegistry:
        """Choose the fixed seeds in ranges of their own, ``n`` for each kind.

        Raises:
            ValueError: see ``choose_seeds`` and the class.
        """
        lists = {}
        for part, families, n in ((Part.VALIDATION, validation, n_validation), (Part.TEST, test, n_test)):
            first = (1_000_000 if part is Part.VALIDATION else 1_000_000_000) + base_seed
            seeds = choose_seeds(families, part, n=2 * n, first=first, separate_up_to=separate_up_to)
            lists[part] = {KINDS[0]: seeds[:n], KINDS[1]: seeds[n:]}
        return cls(
            base_seed=base_seed,
            training=training,
            validation=validation,
            test=test,
            validation_seeds=lists[Part.VALIDATION],
            test_seeds=lists[Part.TEST],
            separate_up_to=separate_up_to,
        )

    def training_family(self, position: int) -> str:
        """Families take turns."""
        return list(self.training)[position % len(self.training)]

    def training_task(self, position: int) -> Task:
        """Task number ``position`` of the training stream.

        Raises:
            ValueError: no graph of training's share was found.
        """
        family = self.training[self.training_family(position)]
        for attempt in range(ATTEMPTS):
            seed = stream(self.base_seed, Part.TRAINING, position, attempt)
            if family.nodes > self.separate_up_to or in_share(draw_graph(family, seed), Part.TRAINING):
                return draw_task(family, seed)
        raise ValueError(
            f"Small graphs are divided between training and test; {ATTEMPTS} draws of {family.nodes} nodes gave none "
            "for training. Ask for more nodes."
        )

    def to_json(self) -> dict[str, Any]:
        return {"format": FORMAT, **dataclasses.asdict(self)}

    def save(self, path: Path) -> None:
        """Write the JSON; a file that holds other seeds is never replaced.

        Raises:
            ValueError: the file exists with other content.
        """
        content = (json.dumps(self.to_json(), indent=1, sort_keys=True) + "\n").encode()
        if path.exists() and path.read_bytes() != content:
            raise ValueError(
                f"A seed registry is fixed once written; {path} holds other seeds or families. "
                "Use another run directory, or raise the version in a new file."
            )
        write_bytes(path, content)

    @classmethod
    def load(cls, path: Path) -> SeedRegistry:
        """Read a registry.

        Raises:
            ValueError: the file is of another format.
        """
        record = json.loads(path.read_text())
        if record.pop("format", None) != FORMAT:
            raise ValueError(f"A seed registry is marked {FORMAT!r}; {path} is not. Make it with SeedRegistry.save.")
        for part in ("training", "validation", "test"):
            record[part] = {name: TaskFamily(**fields) for name, fields in record[part].items()}
        for part in ("validation_seeds", "test_seeds"):
            record[part] = {kind: tuple(seeds) for kind, seeds in record[part].items()}
        return cls(**record)


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainingStream:
    """The share of the training tasks that one worker draws.

    Attributes:
        registry: seeds and families.
        rank, n_ranks: process of the job and how many there are.
        worker, n_workers: data-loading worker of the process and how many each has.
        start: first position of the whole stream; a resumed run gives the number of tasks already used.
    """

    registry: SeedRegistry
    rank: int = 0
    n_ranks: int = 1
    worker: int = 0
    n_workers: int = 1
    start: int = 0

    def __post_init__(self) -> None:
        if not (0 <= self.rank < self.n_ranks and 0 <= self.worker < self.n_workers and self.start >= 0):
            raise ValueError(
                "Ranks and workers count from 0 up to their number; rank, n_ranks, worker, n_workers, start are "
                f"{self.rank}, {self.n_ranks}, {self.worker}, {self.n_workers}, {self.start}."
            )

    def positions(self) -> Iterator[int]:
        """Positions of this worker from ``start`` on, ascending, without end."""
        total, mine = self.n_ranks * self.n_workers, self.rank * self.n_workers + self.worker
        return itertools.count(self.start + (mine - self.start) % total, total)

    def __iter__(self) -> Iterator[tuple[int, Task]]:
        return ((position, self.registry.training_task(position)) for position in self.positions())
