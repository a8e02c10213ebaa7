"""What a caller builds and reads: frozen dataclasses that refuse bad values when built.

A refusal is a ``ValueError`` that begins with the name of the field. Arrays of a reply are read-only.

Array axes: condition, gene, cell.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from perturbcast_client.cells import ControlCells, CsrMatrix, largest_expression, named

__all__ = [
    "Condition",
    "ControlCells",
    "CsrMatrix",
    "ModelInfo",
    "ModelRef",
    "PredictRequest",
    "Prediction",
    "SeenInTraining",
    "Target",
    "Wanted",
    "gene_list_hash",
    "largest_expression",
]

REQUEST_ID_LENGTH = 128


def gene_list_hash(genes: Iterable[str]) -> str:
    """Lower-case hex sha256 of the gene names joined by newlines, UTF-8; what ``genes_sha256`` means on the wire."""
    return hashlib.sha256("\n".join(genes).encode()).hexdigest()


def _listing(names: Sequence[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")


def _repeated(names: Iterable[str]) -> list[str]:
    listed = list(names)
    if len(set(listed)) == len(listed):  # as always but once: a count takes three times as long
        return []
    return [name for name, count in Counter(listed).items() if count > 1]


@dataclasses.dataclass(frozen=True)
class ModelRef:
    """Which model: a name, and at most one of version and alias; without them the server's default of the name."""

    name: str
    version: str = ""
    alias: str = ""

    def __post_init__(self) -> None:
        named("name", self.name)
        if self.version and self.alias:
            raise ValueError(
                f"version: a model is pinned by version or by alias; got {self.version!r} and {self.alias!r}. "
                "Give one of them."
            )

    def __str__(self) -> str:
        if self.alias:
            return f"{self.name}@{self.alias}"
        return f"{self.name}/{self.version}" if self.version else self.name


@dataclasses.dataclass(frozen=True, order=True)
class Target:
    """One single perturbation.

    Attributes:
        name: gene symbol, drug or cytokine, as in the training data.
        dose: in the dataset's unit; 0 means as in training. A model whose training states no doses refuses it.
        kind: for example CRISPRi; empty means as in training.
    """

    name: str
    dose: float = 0.0
    kind: str = ""

    def __post_init__(self) -> None:
        named("name", self.name)
        if "+" in self.name:
            raise ValueError(
                f"name: a target is one single perturbation; {self.name!r} joins several. Give one target for each."
            )
        if not math.isfinite(self.dose) or self.dose < 0:
            raise ValueError(f"dose: a dose is finite and not negative; got {self.dose!r}. 0 means as in training.")

    @property
    def label(self) -> str:
        """``NAME``, or ``NAME@DOSE`` where a dose is given."""
        return f"{self.name}@{self.dose:.12g}".replace("e+", "e") if self.dose else self.name


@dataclasses.dataclass(frozen=True)
class Condition:
    """A perturbation asked for in one context.

    Attributes:
        targets: at least one; several make a combination. Kept sorted by name.
        context: cell type, cell line or donor.
        covariates: (name, value) of what else is known of the cells, each name once. Kept sorted. A model without an
            input for one of them refuses it.
    """

    targets: tuple[Target, ...]
    context: str
    covariates: tuple[tuple[str, str], ...] = ()

    def __post_init__(self) -> None:
        targets = tuple(sorted(self.targets)) if len(self.targets) > 1 else tuple(self.targets)
        if not targets:
            raise ValueError(
                f"targets: a condition names at least one target; the one in {self.context!r} has none. "
                "Leave unperturbed cells out: their delta is 0."
            )
        if len(targets) > 1 and (repeated := _repeated(target.name for target in targets)):
            raise ValueError(f"targets: a condition names a target once; repeated: {_listing(repeated)}.")
        named("context", self.context)
        if self.covariates and (repeated := _repeated(name for name, _ in self.covariates)):
            raise ValueError(f"covariates: a condition names a covariate once; repeated: {_listing(repeated)}.")
        for covariate in self.covariates:
            for text in covariate:
                named("covariates", text)
        object.__setattr__(self, "targets", targets)
        object.__setattr__(self, "covariates", tuple(sorted(self.covariates)))

    @classmethod
    def from_label(cls, label: str, context: str) -> Condition:
        """The condition of a label ``A`` or ``A+B``, doses and kinds as in training."""
        return cls(targets=tuple(Target(name.strip()) for name in label.split("+")), context=context)

    @property
    def perturbation(self) -> str:
        """Canonical label: target names, with the doses that were given, sorted and joined by ``+``."""
        return "+".join(sorted([target.label if target.dose else target.name for target in self.targets]))

    def __str__(self) -> str:
        return f"{self.perturbation} in {self.context}"


@dataclasses.dataclass(frozen=True)
class Wanted:
    """What to return beside the mean delta.

    Attributes:
        variance: the variance of delta.
        interval_level: one of the model's levels, or 0 for no interval.
        expression: predicted mean expression, control mean + delta.
        top_genes: number of genes with the largest absolute delta; 0 for none.
        cells: number of sampled cells per condition; 0 for none. Their context's control cells go with the request.
    """

    variance: bool = False
    interval_level: float = 0.0
    expression: bool = False
    top_genes: int = 0
    cells: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.interval_level < 1:
            raise ValueError(
                f"interval_level: a level lies between 0 and 1; got {self.interval_level!r}. "
                "Take one of the model's (GetModel: interval_levels), or 0 for none."
            )
        for name in ("top_genes", "cells"):
            if not 0 <= getattr(self, name) < 2**31:
                raise ValueError(
                    f"{name}: a number is not negative and below 2^31; got {getattr(self, name)}. 0 means none."
                )


@dataclasses.dataclass(frozen=True, eq=False)
class PredictRequest:
    """Conditions for one model.

    Attributes:
        model: which model.
        conditions: at least one, in the order that the rows of the reply have; repeats are allowed.
        controls: controls by value, one entry per context; other contexts use the model's stored controls.
        genes: columns of the controls, unique, any order, at least the model's genes; empty where
            ``genes_sha256`` says that they are the model's genes in its order.
        genes_sha256: hash of ``genes``, or of the gene list that the caller takes the model to have; may be empty.
        wanted: what to return.
        seed: of the sampled cells, 0 to 2^64 - 1; equal seeds give equal cells, whatever else is in the request.
        request_id: echoed and logged; the server makes one where it is empty.
    """

    model: ModelRef
    conditions: tuple[Condition, ...]
    controls: tuple[ControlCells, ...] = ()
    genes: tuple[str, ...] = ()
    genes_sha256: str = ""
    wanted: Wanted = dataclasses.field(default_factory=Wanted)
    request_id: str = ""
    seed: int = 0

    def __post_init__(self) -> None:
        if not self.conditions:
            raise ValueError("conditions: a request holds at least one condition; got none. Add what to predict.")
        if len(self.request_id) > REQUEST_ID_LENGTH or not self.request_id.isprintable():
            raise ValueError(
                f"request_id: at most {REQUEST_ID_LENGTH} printable characters; got {len(self.request_id)}. "
                "Shorten it, or leave it empty."
            )
        if not 0 <= self.seed < 2**64:
            raise ValueError(f"seed: a seed lies between 0 and 2^64 - 1; got {self.seed}. Take another one.")
        self._check_controls()
        self._check_genes()

    def _check_controls(self) -> None:
        repeated = _repeated(cells.context for cells in self.controls)
        if repeated:
            raise ValueError(
                f"controls: one entry per context; repeated: {_listing(repeated)}. Put the cells of a context together."
            )
        asked = {condition.context for condition in self.conditions}
        unused = [cells.context for cells in self.controls if cells.context not in asked]
        if unused:
            raise ValueError(
                f"controls: every entry belongs to a context that a condition asks for; {_listing(unused)} does not "
                f"(asked: {_listing(sorted(asked))}). Check the spelling, or leave it out."
            )

    def _check_genes(self) -> None:
        if self.genes and not self.controls:
            raise ValueError(
                f"genes: they name the columns of controls; got {len(self.genes)} genes and no controls. "
                "Send controls, or only genes_sha256."
            )
        if self.controls and not (self.genes or self.genes_sha256):
            raise ValueError(
                "genes: control cells come with the genes of their columns; got neither genes nor genes_sha256. "
                "Send the list, or the model's genes_sha256 where the columns are the model's genes in its order."
            )
        if not all(self.genes):
            raise ValueError(f"genes: a gene has a name; number {self.genes.index('')} is empty. Name or drop it.")
        repeated = _repeated(self.genes)
        if repeated:
            raise ValueError(f"genes: gene names are unique; repeated: {_listing(repeated)}. Drop or rename them.")
        if self.genes and self.genes_sha256 and self.genes_sha256 != gene_list_hash(self.genes):
            raise ValueError(
                f"genes_sha256: it is the sha256 of genes; got {self.genes_sha256!r} for a list of "
                f"{gene_list_hash(self.genes)}. Send one of the two."
            )
        for i, cells in enumerate(self.controls):
            if self.genes and cells.shape[1] != len(self.genes):
                raise ValueError(
                    f"controls[{i}].expression: one column per gene; {cells.context!r} has "
                    f"{cells.shape[1]} columns for {len(self.genes)} genes. Send the columns of genes."
                )


@dataclasses.dataclass(frozen=True)
class ModelInfo:
    """A model as the service describes it.

    Attributes:
        version: registry version; empty for a model served from a directory.
        kind: the response model.
        dataset, dataset_hash, split: what it was trained on; split is the hash of the frozen split.
        fingerprint: sha256 over data, split, config, weights and code version.
        scale: units of expression in and out.
        genes: names in column order; empty unless asked for (``gene_count`` and ``genes_sha256`` always come).
        contexts: contexts whose controls are stored.
        perturbations: labels seen in training.
        inputs: what a condition must bring.
        validation_metrics: metric id -> value at registration.
        interval_levels: levels that calibration offers.
        stored_cells: context -> how many of its control cells the server has stored, to sample cells from.
    """

    name: str
    version: str = ""
    aliases: tuple[str, ...] = ()
    kind: str = ""
    dataset: str = ""
    dataset_hash: str = ""
    split: str = ""
    fingerprint: str = ""
    scale: str = ""
    gene_count: int = 0
    genes_sha256: str = ""
    genes: tuple[str, ...] = ()
    contexts: tuple[str, ...] = ()
    perturbations: tuple[str, ...] = ()
    inputs: tuple[str, ...] = ()
    validation_metrics: Mapping[str, float] = dataclasses.field(default_factory=dict)
    interval_levels: tuple[float, ...] = ()
    stored_cells: Mapping[str, int] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class SeenInTraining:
    """Whether a condition's perturbation (in any context), its context, and the pair of both were in training."""

    perturbation: bool
    context: bool
    pair: bool

    @staticmethod
    @functools.lru_cache(maxsize=8)  # there are no others: thousands of conditions share them
    def of(*seen: bool) -> SeenInTraining:
        """The one instance for perturbation, context and pair."""
        return SeenInTraining(*seen)


@dataclasses.dataclass(frozen=True, eq=False)
class Prediction:
    """Predicted responses; row i of every array is ``conditions[i]``, column j the model's gene j.

    Attributes:
        model: name that was asked for; ``version`` and ``fingerprint`` tell which one answered.
        genes_sha256: of the genes of the columns.
        conditions: in the order asked.
        delta: [condition, gene] float64, perturbed minus matched control in the model's scale.
        seen: per condition, what was in training.
        notes: per condition, what a reader must know.
        controls: per condition, ``stored`` or ``request``: which controls were the input.
        variance: [condition, gene] float64 of delta, where asked.
        interval_level: of ``lower`` and ``upper``; 0 where no interval was asked.
        lower, upper: [condition, gene] float64 ends of delta's interval; infinite where calibration had too few
            conditions for the level.
        expression: [condition, gene] float64 predicted mean expression, not clipped, where asked.
        top_genes: per condition, (gene, delta) with the largest absolute delta first; empty unless asked.
        ood_score: [condition] float64, higher the farther a condition is from what training held; comparable within
            one fingerprint. None where the model gives none.
        cells: [condition, cell, gene] float32 sampled cells, not negative, where asked: control cells of the request
            or of the server, moved by delta, with the model's calibrated spread.
        timings_ms: milliseconds spent in the server, by part.
    """

    model: str
    version: str
    fingerprint: str
    genes_sha256: str
    conditions: tuple[Condition, ...]
    delta: NDArray[np.float64]
    seen: tuple[SeenInTraining, ...]
    notes: tuple[tuple[str, ...], ...]
    controls: tuple[str, ...]
    variance: NDArray[np.float64] | None = None
    interval_level: float = 0.0
    lower: NDArray[np.float64] | None = None
    upper: NDArray[np.float64] | None = None
    expression: NDArray[np.float64] | None = None
    top_genes: tuple[tuple[tuple[str, float], ...], ...] = ()
    ood_score: NDArray[np.float64] | None = None
    cells: NDArray[np.float32] | None = None
    request_id: str = ""
    timings_ms: Mapping[str, float] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        rows = len(self.conditions)
        for name in ("delta", "variance", "lower", "upper", "expression"):
            array = getattr(self, name)
            if array is not None and (array.ndim != 2 or array.shape != (rows, self.delta.shape[1])):
                raise ValueError(f"{name}: [condition, gene] with {rows} conditions; got shape {array.shape}.")
        for name in ("seen", "notes", "controls"):
            if len(getattr(self, name)) != rows:
                raise ValueError(f"{name}: one entry per condition; got {len(getattr(self, name))} for {rows}.")
        if self.top_genes and len(self.top_genes) != rows:
            raise ValueError(f"top_genes: one entry per condition; got {len(self.top_genes)} for {rows}.")
        if self.ood_score is not None and self.ood_score.shape != (rows,):
            raise ValueError(f"ood_score: one per condition, {rows}; got shape {self.ood_score.shape}.")
        cells = self.cells
        if cells is not None and (cells.ndim != 3 or (rows, self.delta.shape[1]) != (cells.shape[0], cells.shape[2])):
            raise ValueError(f"cells: [condition, cell, gene] with {rows} conditions; got shape {cells.shape}.")
