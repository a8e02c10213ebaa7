"""A suite or sweep on disk: what it consists of, round by round, and where each run keeps what.

| path | holds |
|---|---|
| ``suite.json`` | the section that it was started with; another one is refused |
| ``splits/SPLIT/fold_K.json`` | the folds that it runs, as they were when it was started |
| ``rounds/R.json`` | the configurations of a round: all of a suite, what a search drew of a sweep |
| ``params.yaml`` | the same for ``perturbcast train --params`` |
| ``runs/SPLIT/MODEL/seed_S/`` | one run: ``model/``, ``predictions/``, ``validation/``, ``log.txt``, ``record.json`` |
| ``leaderboard.json``, ``scorecard.json``, ``scorecard.csv`` | written at the end |
"""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

from perturbcast.errors import UsageError
from perturbcast.stores.atomic import write_json
from perturbcast.suites.sections import Section, Sweep
from perturbcast.suites.trials import Trial

__all__ = ["Run", "SuiteFolder"]

FORMAT = "perturbcast.suite/1"
KINDS: dict[str, type[Section] | type[Sweep]] = {"suite": Section, "sweep": Sweep}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Run:
    """One model with one seed on the folds of one split.

    Attributes:
        split: its name.
        trial: what is trained.
        seed: of the training.
        directory: everything that the run writes.
    """

    split: str
    trial: Trial
    seed: int
    directory: Path

    @property
    def label(self) -> str:
        return f"{self.split}/{self.trial.name}/seed_{self.seed}"

    @property
    def model(self) -> Path:
        return self.directory / "model"

    @property
    def predictions(self) -> Path:
        return self.directory / "predictions" / self.trial.name

    @property
    def log(self) -> Path:
        """What the run said."""
        return self.directory / "log.txt"

    @property
    def record(self) -> Path:
        """How the run ended, where it has."""
        return self.directory / "record.json"

    def evaluation(self, part: str) -> Path:
        """Where scores of a part are."""
        return self.directory / part / self.split / self.trial.name


@dataclasses.dataclass(frozen=True, kw_only=True)
class SuiteFolder:
    """A started suite or sweep.

    Attributes:
        path: the folder.
        kind: ``suite`` or ``sweep``.
        section: what it was started with.
    """

    path: Path
    kind: str
    section: Section | Sweep

    @classmethod
    def start(cls, path: Path, kind: str, section: Section | Sweep) -> SuiteFolder:
        """Write ``suite.json``, or find the same one there, and read it as any other process will.

        Order counts where runs are numbered and draws follow each other; it is that of the file, not of the section.

        Raises:
            ValueError: the folder holds a suite of another section.
        """
        record: dict[str, Any] = {"format": FORMAT, "kind": kind, "section": section.model_dump(mode="json")}
        file = path / "suite.json"
        if file.is_file():
            there = json.loads(file.read_text())
            if there != record:
                fields = sorted(k for k, v in record["section"].items() if there["section"].get(k) != v) or ["kind"]
                raise ValueError(
                    f"A folder holds one {kind}, so that its rows can be compared; {path} was started with other "
                    f"{', '.join(fields)}. Give this one another name or --out, or remove that folder."
                )
        else:
            write_json(file, record)
        return cls.open(path)

    @classmethod
    def open(cls, path: Path) -> SuiteFolder:
        """Read ``suite.json``.

        Raises:
            UsageError: there is none.
        """
        file = path / "suite.json"
        if not file.is_file():
            known = ", ".join(sorted(p.parent.name for p in path.parent.glob("*/suite.json"))) or "none"
            raise UsageError(
                f"A suite or sweep is a folder that 'run' started; {path} is none. Beside it there is: {known}."
            )
        record = json.loads(file.read_text())
        return cls(path=path, kind=record["kind"], section=KINDS[record["kind"]].model_validate(record["section"]))

    @property
    def n_rounds(self) -> int:
        """Rounds that it will have had at the end."""
        return self.section.rounds if isinstance(self.section, Sweep) else 1

    @property
    def splits(self) -> list[str]:
        return list(self.section.splits)

    @property
    def params(self) -> Path:
        """Parameter file of all configurations so far."""
        return self.path / "params.yaml"

    def split(self, name: str) -> Path:
        """The folder of a split's folds."""
        return self.path / "splits" / name

    def round(self, number: int) -> list[Trial] | None:
        """Configurations of a round; None where it was not drawn yet."""
        file = self._round_file(number)
        if not file.is_file():
            return None
        values: list[dict[str, Any]] = json.loads(file.read_text())
        return [Trial(**value) for value in values]

    def write_round(self, number: int, trials: list[Trial]) -> None:
        """Keep the configurations of a round."""
        write_json(self._round_file(number), [dataclasses.asdict(trial) for trial in trials])

    def trials(self) -> list[Trial]:
        """Every configuration so far, each once: two rounds may draw the same."""
        found: dict[str, Trial] = {}
        for number in range(self.n_rounds):
            for trial in self.round(number) or ():
                found.setdefault(trial.name, trial)
        return list(found.values())

    def runs(self, number: int | None = None) -> list[Run]:
        """Runs of a round that has been drawn, or of all that have: the order of the tasks of an array."""
        trials = self.trials() if number is None else self.round(number) or []
        return [
            Run(
                split=split,
                trial=trial,
                seed=seed,
                directory=self.path / "runs" / split / trial.name / f"seed_{seed}",
            )
            for split in self.splits
            for trial in trials
            for seed in self.section.seeds
        ]

    def _round_file(self, number: int) -> Path:
        return self.path / "rounds" / f"{number}.json"
