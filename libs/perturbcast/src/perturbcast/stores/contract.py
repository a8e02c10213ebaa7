"""From anyone's AnnData to the data contract: columns mapped by name, every rule checked, every step recorded.

Nothing is guessed from the values: which column is what, which label is control and whether X holds counts are said
by the caller. Bad input gets one error before anything is written.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from importlib.metadata import version
from typing import Any, Literal

import anndata
import numpy as np
import pandas as pd
import scipy.sparse as sp

from perturbcast.errors import UsageError
from perturbcast.schema import CONTROL, PerturbationData, canonical_perturbation, content_hash, repeated
from perturbcast.stores import signatures
from perturbcast.stores.h5ad import GENE_COLUMNS

__all__ = ["COVARIATES", "ColumnMapping", "to_contract"]

COVARIATES = ("batch", "donor", "guide", "dose", "time")
NUMERIC = ("dose", "time")
MISSING = ("", "nan", "<NA>")  # the last two are what pandas writes for a missing label turned into text
TARGET_SUM = 10_000
LOG1P_CP10K = "log1p(counts per 10 000)"


@dataclasses.dataclass(frozen=True, kw_only=True)
class ColumnMapping:
    """Which obs column holds what.

    Attributes:
        perturbation, context: required columns; an empty ``context`` puts all cells in one context named ``all``.
        control: labels that mean unperturbed; signatures have none.
        separator: joins the targets of a combination in the source.
        rename: target name in the source -> gene or element, where they differ (``MRPL9_TSS`` is ``MRPL9``).
        inert: target names that do nothing (non-targeting guides): dropped from combinations, as control labels are;
            alone they are control.
        covariates: ``batch``, ``donor``, ``guide``, ``dose``, ``time`` -> column.
        by_dose: conditions differ by dose: it is part of the label, ``DRUG@0.5``, and of what a model is told. Else
            cells of all doses are one condition.
        units: unit of ``dose`` and ``time`` where they are mapped; a value may carry it (``6 h``). Controls without
            a number have 0.
        library_size: column with each cell's total count where the file holds a gene panel only; empty means the
            sum over the genes present.
        kind: ``counts`` (X or layers["counts"] holds integers), ``log1p`` (X is taken as published) or ``signatures``
            (a row is a condition, X its difference from control as published; it gets controls of zero).
        scale: what ``log1p`` values or signatures are, in words.
        missing: of signatures, the layer that marks missing values; empty where none are.
    """

    perturbation: str
    context: str
    control: tuple[str, ...]
    separator: str = "+"
    rename: Mapping[str, str] = dataclasses.field(default_factory=dict)
    inert: tuple[str, ...] = ()
    covariates: Mapping[str, str] = dataclasses.field(default_factory=dict)
    units: Mapping[str, str] = dataclasses.field(default_factory=dict)
    by_dose: bool = False
    library_size: str = ""
    kind: Literal["counts", "log1p", "signatures"] = "counts"
    scale: str = "log1p of library-size normalised counts, as published"
    missing: str = ""

    def __post_init__(self) -> None:
        unknown = sorted(set(self.covariates) - set(COVARIATES))
        if unknown:
            raise UsageError(
                f"Columns are mapped to perturbation, context, {', '.join(COVARIATES)}; {', '.join(unknown)} unknown. "
                "Leave it out: other obs columns are not kept."
            )
        bare = [name for name in NUMERIC if name in self.covariates and not self.units.get(name)]
        if bare:
            raise UsageError(f"{' and '.join(bare)} come with a unit; none was given. Name it, for example uM or h.")
        if self.by_dose and "dose" not in self.covariates:
            raise UsageError(
                "Conditions differ by dose where there is one; dose is mapped to no column. Add dose=COLUMN."
            )
        unused = sorted(set(self.units) - set(self.covariates))
        if unused:
            raise UsageError(
                f"A unit belongs to a mapped column; {', '.join(unused)} is not mapped. "
                f"Add {unused[0]}=COLUMN, or leave its unit out."
            )


def to_contract(
    adata: anndata.AnnData,
    mapping: ColumnMapping,
    *,
    dataset: str,
    source: Mapping[str, Any],
    min_cells: int = 20,
    allow_uncontrolled: bool = False,
    allow_unperturbed: bool = False,
) -> tuple[PerturbationData, sp.csr_matrix | None]:
    """Check and convert; the cells on the contract, and their raw counts [cell, gene] where the source has them.

    Args:
        adata: the source, in memory.
        mapping: its columns.
        dataset: id for splits and registry names.
        source: study, accession, licence, file and so on, for the record.
        min_cells: perturbed conditions with fewer cells are dropped and listed; signatures have no cells to count.
        allow_uncontrolled: keep contexts without control cells, marked and left out of every condition.
        allow_unperturbed: take a dataset without a perturbed cell: encoders are pretrained on it, nothing is split.

    Raises:
        UsageError: a column or the control label is not there, or ``min_cells`` is not positive.
        ValueError: the content breaks a rule of the contract.
    """
    if min_cells < 1:
        raise UsageError(f"A condition has at least one cell; --min-cells is {min_cells}. Give 1 or more.")
    steps = [f"perturbcast {version('perturbcast')}, anndata {version('anndata')}"]
    of_signatures = mapping.kind == "signatures"
    if mapping.missing:
        adata = signatures.complete(adata, mapping.missing, steps)
    obs = _labels(adata, mapping, steps)
    genes = tuple(adata.var_names.astype(str))
    for what, names in (("Gene names", genes), ("Barcodes", adata.obs_names)):
        twice = repeated(names)
        if twice:
            raise ValueError(
                f"{what} are unique; repeated: {', '.join(twice[:5])}"
                f"{f' and {len(twice) - 5} more' if len(twice) > 5 else ''}. "
                "Make them unique first (anndata: var_names_make_unique, obs_names_make_unique)."
            )
    obs.index = pd.Index(adata.obs_names.astype(str), dtype=object)
    x, counts = _expression(adata, mapping, steps)
    if of_signatures:
        obs, x = signatures.neutral_controls(obs, x, steps)
        min_cells = 1

    keep = np.ones(len(obs), dtype=bool)
    if counts is not None and not mapping.library_size:  # a panel may miss a cell that the study counted
        empty = np.asarray(counts.sum(axis=1)).ravel() == 0
        if empty.any():
            keep &= ~empty
            steps.append(f"dropped {int(empty.sum())} cells without a count")
    is_control = obs["is_control"].to_numpy(dtype=bool)
    name_of = (obs["perturbation"] + " in " + obs["context"]).to_numpy(dtype=str)
    names, sizes = np.unique(name_of[keep & ~is_control], return_counts=True)
    few = {str(name): int(n) for name, n in zip(names, sizes, strict=True) if n < min_cells}
    if few:
        keep &= is_control | ~np.isin(name_of, list(few))
        steps.append(f"dropped {len(few)} conditions with fewer than {min_cells} cells")
    if not (keep & ~is_control).any() and not (allow_unperturbed and is_control.all()):
        raise ValueError(
            f"A dataset holds at least one perturbed condition of {min_cells} cells; the largest of {dataset!r} has "
            f"{max(sizes, default=0)}. Lower --min-cells, or check --control."
        )
    obs, x = obs[keep].copy(), sp.csr_matrix(x[keep])
    counts = None if counts is None else sp.csr_matrix(counts[keep])
    uncontrolled = _uncontrolled(obs, allowed=allow_uncontrolled)
    if uncontrolled:
        steps.append(f"kept {len(uncontrolled)} contexts without controls, in no condition")
    meta: dict[str, Any] = {
        "dataset": dataset,
        **source,
        "scale": LOG1P_CP10K if mapping.kind == "counts" else mapping.scale,
        "unit": signatures.UNIT if of_signatures else "cell",
        "preprocessing": steps,
        "targets": {name: name.split("+") for name in sorted(obs["perturbation"].unique()) if name != CONTROL},
        "units": dict(mapping.units),
        "dropped_conditions": [f"{name} ({n} cells)" for name, n in few.items()],
        "control_labels": list(mapping.control),
        "uncontrolled": uncontrolled,
    } | {
        column: adata.var[column].astype(object).fillna("").astype(str).tolist()
        for column in GENE_COLUMNS
        if column in adata.var
    }
    x.sum_duplicates()
    x.eliminate_zeros()
    meta["content_hash"] = content_hash(x, genes, obs)
    return PerturbationData(x=x, genes=genes, obs=obs, meta=meta), counts


def _column(adata: anndata.AnnData, role: str, name: str) -> pd.Series[Any]:
    if name not in adata.obs:
        raise UsageError(
            f"Column {name!r} was mapped to {role}, and obs does not have it; present: "
            f"{', '.join(map(str, adata.obs.columns)) or 'none'}. Map {role} to one of these."
        )
    return adata.obs[name]


def _text(adata: anndata.AnnData, role: str, name: str) -> pd.Series[Any]:
    column = _column(adata, role, name)
    text = column.astype(object).where(column.notna(), "").astype(str).str.strip()
    missing = int(text.isin(MISSING).sum())
    if missing:
        raise ValueError(
            f"Every cell has a {role}; {missing} of {len(text)} have none in column {name!r}. "
            "Fill them in, or remove these cells before import."
        )
    return text


def _labels(adata: anndata.AnnData, mapping: ColumnMapping, steps: list[str]) -> pd.DataFrame:
    """The contract's obs, before cells are dropped."""
    columns = {
        "perturbation": mapping.perturbation,
        "context": mapping.context or "(one context)",
        **mapping.covariates,
    }
    steps.append("columns: " + ", ".join(f"{role} from {column}" for role, column in columns.items()))
    nothing = {*mapping.control, *mapping.inert}
    raw = _text(adata, "perturbation", mapping.perturbation)
    if mapping.kind != "signatures" and not raw.isin(mapping.control).any():
        some = ", ".join(map(str, raw.value_counts().index[:8]))
        raise UsageError(
            f"Control cells carry one of the labels {', '.join(mapping.control)}; column {mapping.perturbation!r} "
            f"holds none of them. Its most frequent labels: {some}. Name yours with --control."
        )

    def targets(label: str) -> list[str]:
        if label in nothing:
            return []
        parts = [part.strip() for part in label.split(mapping.separator)] if mapping.separator else [label]
        for part in parts:
            if part == CONTROL and CONTROL not in nothing:
                raise ValueError(
                    f"{CONTROL!r} is the contract's word for unperturbed cells; column {mapping.perturbation!r} holds "
                    f"{label!r} beside the control labels {', '.join(mapping.control)}. "
                    f"Name it too with --control {CONTROL}, or rename it in the file."
                )
            if "+" in part:
                raise ValueError(
                    f"'+' joins the targets of a combination; the target {part!r} of label {label!r} holds one. "
                    "Rename it in the file, or give --separator + if it is a combination."
                )
        return parts

    parts = {label: targets(label) for label in raw.unique()}
    kept = {label: [part for part in named if part not in nothing] for label, named in parts.items()}
    renamed = {
        label: canonical_perturbation("+".join(mapping.rename.get(part, part) for part in named)) if named else CONTROL
        for label, named in kept.items()
    }
    shortened = int(raw.isin([label for label in parts if len(kept[label]) < len(parts[label])]).sum())
    if shortened:
        steps.append(f"dropped the label parts {', '.join(sorted(nothing))}, which do nothing, in {shortened} cells")
    inert = int(raw.isin(set(mapping.inert)).sum())
    if inert:
        steps.append(f"{inert} cells labelled {', '.join(mapping.inert)} alone are controls")
    obs = pd.DataFrame({"perturbation": raw.map(renamed)})
    obs["is_control"] = obs["perturbation"] == CONTROL
    obs["context"] = _text(adata, "context", mapping.context) if mapping.context else "all"
    for role, name in mapping.covariates.items():
        if role not in NUMERIC:
            obs[role] = _text(adata, role, name)
            continue
        obs[role] = _number(_column(adata, role, name), role, unit=mapping.units[role], control=obs["is_control"])
    if mapping.by_dose:
        below = (obs["dose"] < 0) & ~obs["is_control"]
        if below.any():
            raise ValueError(
                f"A dose in a label is an amount, 0 or more, which models read; column {mapping.covariates['dose']!r} "
                f"holds {obs['dose'][below].iloc[0]:g}. If it holds logarithms, give amounts; else leave --by-dose out."
            )
        steps.append("conditions differ by dose, which is part of their labels")
        pairs = pd.MultiIndex.from_arrays([obs["perturbation"], obs["dose"]])
        labels = {pair: _at_dose(*pair) for pair in pairs.unique()}
        obs["perturbation"] = [labels[pair] for pair in pairs]
    return obs


def _at_dose(label: str, dose: float) -> str:
    """The label of a condition at a dose; every target of a combination has that dose."""
    return (
        label
        if label == CONTROL
        else canonical_perturbation("+".join(f"{t}@{float(dose)!r}" for t in label.split("+")))
    )


def _number(column: pd.Series[Any], role: str, *, unit: str, control: pd.Series[Any]) -> np.ndarray:
    """Dose or time as float64 [cell]; controls without a number have 0."""
    text = column.astype(str).str.strip().str.removesuffix(unit)
    number = pd.to_numeric(text, errors="coerce").to_numpy(dtype=float)
    stated = np.isfinite(number)
    bad = ~stated & ~control.to_numpy()
    if bad.any():
        raise ValueError(
            f"{role} is a number in {unit}; column {column.name!r} holds {str(column[bad].iloc[0])!r} for a perturbed "
            "cell. Convert the column first."
        )
    return np.where(stated, number, 0.0)


def _expression(
    adata: anndata.AnnData, mapping: ColumnMapping, steps: list[str]
) -> tuple[sp.csr_matrix, sp.csr_matrix | None]:
    """X of the contract, and counts where they exist."""
    layered = mapping.kind == "counts" and "counts" in adata.layers
    where = 'layers["counts"]' if layered else "X"
    matrix = adata.layers["counts"] if layered else adata.X
    if matrix is None:
        raise ValueError(
            f"Expression is in X or layers['counts']; this file has neither. Found layers: {list(adata.layers)}."
        )
    values = sp.csr_matrix(matrix, copy=True)
    if not np.isfinite(values.data).all():
        raise ValueError(
            f"Expression is finite; {where} has {int((~np.isfinite(values.data)).sum())} NaN or infinite entries. "
            "Remove or impute them before import."
        )
    if mapping.kind == "signatures":
        steps.append(f"X as published: {mapping.scale}")
        return values.astype(np.float32), None
    if values.nnz and values.data.min() < 0:
        raise ValueError(
            f"Expression is non-negative; the smallest entry of {where} is {values.data.min():g}. "
            "Import raw counts or log1p values, not scaled ones."
        )
    if mapping.kind == "log1p":
        steps.append(f"X as published: {mapping.scale}")
        return values.astype(np.float32), None
    fractional = values.data[values.data != np.round(values.data)]
    if len(fractional):
        raise ValueError(
            f"Counts are whole numbers; {where} has {len(fractional)} entries that are not, first {fractional[0]:g}. "
            "If X is log-normalised already, import it with --scale log1p."
        )
    if mapping.library_size:
        size = pd.to_numeric(_column(adata, "library_size", mapping.library_size), errors="coerce").to_numpy(
            dtype=float
        )
        wrong = ~(np.isfinite(size) & (size > 0))
        if wrong.any():
            raise ValueError(
                f"A library size is positive; column {mapping.library_size!r} holds {int(wrong.sum())} values "
                "that are not. Leave library_size out, or remove these cells."
            )
        total = np.asarray(values.sum(axis=1, dtype=np.float64)).ravel()
        if (total > size).any():
            cell = int((total > size).argmax())
            raise ValueError(
                f"A library size is at least the cell's counts in the file; {int((total > size).sum())} cells have "
                f"more, first {adata.obs_names[cell]!r} with {total[cell]:g} counts and {size[cell]:g} in column "
                f"{mapping.library_size!r}. Leave library_size out, or map the column of raw totals."
            )
        steps.append(
            f"X = log1p(counts / {mapping.library_size} * {TARGET_SUM}); that column counts all genes of the study"
        )
    else:
        size = np.maximum(np.asarray(values.sum(axis=1)).ravel().astype(float), 1.0)
        steps.append(f"X = log1p(counts / total of the cell * {TARGET_SUM})")
    scaled = values.astype(np.float64)
    scaled.data *= np.repeat(TARGET_SUM / size, np.diff(values.indptr))
    return scaled.log1p().astype(np.float32), values.astype(np.int32)


def _uncontrolled(obs: pd.DataFrame, *, allowed: bool) -> list[str]:
    """Contexts without control cells, which are an error unless allowed."""
    controlled = set(obs.loc[obs["is_control"], "context"])
    without = sorted(set(obs["context"]) - controlled)
    if without and not allowed:
        raise ValueError(
            f"Every context holds control cells; {', '.join(without[:5])} "
            f"{f'and {len(without) - 5} more ' if len(without) > 5 else ''}hold none. Map context to a coarser column, "
            "or keep them marked and unused with --allow-uncontrolled."
        )
    return without
