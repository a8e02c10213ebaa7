"""Turns a request into a prediction; knows models, names and limits, and nothing of gRPC.

Requests and predictions are the client's frozen dataclasses, which have refused by themselves what is wrong
whatever the model; here is refused what does not fit the model that was asked.

Axes: condition, gene, cell.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from perturbcast import schema
from perturbcast.errors import UnanswerableError
from perturbcast_client.messages import (
    ControlCells,
    ModelInfo,
    ModelRef,
    Prediction,
    PredictRequest,
    SeenInTraining,
)
from prediction_service.limits import Limits
from prediction_service.served_model import ServedModel, describe

__all__ = ["Engine", "InvalidRequestError", "UnknownModelError"]

DEFAULT_ALIAS = "champion"
BYTES_PER_TOP_GENE = 32  # a name of usual length, a double, and their protobuf tags


class UnknownModelError(LookupError):
    """No model, version or alias of that name is served."""


class InvalidRequestError(ValueError):
    """The request does not fit the model; the message begins with the field."""


class Engine:
    """Answers for a fixed set of models; safe to call from several threads.

    Args:
        models: in the order of preference; the default of a name is its ``champion``, else its first.
        limits: what one request may ask for.

    Raises:
        ValueError: no model, or two models answer to one name and version or alias.
    """

    def __init__(self, models: Sequence[ServedModel], *, limits: Limits | None = None) -> None:
        if not models:
            raise ValueError("A prediction service serves at least one model; none was given. Name one with --model.")
        self.limits = limits or Limits()
        self._infos = {(served.name, served.version): describe(served) for served in models}
        self._versions: dict[str, dict[str, ServedModel]] = {}
        self._aliases: dict[str, dict[str, ServedModel]] = {}
        for served in models:
            versions = self._versions.setdefault(served.name, {})
            aliases = self._aliases.setdefault(served.name, {})
            taken = [f"version {served.version!r}"] if served.version in versions else []
            taken += [f"alias {alias!r}" for alias in served.aliases if alias in aliases]
            if taken:
                raise ValueError(
                    f"A name with a version or an alias stands for one model; {served.name!r} has {taken[0]} twice. "
                    "Serve it once."
                )
            versions[served.version] = served
            aliases.update(dict.fromkeys(served.aliases, served))

    def models(self) -> tuple[ModelInfo, ...]:
        """Every model in full, in the order given."""
        return tuple(self._infos.values())

    def describe(self, ref: ModelRef) -> ModelInfo:
        """One model in full.

        Raises:
            UnknownModelError: it is not served.
        """
        served = self._find(ref)
        return self._infos[served.name, served.version]

    def predict(self, request: PredictRequest) -> Prediction:
        """Answer every condition of the request, or refuse it whole. Timings are left empty.

        Raises:
            UnknownModelError: the model is not served.
            InvalidRequestError: genes, interval level, number of top genes or a label do not fit the model.
            UnanswerableError: a context without controls, a dose or a target that the model cannot represent.
            LimitError: too many conditions or cells, or too large a reply.
        """
        served = self._find(request.model)
        model, info = served.model, self._infos[served.name, served.version]
        self._check_size(request, info)
        level = _interval_level(request.wanted.interval_level, info)
        conditions = _conditions(request, info)
        given = _control_means(request, info)
        predicted = model.predict(conditions, control_means=given)
        half = predicted.intervals[level] if level else None
        return Prediction(
            model=served.name,
            version=served.version,
            fingerprint=model.fingerprint,
            genes_sha256=info.genes_sha256,
            conditions=request.conditions,
            delta=predicted.delta,
            seen=tuple(
                SeenInTraining(perturbation=bool(p), context=bool(c), pair=bool(pair)) for p, c, pair in predicted.seen
            ),
            notes=predicted.notes,
            controls=tuple("request" if condition.context in given else "stored" for condition in conditions),
            variance=predicted.variance if request.wanted.variance else None,
            interval_level=level,
            lower=None if half is None else predicted.delta - half,
            upper=None if half is None else predicted.delta + half,
            expression=predicted.mean if request.wanted.expression else None,
            top_genes=_top_genes(predicted.delta, info.genes, request.wanted.top_genes),
            request_id=request.request_id,
        )

    def _find(self, ref: ModelRef) -> ServedModel:
        versions, aliases = self._versions.get(ref.name, {}), self._aliases.get(ref.name, {})
        if ref.alias:
            found = aliases.get(ref.alias)
        elif ref.version:
            found = versions.get(ref.version)
        else:
            found = aliases.get(DEFAULT_ALIAS) or next(iter(versions.values()), None)
        if found is None:
            known = [
                served.name
                + (f"/{served.version}" if served.version else "")
                + "".join(f"@{alias}" for alias in served.aliases)
                for by_version in self._versions.values()
                for served in by_version.values()
            ]
            raise UnknownModelError(
                f"model: a model is one that this server answers for; {str(ref)!r} is not. Known: {', '.join(known)}."
            )
        return found

    def _check_size(self, request: PredictRequest, info: ModelInfo) -> None:
        wanted = request.wanted
        self.limits.check_conditions(len(request.conditions))
        self.limits.check_cells(sum(len(cells.expression) for cells in request.controls))
        if wanted.top_genes > info.gene_count:
            raise InvalidRequestError(
                f"wanted.top_genes: at most the model's {info.gene_count} genes; got {wanted.top_genes}. Ask for fewer."
            )
        tensors = 1 + wanted.variance + 2 * (wanted.interval_level > 0) + wanted.expression
        row = tensors * info.gene_count * 8 + wanted.top_genes * BYTES_PER_TOP_GENE
        self.limits.check_reply(len(request.conditions) * row)


def _interval_level(asked: float, info: ModelInfo) -> float:
    """The model's own level that was asked for, 0 for none."""
    if not asked:
        return 0.0
    for level in info.interval_levels:
        if math.isclose(level, asked, rel_tol=0, abs_tol=1e-9):
            return level
    offered = ", ".join(f"{level:g}" for level in info.interval_levels) or "none"
    raise InvalidRequestError(
        f"wanted.interval_level: a level that the model is calibrated for; got {asked:g}, offered: {offered}. "
        "Ask for one of these, or for variance."
    )


def _conditions(request: PredictRequest, info: ModelInfo) -> list[schema.Condition]:
    given = {cells.context for cells in request.controls}
    conditions = []
    for i, asked in enumerate(request.conditions):
        field = f"conditions[{i}]"
        for target in asked.targets:
            if target.dose or target.kind:
                what = f"dose {target.dose:g}" if target.dose else f"kind {target.kind!r}"
                raise UnanswerableError(
                    f"{field}.targets: model {info.name!r} has no input for dose and kind and answers as in training; "
                    f"{target.name!r} came with {what}. Leave it empty."
                )
        if asked.context not in given and asked.context not in info.contexts:
            stored = ", ".join(info.contexts) or "none"
            raise UnanswerableError(
                f"{field}.context: a prediction starts from control cells of its context; {asked.context!r} has none "
                f"in the request and none stored with model {info.name!r} (stored: {stored}). "
                "Send controls for it."
            )
        try:
            conditions.append(schema.Condition(asked.perturbation, asked.context))
        except ValueError as error:
            raise InvalidRequestError(f"{field}.targets: {error}") from error
    return conditions


def _control_means(request: PredictRequest, info: ModelInfo) -> dict[str, NDArray[np.float64]]:
    """Context -> mean over its control cells [gene], in the model's gene order."""
    columns: NDArray[np.intp] | slice = slice(None)
    if request.genes:
        position = {gene: i for i, gene in enumerate(request.genes)}
        missing = [gene for gene in info.genes if gene not in position]
        if missing:
            raise InvalidRequestError(
                f"genes: control cells hold every gene of the model; {len(missing)} of {info.gene_count} are missing, "
                f"first {', '.join(missing[:5])}. Add them (GetModel with include_genes lists all)."
            )
        columns = np.array([position[gene] for gene in info.genes], dtype=np.intp)
    elif request.genes_sha256 and request.genes_sha256 != info.genes_sha256:
        raise InvalidRequestError(
            f"genes_sha256: without genes it is that of the model's genes in its order, {info.genes_sha256}; got "
            f"{request.genes_sha256!r}. Send the gene list, or bring the columns into the model's order."
        )
    return {
        cells.context: _mean(cells, field=f"controls[{i}].expression", columns=columns, info=info)
        for i, cells in enumerate(request.controls)
    }


def _mean(
    cells: ControlCells, *, field: str, columns: NDArray[np.intp] | slice, info: ModelInfo
) -> NDArray[np.float64]:
    if isinstance(columns, slice) and cells.expression.shape[1] != info.gene_count:
        raise InvalidRequestError(
            f"{field}: one column per gene of the model, {info.gene_count}; got {cells.expression.shape[1]}. "
            "Send the columns that genes_sha256 stands for."
        )
    mean: NDArray[np.float64] = cells.expression.mean(axis=0, dtype=np.float64)[columns]
    return mean


def _top_genes(
    delta: NDArray[np.float64], genes: Sequence[str], count: int
) -> tuple[tuple[tuple[str, float], ...], ...]:
    if not count:
        return ()
    order = np.argsort(-np.abs(delta), axis=1, kind="stable")[:, :count]  # stable: ties in the model's gene order
    return tuple(tuple((genes[j], float(row[j])) for j in best) for row, best in zip(delta, order, strict=True))
