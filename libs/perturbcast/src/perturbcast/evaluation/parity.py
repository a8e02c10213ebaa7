"""Our reference panels against what the references themselves printed for the same pair of files.

Compared per condition. Unrounded values agree to 1e-6 relative, values that a reference rounds to its printed digits.
Two of cell-eval's are known less well than 1e-6, since it computes them in float32: log2 fold changes near 0, and the
correlation of E-distances (1e-5); the verdict says so.
A reference that printed nothing is ABSENT, with what to do about it; it never counts as agreement.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd

from perturbcast.errors import UsageError
from perturbcast.evaluation.files import Pair, read_pair
from perturbcast.evaluation.scoring import score
from perturbcast.metrics import panel
from perturbcast.metrics.mann_whitney import measured_expression, predicted_expression

__all__ = ["REFERENCES", "Verdict", "parity"]

RELATIVE = 1e-6
DIGITS = 4  # to which scPerturBench rounds
SILENT = {
    "systema": "it publishes no per-condition output to compare with; its formulas are tested by hand",
    "gears": "it publishes no per-condition output to compare with; its formulas are tested by hand",
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Verdict:
    """Agreement in one metric.

    Attributes:
        metric_id: ours, or what of the reference it is about.
        status: ``PASS``, ``FAIL``, ``ABSENT`` (the reference printed nothing) or ``SKIPPED`` (not comparable).
        worst: largest relative difference; NaN where nothing was compared.
        n: values compared.
        n_undefined: values that the reference leaves undefined (NaN or empty) and that are not compared.
        note: why it fails, or what to do.
    """

    metric_id: str
    status: Literal["PASS", "FAIL", "ABSENT", "SKIPPED"]
    worst: float = np.nan
    n: int = 0
    n_undefined: int = 0
    note: str = ""


def parity(
    truth: Path,
    prediction: Path,
    reference: Path,
    *,
    perturbation_key: str,
    context_key: str | None,
    control_label: str,
) -> tuple[Verdict, ...]:
    """Compare our values with those of every reference that printed any.

    Args:
        truth: ``.h5ad`` of measured cells in one context, as the references were given.
        prediction: ``.h5ad`` of predicted cells.
        reference: folder of the references' outputs; see ``REFERENCES`` for the names looked for.
        perturbation_key: obs column of the perturbation.
        context_key: obs column of the context, or None.
        control_label: perturbation label of the controls.

    Raises:
        UsageError: a file, folder or column is not there, or the files hold several contexts.
        ValueError: the files cannot be compared with each other.
    """
    if not reference.is_dir():
        raise UsageError(
            f"Outputs of references lie in a folder; {reference} does not exist. Name it by --reference, or lay the "
            "shared parity values beside the checkout (--shared)."
        )
    pair = read_pair(
        truth, prediction, perturbation_key=perturbation_key, context_key=context_key, control_label=control_label
    )
    contexts = sorted({context for context, _ in pair.labels})
    if len(contexts) > 1:
        raise UsageError(
            f"References print one table per context; {truth} holds {len(contexts)}: {', '.join(contexts[:5])}. "
            "Compare one context at a time."
        )
    verdicts: list[Verdict] = []
    for name, compare in REFERENCES.items():
        verdicts += compare(pair, reference)
        if name == "celleval":
            verdicts += _tables(pair, reference)
    verdicts += [Verdict(metric_id=f"{name}.*", status="ABSENT", note=note) for name, note in SILENT.items()]
    return tuple(verdicts)


def _cell_eval(pair: Pair, folder: Path) -> list[Verdict]:
    path = _first(folder, ("celleval_per_condition.csv", "results.csv"))
    if path is None:
        return [_absent("celleval", "run 'perturbcast parity --run celleval', or 'cell-eval run' into the folder")]
    table = pd.read_csv(path, dtype={"perturbation": str}).set_index("perturbation").astype(np.float64)
    wanted = {f"celleval.{name}@1": table[name] for name in table.columns if name != "clustering_agreement"}
    spread = "celleval.pearson_edistance@1"
    loose = {spread: wanted.pop(spread)} if spread in wanted else {}
    verdicts = _columns(pair, "celleval", wanted, tolerance=_relative)
    verdicts += _columns(pair, "celleval", loose, tolerance=_of_float32_sums)
    if "clustering_agreement" in table:
        note = "it clusters with Leiden: two runs of the reference differ"
        verdicts.append(Verdict(metric_id="celleval.clustering_agreement", status="SKIPPED", note=note))
    return verdicts


def _perturbench(pair: Pair, folder: Path) -> list[Verdict]:
    path = _first(folder, ("perturbench_per_condition.csv",))
    if path is None:
        note = "run PerturBench's evaluation and save its table as perturbench_per_condition.csv in the folder"
        return [_absent("perturbench", note)]
    table = pd.read_csv(path, dtype={"cov_pert": str})
    # the name of a condition is its covariate, '_', and the perturbation
    table["perturbation"] = table["cov_pert"].str.split("_", n=1).str[1]
    by_metric = table.groupby("metric_id", sort=False)
    wanted = {f"perturbench.{name}@1": rows.set_index("perturbation")["metric"] for name, rows in by_metric}
    return _columns(pair, "perturbench", wanted, tolerance=_relative)


def _scperturbench(pair: Pair, folder: Path) -> list[Verdict]:
    path = _first(folder, ("scperturbench_per_condition.tsv", "performance.tsv"))
    if path is None:
        note = "run scPerturBench's calPerformance and save its table as scperturbench_per_condition.tsv in the folder"
        return [_absent("scperturbench", note)]
    table = pd.read_csv(path, sep="\t", dtype={"perturb": str})
    names = {100: "top100", 5000: "all"}
    verdicts = []
    for (metric, genes), rows in table.assign(DEG=table["DEG"].map(names)).groupby(["metric", "DEG"], sort=False):
        wanted = {f"scperturbench.{metric}_{genes}@1": rows.set_index("perturb")["performance"]}
        tolerance = _rounded_logarithm if metric == "sym_kldiv" else _rounded
        verdicts += _columns(pair, "scperturbench", wanted, tolerance=tolerance)
    return verdicts


# reference -> comparison with what its folder holds
REFERENCES: dict[str, Callable[[Pair, Path], list[Verdict]]] = {
    "perturbench": _perturbench,
    "celleval": _cell_eval,
    "scperturbench": _scperturbench,
}


def _relative(printed: np.ndarray) -> np.ndarray:
    return RELATIVE * np.abs(printed) + 1e-12  # the second term: rounding around a printed 0


def _rounded(printed: np.ndarray) -> np.ndarray:
    return _relative(printed) + 0.5 * 10.0**-DIGITS


def _rounded_logarithm(printed: np.ndarray) -> np.ndarray:
    """log2(1 + x) of an x that was rounded: half a digit of x over 1 + x."""
    return _relative(printed) + 0.5 * 10.0**-DIGITS / (np.exp2(printed) * np.log(2))


def _of_float32_means(printed: np.ndarray) -> np.ndarray:
    """A logarithm of a ratio of float32 means is known to their last digit, which near 0 is no relative precision."""
    return _relative(printed) + 2 * float(np.finfo(np.float32).eps) / np.log(2)


def _of_float32_sums(printed: np.ndarray) -> np.ndarray:
    """cell-eval averages float32 distances in float32: on 1e6 pairs it is itself some 3e-6 from float64."""
    return 10 * _relative(printed)


# what is allowed besides 1e-6 relative, for the table
BESIDES: dict[Callable[[np.ndarray], np.ndarray], str] = {
    _rounded: f"the reference rounds to {DIGITS} decimals",
    _rounded_logarithm: f"the reference rounds to {DIGITS} decimals before the logarithm",
    _of_float32_sums: "to 1e-5: the reference averages in float32",
    _of_float32_means: "known to the last digit of float32 means",
}


def _columns(
    pair: Pair, name: str, wanted: Mapping[str, pd.Series], *, tolerance: Callable[[np.ndarray], np.ndarray]
) -> list[Verdict]:
    known = {measure.metric.id: measure for measure in panel(name)}
    verdicts = []
    for metric_id, printed in wanted.items():
        if metric_id not in known:
            note = f"the reference prints it and panel {name!r} has no such metric"
            verdicts.append(Verdict(metric_id=metric_id, status="FAIL", note=note))
            continue
        scored = score(pair.comparison, panel=[known[metric_id]], labels=pair.labels)
        ours = pd.Series(scored.metrics[0].per_condition, index=[label for _, label in pair.labels])
        strangers = sorted(set(printed.index) ^ set(ours.index))
        if strangers:
            note = f"{len(strangers)} conditions are in one only: {', '.join(strangers[:3])}"
            verdicts.append(Verdict(metric_id=metric_id, status="FAIL", note=note))
            continue
        verdicts.append(_verdict(metric_id, ours[printed.index].to_numpy(), printed.to_numpy(), tolerance))
    return verdicts


def _verdict(
    metric_id: str, ours: np.ndarray, printed: np.ndarray, tolerance: Callable[[np.ndarray], np.ndarray]
) -> Verdict:
    """Compare where the reference has a number; equal infinities agree."""
    defined = ~np.isnan(printed)
    ours, printed = ours[defined], printed[defined]
    if not len(printed):
        note = "the reference has no number to compare with"
        return Verdict(metric_id=metric_id, status="SKIPPED", n_undefined=int((~defined).sum()), note=note)
    same = ours == printed
    with np.errstate(invalid="ignore", divide="ignore"):
        off = np.where(same, 0.0, np.abs(ours - printed))
        agrees = same | (off <= tolerance(printed))
        relative = np.where(same, 0.0, off / np.abs(printed))
    missing = int(np.isnan(ours).sum())
    notes = [f"{missing} undefined in ours"] if missing else []
    wrong = int((~agrees).sum()) - missing
    notes += [f"{wrong} differ"] if wrong > 0 else []
    known = relative[~np.isnan(relative)]
    if tolerance is not _relative and not notes:
        notes = [BESIDES[tolerance]]
    return Verdict(
        metric_id=metric_id,
        status="PASS" if agrees.all() else "FAIL",
        worst=float(known.max()) if len(known) else np.nan,
        n=len(printed),
        n_undefined=int((~defined).sum()),
        note=", ".join(notes),
    )


def _tables(pair: Pair, folder: Path) -> list[Verdict]:
    """The Mann-Whitney tables of cell-eval, where it left them."""
    verdicts = []
    for side, tests in (("real", measured_expression), ("pred", predicted_expression)):
        path = _first(folder, (f"celleval_{side}_de.csv.gz", f"{side}_de.csv"))
        if path is None:
            verdicts.append(_absent(f"celleval {side}_de", "run 'cell-eval run' into the folder: it writes the table"))
            continue
        table = pd.read_csv(path, dtype={"target": str, "feature": str}, keep_default_na=False)
        rows = pd.Index([label for _, label in pair.labels]).get_indexer(pd.Index(table["target"]))
        columns = pd.Index(pair.comparison.truth.genes).get_indexer(pd.Index(table["feature"]))
        if (rows < 0).any() or (columns < 0).any():
            note = "it names conditions or genes that the files do not hold"
            verdicts.append(Verdict(metric_id=f"celleval {side}_de", status="FAIL", note=note))
            continue
        found = tests(pair.comparison)
        for name, values in (
            ("p_value", found.p_value),
            ("fdr", found.fdr),
            ("log2_fold_change", found.log2_fold_change),
        ):
            printed = table[name].astype(np.float64).to_numpy()
            tolerance = _of_float32_means if name == "log2_fold_change" else _relative
            verdicts.append(_verdict(f"celleval {side}_de {name}", values[rows, columns], printed, tolerance))
    return verdicts


def _first(folder: Path, names: Sequence[str]) -> Path | None:
    return next((folder / name for name in names if (folder / name).is_file()), None)


def _absent(name: str, step: str) -> Verdict:
    return Verdict(metric_id=f"{name}.*" if " " not in name else name, status="ABSENT", note=step)
