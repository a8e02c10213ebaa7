"""The service over a model whose every number is known; run as a script it is the second process of the tests.

The model reacts to its target: SLOW waits, BROKEN is a defect, IMPOSSIBLE cannot be answered.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import time
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

import numpy as np
import scipy.sparse as sp

from perturbcast.errors import UnanswerableError
from perturbcast.schema import Condition, Prediction

GENES = ("ISG15", "STAT1", "CD3D", "LYZ")
SLOW_S = 0.7


@dataclasses.dataclass(frozen=True)
class KnownModel:
    """delta = length of the label x (1, -2, 3, -4) + control mean / 8, exact in binary; half width 0.25.

    Of B cells it has control cells stored, of NK cells their mean alone.
    """

    journal: Path | None = None
    kind: str = "known"
    dataset: str = "kang2018"
    dataset_hash: str = "d" * 64
    split_hash: str = "5" * 64
    fingerprint: str = "f" * 64
    scale: str = "made up"  # any value is one of it
    genes: tuple[str, ...] = GENES
    train_conditions: tuple[Condition, ...] = (Condition("IFNB", "B cells"), Condition("A+B", "NK cells"))
    levels: tuple[float, ...] = (0.5, 0.9)
    control_means: Mapping[str, np.ndarray] = dataclasses.field(
        default_factory=lambda: {"B cells": np.array([1.0, 2.0, 3.0, 4.0]), "NK cells": np.array([4.0, 3.0, 2.0, 1.0])}
    )

    control_cells: Mapping[str, sp.csr_matrix] = dataclasses.field(
        default_factory=lambda: {"B cells": sp.csr_matrix([[0.5, 2.0, 3.0, 0.0], [1.5, 2.0, 3.0, 8.0]])}
    )

    def predict(
        self,
        conditions: Sequence[Condition],
        *,
        control_means: Mapping[str, np.ndarray] | None = None,
        levels: Collection[float] | None = None,
    ) -> Prediction:
        for condition in conditions:
            self._react(condition)
        means = {**self.control_means, **(control_means or {})}
        control = np.array([means[condition.context] for condition in conditions])
        length = np.array([[len(condition.perturbation)] for condition in conditions])
        delta = length * np.array([1.0, -2.0, 3.0, -4.0]) + control / 8
        pairs = set(self.train_conditions)
        return Prediction(
            conditions=tuple(conditions),
            genes=self.genes,
            delta=delta,
            variance=np.full_like(delta, 0.0625),
            control=control,
            intervals={
                level: np.full_like(delta, half)
                for level, half in ((0.5, 0.125), (0.9, 0.25))
                if levels is None or level in levels
            },
            seen=np.array(
                [
                    (
                        c.perturbation in {p.perturbation for p in pairs},
                        c.context in {p.context for p in pairs},
                        c in pairs,
                    )
                    for c in conditions
                ]
            ),
            notes=tuple((f"{c} is made up",) for c in conditions),
            model=self.fingerprint,
            ood_score=length[:, 0].astype(float),
        )

    def _react(self, condition: Condition) -> None:
        if self.journal:
            with self.journal.open("a") as file:
                file.write(f"{condition}\n")
        if "SLOW" in condition.targets:
            time.sleep(SLOW_S)
        if "BROKEN" in condition.targets:
            raise RuntimeError("a secret of the model")
        if "IMPOSSIBLE" in condition.targets:
            raise UnanswerableError(f"This model knows every target but 'IMPOSSIBLE'; got {condition}. Leave it out.")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--config", type=json.loads, default={})
    parser.add_argument("--limits", type=json.loads, default={})
    parser.add_argument("--security", type=json.loads, default={})
    parser.add_argument("--log", type=json.loads, default='"text"')
    parser.add_argument("--registry", type=json.loads, help="file: {version: aliases}, looked at ten times a second")
    parser.add_argument("--ready-file", type=Path)
    parser.add_argument("--journal", type=Path)
    given = parser.parse_args()

    from prediction_service.engine import Engine
    from prediction_service.limits import Limits
    from prediction_service.registry_watch import RegistryWatch
    from prediction_service.security import Security
    from prediction_service.served_model import ServedModel
    from prediction_service.server import ServerConfig, log_to_stderr, serve

    log_to_stderr(given.log)

    def load(source):
        if source["version"] == "broken":
            raise ValueError("this version is half-written")
        fingerprint = "f" * 64 if source["version"] == "3" else source["version"] * 64
        return ServedModel(
            name="known",
            version=source["version"],
            aliases=tuple(source["aliases"]),
            model=KnownModel(given.journal, fingerprint=fingerprint),
            validation_metrics={"rmse": 0.25},
        )

    def read(served=None):
        versions = json.loads(Path(given.registry).read_text()) if given.registry else {"3": ["champion"]}
        if served == {("known", alias): version for version, aliases in versions.items() for alias in aliases}:
            return None
        return [{"name": "known", "version": version, "aliases": aliases} for version, aliases in versions.items()]

    security = Security(**{field: Path(path) for field, path in given.security.items()})
    config = ServerConfig(**{"port": 0, "ready_file": given.ready_file, "security": security, **given.config})
    engine = Engine([load(source) for source in read()], limits=Limits(**given.limits))
    serve(engine, config, watch=RegistryWatch(refresh=read, load=load, interval_s=0.1) if given.registry else None)


if __name__ == "__main__":
    main()
