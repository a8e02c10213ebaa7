"""Every model on every measured split: RMSE of means and Pearson of deltas, paired with the best baseline.

    python benchmarks/learned_models.py                       # one small split, to see that it runs: half a minute
    python benchmarks/learned_models.py --full                # everything, three seeds: two hours of a core, in pieces
    python benchmarks/learned_models.py --only kang2018-unseen_context --models ridge random_effects
    python benchmarks/learned_models.py --table               # print what is there and fit nothing

Splits and models are those of params.yaml, and those below. Each context or group of perturbations is held out in
turn; a model fits the train part, and one that learns by gradient stops by validation. The best baseline and the best
learned model of a split are chosen on validation. Differences are paired over test conditions, each the mean over
seeds, with bootstrap 95 % intervals over conditions. Values are kept by split, model and seed under --out, and what is
there is not computed again, so that a run may be killed and goes on; the splits are seeded, so that they are those of
the pipeline. --full takes graph variants and the published comparison in, and ends with one row per split and one per
model.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import json
import os
import time
import unittest.mock
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np
import yaml

from perturbcast import catalog, splits
from perturbcast.evaluation.bootstrap import mean_interval
from perturbcast.graphs import GeneGraph
from perturbcast.metrics.comparison import Comparison, Truth
from perturbcast.metrics.panels import panel
from perturbcast.models import TrainingSet
from perturbcast.schema import PerturbationData, Split
from perturbcast.stores import Effects, effects
from perturbcast.stores.atomic import write_json
from perturbcast.training.validation import held_out

ROOT = Path(__file__).resolve().parents[1]
PARAMS = yaml.safe_load((ROOT / "params.yaml").read_text())
METRICS = ("perturbench.rmse_average@1", "celleval.pearson_delta@1")
BASELINES = [
    "control",
    "train_mean",
    "mean_delta",
    "additive",
    "linear",
    "latent_shift",
    "nearest",
    "nearest_gene_sets",
    "ridge",
    "ridge_gene_sets",
]
LEARNED = [
    "random_effects",
    "random_effects_profile",
    "spectral_effects",
    "cgio_effects",
    "cgio",
    "cgio_v0",
    "cgio_v1",
    "cgio_v2",
    "cgio_v3",
    "cgio_v3a",
]
BASED = [model for model in LEARNED if "effects" in model]  # closed form, or a network that goes on from one
BARE = [model for model in LEARNED if model not in BASED]
SEEDED = ("cgio",)
JUDGED = 0.95  # share of the best baseline's RMSE; with more sampling error than that nothing can be told
QUICK = "norman2019_mcfaline2023-unseen_combination"

# conditions of the pipeline need 20 cells; this one says how little can be judged of Gasperini's pairs
GASPERINI = {
    "gasperini2019-unseen_combination": {
        "dataset": "gasperini2019",
        "min_cells": 3,
        "rule": "unseen_combination",
        "config": {"folds": 3, "validation": 0.3, "calibration": 0.3},
    }
}
SPLITS = {
    name: entry for name, entry in PARAMS["splits"].items() if not name.startswith(("simulated", "gasperini"))
} | GASPERINI

# what is perturbed is no measured gene: on any graph its signal stays 0, and edges would cost minutes for nothing
NO_TARGET_GENE = ("kang2018", "op3_2023", "tahoe100m")

# graphs of an unseen perturbation's targets: as they are, or with gene names dealt anew; without one it is cgio_effects
TABLES = {"dorothea": "dorothea_nonacademic_hs_ABC.csv.gz", "hallmark": "msigdb_hallmark_v7.0.gmt"}
GRAPHS = {
    f"{graph} {what}": PARAMS["models"]["cgio_effects"] | {"graphs": graph, "shuffle": what == "shuffled"}
    for graph in TABLES
    for what in ("true", "shuffled")
}


def gene_graphs(names: str, train: PerturbationData) -> list[GeneGraph]:
    """The named graphs: of the train part's controls, or from curated tables, which look at no cells."""
    made = []
    for name in filter(None, names.split("+")):
        plugin = catalog.load("graphs", {"dorothea": "tf_targets", "hallmark": "gene_sets"}.get(name, name))
        curated = {"file": TABLES[name], "min_coverage": 0.01} if name in TABLES else {}  # panels of 300 to 500 genes
        made.append(dataclasses.replace(plugin.build(train, plugin.Config(**curated)), name=name))
    return made


def asked_for(split: str, models: list[str], *, graphs: bool) -> dict[str, dict[str, Any]]:
    """Fields of each model of a split, by the name that its row has; presets go without a graph that nothing enters.

    ``cgio_v1`` without its graph is ``cgio_v0``, and is left out there, as are the graph variants.
    """
    found = {model: dict(PARAMS["models"][model]) for model in models}
    if SPLITS[split]["dataset"] in NO_TARGET_GENE:
        bare = {model: {k: v for k, v in of.items() if k not in ("graphs", "gate")} for model, of in found.items()}
        return {
            name if bare[name] == of else f"{name}, no graph": bare[name]
            for name, of in found.items()
            if name != "cgio_v1"
        }
    return found | (GRAPHS if graphs and SPLITS[split]["rule"] == "unseen_perturbation" else {})


def scored(measured: Effects, delta: np.ndarray) -> dict[str, list[float | None]]:
    """The metrics of a prediction, per condition; None where undefined."""
    comparison = Comparison(truth=Truth.of(measured), predicted=measured.control + delta)
    by_id = {measure.metric.id: measure for measure in panel("all")}
    found = {}
    for metric in METRICS:
        values = by_id[metric].score(comparison)
        found[metric] = [None if np.isnan(value) else float(value) for value in values]
    return found


@contextlib.contextmanager
def described_once(module: Any) -> Iterator[None]:
    """Within it a network's train conditions are described for the first seed and kept for the others.

    No seed enters a description, and on signatures that of ``cgio_effects`` costs ten times what its descent does.
    """
    if not getattr(module, "BY_GRADIENT", False):
        yield
        return
    describe = module.describe_train
    kept: list[Any] = []

    def once(*given: Any, **named: Any) -> Any:
        if not kept:
            kept.append(describe(*given, **named))
        return kept[0]

    with unittest.mock.patch.object(module, "describe_train", once):
        yield


def run(
    data: PerturbationData, folds: list[Split], fields: dict[str, Any], *, name: str, seeds: Sequence[int]
) -> dict[int, dict[str, Any]]:
    """Values of one model on validation and test for each seed, all folds pooled; CPU seconds are shared evenly."""
    plugin = fields.get("plugin", name)
    config = catalog.configure("models", plugin, {key: value for key, value in fields.items() if key != "plugin"})
    module = catalog.load("models", plugin)
    found: dict[int, dict[str, Any]] = {
        seed: {part: {metric: [] for metric in METRICS} for part in ("validation", "test")} for seed in seeds
    }
    started = time.process_time()
    for fold in folds:
        train = data.subset(fold.parts["train"])
        given = TrainingSet(
            effects=effects(train, cells=fold.parts["train"], conditions=fold.conditions["train"]),
            cells=train,
            graphs={graph.name: graph for graph in gene_graphs(getattr(config, "graphs", ""), train)},
            ood_axes=fold.ood_axes,
            validation=held_out(data, fold) if getattr(module, "BY_GRADIENT", False) else None,
        )
        measured = {
            part: effects(data, cells=fold.parts[part], conditions=fold.conditions[part])
            for part in ("validation", "test")
        }
        with described_once(module):
            for seed, parts in found.items():
                model = module.Model.fit(given, config, generator=np.random.default_rng([seed, fold.fold]))
                for part, values in parts.items():
                    answer = model.predict(measured[part].conditions, control=measured[part].control)
                    for metric, of_fold in scored(measured[part], answer.delta).items():
                        values[metric] += of_fold
    share = round((time.process_time() - started) / max(len(found), 1), 1)
    return {seed: {**parts, "cpu_seconds": share} for seed, parts in found.items()}


def noise(data: PerturbationData, folds: list[Split]) -> dict[str, float]:
    """What no model can undercut: the mean RMSE of exact effects, and the Pearson that sampling error leaves them."""
    floor, ceiling = [], []
    for fold in folds:
        measured = effects(data, cells=fold.parts["test"], conditions=fold.conditions["test"])
        error, total = measured.error.mean(axis=1), measured.delta.var(axis=1)
        floor += np.sqrt(error).tolist()
        ceiling += np.sqrt(np.clip(1 - error / total, 0, 1)).tolist()
    return {"rmse": float(np.mean(floor)), "pearson": float(np.mean(ceiling))}


def published_kang(data: PerturbationData) -> dict[str, float]:
    """Mean Pearson of deltas over held-out cell types, each model fitted on all other types, as published."""
    models = {
        "train_mean": {},
        "mean_delta": {},
        "latent_shift": {},
        "ridge": PARAMS["models"]["ridge"],
        "random_effects": {},
        "random_effects_profile": PARAMS["models"]["random_effects_profile"],
        "cgio_effects, 60 steps": PARAMS["models"]["cgio_effects"] | {"steps": 60},
    }
    found: dict[str, list[float]] = {name: [] for name in models}
    for asked in data.conditions:
        known = [condition for condition in data.conditions if condition.context != asked.context]
        keep = data.obs["context"].astype(str).isin({condition.context for condition in known})
        train = data.subset(list(data.obs.index[keep]))
        everything = effects(train, cells=list(train.obs.index), conditions=known)
        measured = effects(data, cells=list(data.obs.index), conditions=[asked])
        for name, fields in models.items():
            plugin = fields.get("plugin", name)
            module = catalog.load("models", plugin)
            config = catalog.configure("models", plugin, {k: v for k, v in fields.items() if k != "plugin"})
            given = TrainingSet(effects=everything, cells=train, ood_axes=("context",))
            model = module.Model.fit(given, config, generator=np.random.default_rng(0))
            delta = model.predict([asked], control=measured.control).delta
            found[name].append(float(np.corrcoef(delta[0], measured.delta[0])[0, 1]))
    return {name: float(np.mean(values)) for name, values in found.items()}


def over_seeds(results: dict[str, dict[int, Any]], model: str, part: str, metric: str) -> np.ndarray:
    """Values [condition], the mean over seeds; NaN where undefined."""
    values = [result[part][metric] for result in results[model].values()]
    return np.array(values, dtype=float).mean(axis=0)


def against(results: dict[str, dict[int, Any]], model: str, best: str) -> tuple[float, tuple[float, float] | None]:
    """Test RMSE of a model minus that of the best baseline: its mean, paired, and an interval over conditions."""
    paired = over_seeds(results, model, "test", METRICS[0]) - over_seeds(results, best, "test", METRICS[0])
    return float(paired.mean()), mean_interval(paired, seed=0)


def difference(results: dict[str, dict[int, Any]], model: str, best: str) -> str:
    """``against`` as text; bold where the whole interval is below 0."""
    mean, interval = against(results, model, best)
    if interval is None:
        return f"{mean:+.4f}".replace("-", "−")
    said = f"{mean:+.4f} ({interval[0]:+.4f} to {interval[1]:+.4f})".replace("-", "−")
    return f"**{said}**" if interval[1] < 0 else said


def by_validation(results: dict[str, dict[int, Any]]) -> tuple[str, str]:
    """The best baseline and the best learned model on validation; the latter empty where there is none."""
    mean = {model: float(over_seeds(results, model, "validation", METRICS[0]).mean()) for model in results}
    best = min((model for model in results if model in BASELINES), key=mean.__getitem__)
    learned = [model for model in results if model not in BASELINES and model not in GRAPHS]
    return best, min(learned, key=mean.__getitem__, default="")


def row_of(results: dict[str, dict[int, Any]], model: str) -> str:
    """The name under which a split has a model, with or without its graph; empty where it has none."""
    return next((name for name in (model, f"{model}, no graph") if name in results), "")


def summary(found: dict[str, dict[str, dict[int, Any]]], bounds: dict[str, dict[str, float]]) -> list[str]:
    """Markdown: one row per split for the models with a base, one for the networks without, and a row per model."""
    lines = []
    for shown in (BASED, BARE):
        lines += [
            "| split | test conditions | sampling error alone | best baseline | its test RMSE | "
            + " | ".join(f"`{model}` minus it" for model in shown)
            + " |",
            "|---|---|---|---|---|" + "---|" * len(shown),
        ]
        for split, results in found.items():
            best, _ = by_validation(results)
            base = over_seeds(results, best, "test", METRICS[0])
            title = split.replace("-unseen_", ", unseen ")
            rows = [row_of(results, model) for model in shown]
            said = [difference(results, row, best) if row else "" for row in rows]
            alone = f"{bounds[split]['rmse']:.4f}" if bounds[split]["rmse"] else "unknown"
            lines.append(f"| {title} | {len(base)} | {alone} | `{best}` | {base.mean():.4f} | {' | '.join(said)} |")
        lines.append("")
    return [*lines, *choices(found), "", *standing(found, bounds)]


def choices(found: dict[str, dict[str, dict[int, Any]]]) -> list[str]:
    """Markdown: what validation chooses, among models that never saw it and among all; both on test."""
    lines = [
        "| split | best baseline | chosen among those that never see validation | minus best baseline "
        "| chosen among all that learn | minus best baseline |",
        "|---|---|---|---|---|---|",
    ]
    for split, results in found.items():
        title, best = split.replace("-unseen_", ", unseen "), by_validation(results)[0]
        closed = {model: of for model, of in results.items() if not model.startswith("cgio") and model not in GRAPHS}
        said = [
            f"`{model}` | {difference(results, model, best)}" if model else " | "
            for model in (by_validation(closed)[1], by_validation(results)[1])
        ]
        lines.append(f"| {title} | `{best}` | {' | '.join(said)} |")
    return lines


def standing(found: dict[str, dict[str, dict[int, Any]]], bounds: dict[str, dict[str, float]]) -> list[str]:
    """Markdown: on how many splits a model is better than, level with and worse than the best baseline."""
    best = {split: by_validation(results)[0] for split, results in found.items()}
    judged = [
        split
        for split, results in found.items()
        if bounds[split]["rmse"] < JUDGED * over_seeds(results, best[split], "test", METRICS[0]).mean()
    ]
    lines = [
        f"Splits that can be judged (sampling error below {JUDGED:.0%} of the best baseline's RMSE): {len(judged)}.",
        "",
        "| model | better | level | worse | splits |",
        "|---|---|---|---|---|",
    ]
    for model in [*BASED, *BARE, *BASELINES]:
        ends = []
        for split in judged:
            row = row_of(found[split], model)
            if row:
                interval = (0.0, 0.0) if row == best[split] else against(found[split], row, best[split])[1]
                ends.append(interval or (0.0, 0.0))
        better, worse = sum(high < 0 for _, high in ends), sum(low > 0 for low, _ in ends)
        lines.append(f"| `{model}` | {better} | {len(ends) - better - worse} | {worse} | {len(ends)} |")
    return lines


def table(split: str, results: dict[str, dict[int, Any]], bounds: dict[str, float]) -> list[str]:
    """Markdown rows of one split, models by validation."""
    rmse, pearson = METRICS
    validation = {model: float(over_seeds(results, model, "validation", rmse).mean()) for model in results}
    best, learned = by_validation(results)
    n = len(over_seeds(results, best, "test", rmse))
    lines = [
        f"#### {split}",
        "",
        f"{n} test conditions. Best baseline on validation: `{best}`"
        + (f"; best learned: `{learned}`. " if learned else ". ")
        + (
            f"Sampling error alone: RMSE {bounds['rmse']:.4f}, Pearson at most {bounds['pearson']:.2f}."
            if bounds["rmse"]
            else "The sampling error of signatures is not known."
        ),
        "",
        "| model | validation RMSE | test RMSE | of seeds | minus best baseline (95 %) | Pearson of deltas | CPU s |",
        "|---|---|---|---|---|---|---|",
    ]
    for model in sorted(results, key=validation.__getitem__):
        test = over_seeds(results, model, "test", rmse)
        said = "" if model == best else difference(results, model, best)
        r = np.nanmean(over_seeds(results, model, "test", pearson))
        cpu = np.mean([result["cpu_seconds"] for result in results[model].values()])
        each = sorted(np.mean(result["test"][rmse]) for result in results[model].values())
        seeds = f"{len(each)}: {each[0]:.4f} to {each[-1]:.4f}" if len(each) > 1 else ""
        lines.append(
            f"| `{model}` | {validation[model]:.4f} | {test.mean():.4f} | {seeds} | {said} | {r:.3f} | {cpu:.0f} |"
        )
    return [*lines, ""]


def read(folder: Path) -> dict[str, dict[int, Any]]:
    """model -> seed -> values, of what was computed so far."""
    found: dict[str, dict[int, Any]] = {}
    for file in sorted(folder.glob("*@*.json")):
        model, seed = file.stem.rsplit("@", 1)
        found.setdefault(model, {})[int(seed)] = json.loads(file.read_text())
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--full", action="store_true", help="every split and model")
    parser.add_argument("--only", nargs="+", choices=list(SPLITS), metavar="SPLIT", help="these splits")
    parser.add_argument("--models", nargs="+", default=[*BASELINES, *LEARNED], metavar="MODEL")
    parser.add_argument("--graphs", action="store_true", help="the graph variants too, where perturbations are new")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--table", action="store_true", help="print what was computed before")
    parser.add_argument("--published", action="store_true", help="Kang as the published numbers are computed")
    parser.add_argument("--out", type=Path, default=ROOT / "artifacts/benchmarks/learned_models")
    given = parser.parse_args()
    given.graphs, given.published = given.graphs or given.full, given.published or given.full
    found, bounds = {}, {}
    if not given.only and not given.full and not given.table:
        given.only, given.seeds, given.models = [QUICK], 1, ["control", "additive", "ridge", "random_effects"]
    for name in given.only or SPLITS:
        entry, folder = SPLITS[name], given.out / name
        variants = asked_for(name, given.models, graphs=given.graphs)
        if not given.table:
            module = catalog.load("datasets", entry["dataset"])
            data, _ = module.build(module.Config(min_cells=entry.get("min_cells", PARAMS["min_cells"])))
            config = catalog.configure("splits", entry["rule"], entry["config"])
            folds = splits.make(data, entry["rule"], config=config, seed=PARAMS["seed"])
            write_json(folder / "noise.json", noise(data, folds))
            if given.published and entry["dataset"] == "kang2018":
                if not (folder / "published.json").is_file():
                    write_json(folder / "published.json", published_kang(data))
                print((folder / "published.json").read_text(), flush=True)
            for model, fields in variants.items():
                plugin = fields.get("plugin", model)
                files = {
                    seed: folder / f"{model}@{seed}.json" for seed in range(given.seeds if plugin in SEEDED else 1)
                }
                missing = [seed for seed, file in files.items() if not file.is_file()]
                if missing:
                    for seed, values in run(data, folds, fields, name=model, seeds=missing).items():
                        write_json(files[seed], values)
        results = read(folder)
        if any(model in BASELINES for model in results):
            found[name], bounds[name] = results, json.loads((folder / "noise.json").read_text())
            print("\n".join(table(name, results, bounds[name])), flush=True)
    if len(found) > 1:
        print("\n".join(summary(found, bounds)))


if __name__ == "__main__":
    main()
