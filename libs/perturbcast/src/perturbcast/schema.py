"""The nouns of the platform: conditions, measured data, splits and predictions.

Every object here is frozen and refuses bad values when it is built, so that the code behind it
trusts what it is given. Nothing in this module reads or writes a file.

Array axes: C conditions, G genes, N cells.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol, Self

import numpy as np
import scipy.sparse as sp

if TYPE_CHECKING:  # whoever makes a table has imported it: it takes as long as scoring a small pair of files
    import pandas as pd

__all__ = [
    "CONTROL",
    "REQUIRED_OBS",
    "Cells",
    "Condition",
    "PerturbationData",
    "Prediction",
    "SharedPerturbations",
    "Split",
    "canonical_hash",
    "canonical_perturbation",
    "content_hash",
    "dosed",
    "gene_list_hash",
    "label_digest",
    "positions",
    "repeated",
]

CONTROL = "control"
DOSE = "@"
REQUIRED_OBS = ("perturbation", "is_control", "context")


def repeated(names: Iterable[str]) -> list[str]:
    """Names that occur more than once, in order of first repetition."""
    known: set[str] = set()
    twice: dict[str, None] = {}
    for name in names:
        if name in known:
            twice.setdefault(name)
        known.add(name)
    return list(map(str, twice))


def dosed(target: str) -> tuple[str, float | None]:
    """Name and dose of one target of a label: ``DRUG@0.5`` was given at 0.5, in the dataset's unit; None: unstated.

    A name that ends in ``@`` and no number (the gene ``IGH@``) is a name.
    """
    name, _, text = target.rpartition(DOSE)
    try:
        dose = float(text)
    except ValueError:
        return target, None
    return (name, dose) if name and math.isfinite(dose) and dose >= 0 else (target, None)


def _spelled(target: str) -> str:
    """One spelling per dose, without the '+' of an exponent, which joins targets."""
    name, dose = dosed(target)
    return name if dose is None else f"{name}{DOSE}{dose:.12g}".replace("e+", "e")


def canonical_perturbation(label: str) -> str:
    """One spelling per perturbation: the targets of a combination sorted and joined by ``+``, doses as short numbers.

    Raises:
        ValueError: the label is empty, has an empty target, or mixes ``control`` with targets.
    """
    targets = [target.strip() for target in str(label).split("+")]
    if not all(targets):
        raise ValueError(
            f"A perturbation label names its targets, joined by '+'; {label!r} has an empty target. "
            "Rename it in the source file, or drop its cells."
        )
    if len(targets) > 1 and CONTROL in targets:
        raise ValueError(
            f"A combination names perturbed targets only; {label!r} contains {CONTROL!r}. "
            "Drop the control part of the label."
        )
    return "+".join(sorted({_spelled(target) if DOSE in target else target for target in targets}))


def canonical_hash(value: Any) -> str:
    """sha256 of a JSON value written in one way (sorted keys, no spaces)."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


def gene_list_hash(genes: Sequence[str]) -> str:
    """sha256 of the gene names in order, one per line; the same rule as the client's."""
    return hashlib.sha256("\n".join(genes).encode()).hexdigest()


def content_hash(x: sp.csr_matrix, genes: Sequence[str], obs: pd.DataFrame) -> str:
    """sha256 over matrix, names and labels, independent of the file format.

    Labels are the required ones, and ``batch`` where there is one: it decides which controls are matched.

    ``x`` is [cell, gene] CSR with sorted indices and no stored zeros (as ``PerturbationData`` keeps it).
    """
    digest = hashlib.sha256()
    for array, dtype in ((x.data, "<f4"), (x.indices, "<i8"), (x.indptr, "<i8")):
        digest.update(np.ascontiguousarray(array, dtype=dtype).tobytes())
    return label_digest(digest, genes, obs).hexdigest()


def label_digest(matrix: Any, genes: Sequence[str], obs: pd.DataFrame) -> Any:
    """``matrix``, a sha256 over X, continued over names and labels."""
    labels: list[Iterable[str]] = [genes, obs.index.astype(str)]
    labels += [obs[column].astype(str) for column in (*REQUIRED_OBS, "batch") if column in obs]
    for names in labels:
        matrix.update("\n".join(names).encode())
        matrix.update(b"\0")
    return matrix


def positions(obs: pd.DataFrame, barcodes: Sequence[str], *, dataset: str) -> np.ndarray:
    """Row numbers of the named cells, in the order given.

    Raises:
        ValueError: a barcode is not in the data.
    """
    position = obs.index.get_indexer(list(barcodes))  # type: ignore[arg-type]  # its stubs know an Index alone
    if (position < 0).any():
        absent = [barcode for barcode, place in zip(barcodes, position, strict=True) if place < 0]
        raise ValueError(
            f"Every barcode of a part is a cell of the dataset; {len(absent)} are not, first {absent[0]!r}. "
            f"The split was made from other data than {dataset!r}."
        )
    return position


@dataclasses.dataclass(frozen=True, order=True)
class Condition:
    """One perturbation measured (or asked for) in one context; the unit of every metric.

    Attributes:
        perturbation: canonical label, ``GENE`` or ``GENE+GENE`` (sorted), a drug, a cytokine; ``DRUG@DOSE`` where
            conditions differ by dose.
        context: cell type, cell line or donor.
    """

    perturbation: str
    context: str

    def __post_init__(self) -> None:
        if not self.context:
            raise ValueError(
                f"A condition names its context; {self.perturbation!r} came with an empty one. "
                "Give the cell type, cell line or donor."
            )
        object.__setattr__(self, "perturbation", canonical_perturbation(self.perturbation))

    @property
    def targets(self) -> tuple[str, ...]:
        """The single perturbations of the label, each with its dose; empty for control."""
        return () if self.perturbation == CONTROL else tuple(self.perturbation.split("+"))

    @property
    def names(self) -> tuple[str, ...]:
        """What is perturbed: the targets without their doses."""
        return tuple(dosed(target)[0] for target in self.targets)

    @property
    def doses(self) -> tuple[float | None, ...]:
        """Dose of each target, in the dataset's unit; None where the label states none."""
        return tuple(dosed(target)[1] for target in self.targets)

    @property
    def is_combination(self) -> bool:
        return len(self.targets) > 1

    def __str__(self) -> str:
        return f"{self.perturbation} in {self.context}"


@dataclasses.dataclass(frozen=True, kw_only=True)
class PerturbationData:
    """Measured cells on the data contract.

    Attributes:
        x: [cell, gene] CSR float32, log1p(counts per 10 000) unless ``meta["scale"]`` says otherwise.
        genes: gene names in column order, unique.
        obs: one row per cell, index = barcode (unique); columns ``perturbation`` (canonical),
            ``is_control``, ``context`` and optional covariates (``batch``, ``donor``, ``dose``, ``time``).
        meta: ``uns["perturbcast"]`` of the file: dataset id, source, scale, unit, targets, content hash.
        truth: ``uns["truth"]`` of a simulated dataset, else None.
    """

    x: sp.csr_matrix
    genes: tuple[str, ...]
    obs: pd.DataFrame
    meta: Mapping[str, Any]
    truth: Mapping[str, Any] | None = None

    def __post_init__(self) -> None:
        missing = [column for column in REQUIRED_OBS if column not in self.obs]
        if missing:
            raise ValueError(
                f"The data contract needs the obs columns {', '.join(REQUIRED_OBS)}; "
                f"{', '.join(missing)} missing, present: {', '.join(map(str, self.obs.columns)) or 'none'}. "
                "Run 'perturbcast import-h5ad' to map your columns."
            )
        x = sp.csr_matrix(self.x, dtype=np.float32)
        if x.shape != (len(self.obs), len(self.genes)):
            raise ValueError(
                f"X is [cell, gene]; its shape {x.shape} does not fit {len(self.obs)} cells and "
                f"{len(self.genes)} genes."
            )
        for what, names in (("Gene names", self.genes), ("Barcodes", self.obs.index)):
            twice = repeated(names)
            if twice:
                raise ValueError(
                    f"{what} are unique; repeated: {', '.join(twice[:5])}"
                    f"{f' and {len(twice) - 5} more' if len(twice) > 5 else ''}. "
                    "Make them unique before import (anndata: var_names_make_unique / obs_names_make_unique)."
                )
        if not np.isfinite(x.data).all():
            raise ValueError(
                f"X is finite; {int((~np.isfinite(x.data)).sum())} entries are NaN or infinite. "
                "Remove or impute them before import."
            )
        if x.nnz and x.data.min() < 0 and self.meta.get("unit", "cell") == "cell":
            raise ValueError(
                f"Expression is non-negative; the smallest entry of X is {x.data.min():g}. "
                "Import raw counts or log1p values, not scaled ones."
            )
        x.sum_duplicates()
        x.eliminate_zeros()
        object.__setattr__(self, "x", x)

    @property
    def dataset(self) -> str:
        return str(self.meta["dataset"])

    @property
    def hash(self) -> str:
        """The content hash that splits, models and predictions are locked to."""
        return str(self.meta["content_hash"])

    @property
    def contexts(self) -> tuple[str, ...]:
        return tuple(sorted(self.obs["context"].astype(str).unique()))

    @property
    def uncontrolled(self) -> tuple[str, ...]:
        """Contexts without a control cell."""
        controlled = set(self.obs.loc[self.obs["is_control"], "context"].astype(str))
        return tuple(context for context in self.contexts if context not in controlled)

    @property
    def conditions(self) -> tuple[Condition, ...]:
        """Perturbed conditions that have matched controls, sorted."""
        perturbed = self.obs.loc[~self.obs["is_control"], ["perturbation", "context"]].astype(str)
        pairs = perturbed.drop_duplicates().itertuples(index=False)
        uncontrolled = set(self.uncontrolled)
        return tuple(sorted(Condition(p, c) for p, c in pairs if c not in uncontrolled))

    def rows(self, index: np.ndarray) -> sp.csr_matrix:
        """Expression [row, gene] of the cells at ``index``, in the order given."""
        return self.x[index]

    def subset(self, barcodes: Sequence[str]) -> PerturbationData:
        """The named cells, in the order given.

        Raises:
            ValueError: a barcode is not in the data.
        """
        position = positions(self.obs, barcodes, dataset=self.dataset)
        return dataclasses.replace(self, x=self.x[position], obs=self.obs.iloc[position])


class Cells(Protocol):
    """Cells wherever they are: ``PerturbationData`` in memory, ``stores.CellFile`` on disk."""

    @property
    def genes(self) -> tuple[str, ...]: ...
    @property
    def obs(self) -> pd.DataFrame: ...
    @property
    def dataset(self) -> str: ...
    @property
    def hash(self) -> str: ...
    def rows(self, index: np.ndarray) -> sp.csr_matrix: ...


@dataclasses.dataclass(frozen=True, kw_only=True)
class SharedPerturbations:
    """What was done about perturbations that a held-out part measures and train does not.

    Attributes:
        policy: ``filter`` (left out), ``label`` (kept, the split is mixed) or ``fail`` (there is none, else an error).
        dropped: part -> perturbations left out of it.
        kept: part -> perturbations that it holds and train does not.
    """

    policy: str
    dropped: Mapping[str, tuple[str, ...]]
    kept: Mapping[str, tuple[str, ...]]

    @property
    def mixed(self) -> bool:
        """Whether test asks for perturbations that train does not hold, on top of what the rule holds out."""
        return bool(self.kept.get("test"))

    def to_json(self) -> dict[str, Any]:
        """Counts and names by part."""
        return {
            "policy": self.policy,
            "mixed": self.mixed,
            **{
                what: {part: {"count": len(names), "names": list(names)} for part, names in group.items()}
                for what, group in (("dropped", self.dropped), ("kept", self.kept))
            },
        }

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> Self:
        """From what ``to_json`` wrote."""
        groups = {
            what: {part: tuple(entry["names"]) for part, entry in record[what].items()} for what in ("dropped", "kept")
        }
        return cls(policy=record["policy"], **groups)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Split:
    """Which cells may be fitted, selected on, calibrated on and tested on; frozen and hash-locked.

    ``parts`` maps ``train``, ``validation``, ``calibration``, ``test`` and ``control_input`` to sorted
    barcodes. ``train`` holds perturbed cells and the controls of train contexts; ``control_input``
    holds controls of contexts outside train, and those that the rule withholds (of a held-out donor, say): they are
    input to prediction and never fitted. ``n_controls`` counts the control cells of each part.
    ``shared_perturbations`` is None where the rule has no such policy; ``coverage`` counts the genes that train
    and test share where they are different datasets, else None.
    """

    dataset: str
    dataset_hash: str
    rule: str
    parameters: Mapping[str, Any]
    seed: int
    fold: int
    n_folds: int
    held_out: str
    parts: Mapping[str, tuple[str, ...]]
    conditions: Mapping[str, tuple[Condition, ...]]
    strata: Mapping[str, str]
    ood_axes: tuple[str, ...]
    warnings: tuple[str, ...]
    n_controls: Mapping[str, int] = dataclasses.field(default_factory=dict)
    shared_perturbations: SharedPerturbations | None = None
    coverage: Mapping[str, Any] | None = None

    FORMAT = "perturbcast.split/2"
    PARTS = ("train", "validation", "calibration", "test", "control_input")

    def __post_init__(self) -> None:
        seen: dict[str, str] = {}
        for part in self.PARTS:
            for barcode in self.parts[part]:
                if barcode in seen:
                    raise ValueError(
                        f"The parts of a split are disjoint; cell {barcode!r} is in {seen[barcode]!r} and "
                        f"{part!r}. Make the split again."
                    )
                seen[barcode] = part
            if list(self.parts[part]) != sorted(self.parts[part]):
                raise ValueError(f"Barcodes of a split are sorted; part {part!r} is not. Make the split again.")
        for part in ("train", "validation", "calibration", "test"):
            if not self.conditions[part]:
                raise ValueError(
                    f"Every part of a split holds at least one condition; {self.rule!r} on {self.dataset!r} "
                    f"leaves {part!r} empty (held out: {self.held_out}). "
                    "Use fewer folds, larger fractions, or a rule that this dataset can carry."
                )

    @property
    def barcode_hashes(self) -> dict[str, str]:
        return {part: hashlib.sha256("\n".join(self.parts[part]).encode()).hexdigest() for part in self.PARTS}

    def to_json(self) -> dict[str, Any]:
        """The frozen record without its own hash; barcodes by hash and count."""
        return {
            "format": self.FORMAT,
            "dataset": self.dataset,
            "dataset_hash": self.dataset_hash,
            "rule": self.rule,
            "parameters": dict(self.parameters),
            "seed": self.seed,
            "fold": self.fold,
            "n_folds": self.n_folds,
            "held_out": self.held_out,
            "ood_axes": list(self.ood_axes),
            "warnings": list(self.warnings),
            "n_cells": {part: len(self.parts[part]) for part in self.PARTS},
            "barcodes_sha256": self.barcode_hashes,
            "conditions": {
                part: [[c.perturbation, c.context] for c in conditions] for part, conditions in self.conditions.items()
            },
            "strata": dict(self.strata),
            "n_controls": dict(self.n_controls),
            "shared_perturbations": self.shared_perturbations and self.shared_perturbations.to_json(),
            "coverage": self.coverage and dict(self.coverage),
        }

    @property
    def hash(self) -> str:
        return canonical_hash(self.to_json())


@dataclasses.dataclass(frozen=True, kw_only=True)
class Prediction:
    """Predicted responses of conditions.

    Attributes:
        conditions: C conditions, in row order.
        genes: G gene names, in column order.
        delta: [condition, gene] float64, perturbed minus matched control, in the units of X.
        variance: [condition, gene] float64 variance of ``delta``, same units squared.
        control: [condition, gene] float64 mean of the matched controls that were the input.
        intervals: level (0 to 1) -> half width [condition, gene]; infinite where calibration had too
            few conditions for the level.
        seen: [condition, 3] bool: perturbation, context, pair seen in training.
        notes: per condition, what a reader must know (a target not measured, a fallback used).
        model: fingerprint of the model that made it.
        kind: its name in params.yaml; empty where it has none.
        seed: of its training; None where it is not known.
        ood_score: [condition] float64, higher the farther a condition is from train (see
            ``calibration/out_of_distribution.py``); None where the model gives none.
    """

    conditions: tuple[Condition, ...]
    genes: tuple[str, ...]
    delta: np.ndarray
    variance: np.ndarray
    control: np.ndarray
    intervals: Mapping[float, np.ndarray]
    seen: np.ndarray
    notes: tuple[tuple[str, ...], ...]
    model: str
    kind: str = ""
    seed: int | None = None
    ood_score: np.ndarray | None = None

    def __post_init__(self) -> None:
        shape = (len(self.conditions), len(self.genes))
        named = {"delta": self.delta, "variance": self.variance, "control": self.control}
        named |= {f"interval {level:g}": half for level, half in self.intervals.items()}
        for name, array in named.items():
            if array.shape != shape:
                raise ValueError(f"Prediction {name!r} is [condition, gene] = {shape}; it came as {array.shape}.")
            if np.isnan(array).any() if name.startswith("interval") else not np.isfinite(array).all():
                raise ValueError(
                    f"Predictions are finite; {name!r} has {int((~np.isfinite(array)).sum())} entries that are "
                    "not. The model did not converge, or its input was bad."
                )
        if (self.variance < 0).any():
            raise ValueError(f"A variance is not negative; the smallest is {self.variance.min():g}.")
        if self.seen.shape != (shape[0], 3) or len(self.notes) != shape[0]:
            raise ValueError("'seen' is [condition, 3] and 'notes' has one entry per condition.")
        if self.ood_score is not None and (self.ood_score.shape != shape[:1] or not np.isfinite(self.ood_score).all()):
            raise ValueError(
                f"An out-of-distribution score is one finite value per condition ({shape[0]}); it came as "
                f"{self.ood_score.shape}. The control means of a condition were bad, or the model has a defect."
            )

    @property
    def mean(self) -> np.ndarray:
        """Predicted mean expression [condition, gene]: control + delta, not clipped."""
        return self.control + self.delta
