"""Context features beside context ids on contexts never seen, where simulated effects follow their context and not.

    python benchmarks/context_features.py            # one screen and fold of each: a minute, to see that it runs
    python benchmarks/context_features.py --full     # four screens, three unseen contexts of each; --context levels id
    python benchmarks/context_features.py --table    # print what is there and fit nothing

``follows``: Hill regulation with exponent 4, contexts that differ in basal rates (sd 1 of the log) and in no edge, so
that what a knock-down does depends on how much of the regulator a context has. ``null``: a linear mechanism under a
shift, whose effects are those of any context, with contexts that differ as much. Variants of ``cgio`` differ in
``context`` alone and stop by validation, another context that train does not hold. Values are RMSE of means over the
conditions of a test context; differences to ids are paired over test contexts, with bootstrap 95 % intervals. ``blind``
is the mean of the true effects of all train contexts: the best that can be said without looking at the context, and
``truth`` the oracle. What is there is not computed again.
"""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np

from perturbcast import catalog, splits
from perturbcast.datasets import simulated
from perturbcast.evaluation.bootstrap import mean_interval
from perturbcast.schema import PerturbationData, Split
from perturbcast.stores import control_means, effects
from perturbcast.stores.atomic import write_json
from perturbcast.training import fit
from perturbcast.training.validation import held_out

SIZE: dict[str, Any] = {
    "nodes": 30,
    "contexts": 12,
    "perturbations": 12,
    "combinations": 0,
    "cells": 12 * 13 * 40,
    "context_edges": 0.0,
    "context_shift": 1.0,
    "truth_draws": 1024,
}
SETTINGS: dict[str, dict[str, Any]] = {
    "follows": {"mechanism": {"hill": 4.0}},
    "null": {"family": "linear", "intervention": "shift"},
}
VARIANTS = ("levels", "id", "features", "none")
FIELDS: dict[str, Any] = {"over": "additive", "steps": 600, "patience": 10, "learning_rate": 0.01}


def rmse(missed: np.ndarray) -> float:
    """Mean over conditions of the root mean square over genes of [condition, gene]."""
    return float(np.sqrt((missed**2).mean(axis=1)).mean())


def run(data: PerturbationData, fold: Split, context: str, *, seed: int) -> dict[str, dict[str, float]]:
    """Name -> RMSE on validation, on test, and of test against the true effects, of one variant and the two bounds."""
    test = effects(data, cells=fold.parts["test"], conditions=fold.conditions["test"])
    truth: Any = data.truth
    place = {
        name: {str(label): i for i, label in enumerate(truth[name])} for name in ("contexts", "perturbations", "genes")
    }
    genes = [place["genes"][gene] for gene in data.genes]
    delta = np.asarray(truth["delta"], dtype=float)[..., genes]
    true = np.array(
        [delta[place["contexts"][c.context], place["perturbations"][c.perturbation]] for c in test.conditions]
    )
    of_train = delta[sorted({place["contexts"][c.context] for c in fold.conditions["train"]})].mean(axis=0)
    blind = np.array([of_train[place["perturbations"][c.perturbation]] for c in test.conditions])
    found = {
        name: {"test": rmse(answer - test.delta), "true": rmse(answer - true)}
        for name, answer in {"blind": blind, "truth": true}.items()
    }
    validation, controls = held_out(data, fold), control_means(data)
    config = catalog.configure("models", "cgio", FIELDS | {"context": context})
    model = fit(data, fold, kind="cgio", plugin="cgio", config=config, seed=seed, validation=validation)
    answer = model.predict(test.conditions, control_means=controls).delta
    held = model.predict(validation.effects.conditions, control_means=controls).delta
    found[context] = {
        "validation": float(validation.values(held).mean()),
        "test": rmse(answer - test.delta),
        "true": rmse(answer - true),
    }
    return found


def table(rows: list[dict[str, Any]]) -> None:
    """Print means over test contexts, and differences to ids over those that both have."""
    for setting in SETTINGS:
        found: dict[str, dict[str, dict[str, float]]] = {}  # name -> test context -> values
        for row in rows:
            for name, values in row["values"].items() if row["setting"] == setting else ():
                found.setdefault(name, {})[row["of"]] = values
        if "id" not in found:
            continue
        print(f"\n{setting}\n| | unseen contexts | validation | test | against the truth | test minus ids |")
        print("|---|---|---|---|---|---|")
        for name, of in found.items():
            shared = sorted(of.keys() & found["id"].keys())
            parts = [part for part in ("validation", "test", "true") if part in of[shared[0]]]
            means = {part: f"{np.mean([of[key][part] for key in shared]):.4f}" for part in parts}
            apart = np.array([of[key]["test"] - found["id"][key]["test"] for key in shared])
            interval = mean_interval(apart, seed=0)
            said = "" if interval is None else f" ({interval[0]:+.4f} to {interval[1]:+.4f})"
            cells = [means.get(part, "") for part in ("validation", "test", "true")]
            print(f"| {name} | {len(shared)} | {' | '.join(cells)} | {apart.mean():+.4f}{said} |")


def main() -> None:
    """Compute what is missing and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--full", action="store_true")
    parser.add_argument("--context", nargs="+", choices=VARIANTS, default=VARIANTS)
    parser.add_argument("--table", action="store_true")
    parser.add_argument("--out", type=Path, default=Path("artifacts/benchmarks/context_features"))
    args = parser.parse_args()
    screens, unseen = (4, 3) if args.full else (1, 1)
    for setting, changes in SETTINGS.items():
        for seed in () if args.table else range(screens):
            data = simulated.build(simulated.Config(**SIZE, **changes, seed=seed))[0]
            for fold in splits.make(data, "unseen_context", seed=0)[:unseen]:
                for context in args.context:
                    of = f"{seed}_{fold.fold}"
                    file = args.out / f"{setting}_{of}_{context}.json"
                    if not file.exists():
                        values = run(data, fold, context, seed=seed)
                        write_json(file, {"setting": setting, "of": of, "values": values})
    table([json.loads(file.read_text()) for file in sorted(args.out.glob("*.json"))])


if __name__ == "__main__":
    main()
