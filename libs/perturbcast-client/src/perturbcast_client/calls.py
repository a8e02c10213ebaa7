"""What both clients do around a call: build the request, cut it into chunks, read the reply."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeVar, Union, cast

import grpc

from perturbcast_client import codec
from perturbcast_client.errors import DefectError, ResourceExhaustedError
from perturbcast_client.messages import Condition, ControlCells, ModelRef, PredictRequest, Wanted

__all__ = ["Model", "check_chunk_size", "check_message_size", "chunks", "decoded", "make_request", "reference"]

T = TypeVar("T")
Model = Union[str, ModelRef]


def reference(model: Model) -> ModelRef:
    """A name as a reference to its default."""
    return model if isinstance(model, ModelRef) else ModelRef(name=model)


def make_request(
    model: Model,
    conditions: Sequence[Condition],
    *,
    controls: Mapping[str, Any] | None,
    genes: Sequence[str],
    genes_sha256: str,
    wanted: Wanted | None,
    seed: int,
    request_id: str,
) -> PredictRequest:
    """The request of ``Client.predict``, refused where it is bad whatever the model."""
    return PredictRequest(
        model=reference(model),
        conditions=tuple(conditions),
        controls=tuple(ControlCells.of(context, values) for context, values in (controls or {}).items()),
        genes=tuple(genes),
        genes_sha256=genes_sha256,
        wanted=wanted or Wanted(),
        seed=seed,
        request_id=request_id,
    )


def check_message_size(message: Any, limit: int) -> None:
    """Refuse at once what gRPC would refuse, and then try again because a full queue has the same status.

    Raises:
        ResourceExhaustedError: the message is larger than this client sends.
    """
    size = message.ByteSize()
    if size > limit:
        raise ResourceExhaustedError(
            grpc.StatusCode.RESOURCE_EXHAUSTED,
            f"A message has at most {limit} bytes (max_message_bytes); this one has {size}. Send fewer conditions or "
            "cells at a time, or use predict_stream.",
        )


def check_chunk_size(size: int) -> None:
    """Refuse a chunk without conditions."""
    if size < 1:
        raise ValueError(f"chunk_size: a chunk holds at least one condition; got {size}. Give 1 or more.")


def chunks(request: PredictRequest, size: int) -> Iterator[PredictRequest]:
    """The request in pieces of at most ``size`` conditions, each with the controls of its own contexts."""
    for start in range(0, len(request.conditions), size):
        conditions = request.conditions[start : start + size]
        contexts = {condition.context for condition in conditions}
        controls = tuple(cells for cells in request.controls if cells.context in contexts)
        # without controls the list has no columns to name, and its hash would stand for the model's genes
        unlisted = bool(request.genes) and not controls
        yield dataclasses.replace(
            request,
            conditions=conditions,
            controls=controls,
            genes=() if unlisted else request.genes,
            genes_sha256="" if unlisted else request.genes_sha256,
        )


def decoded(method: codec.Method, reply: bytes, decode: Callable[[Any], T]) -> T:
    """The reply as what a user sees.

    Raises:
        DefectError: it breaks the contract.
    """
    try:
        if decode is codec.decode_prediction:  # its tensors are used where they lie in the reply
            return cast(T, codec.read_prediction(reply))
        return decode(codec.parse(method.response, reply))
    except ValueError as error:
        raise DefectError(
            grpc.StatusCode.INTERNAL,
            f"The reply to {method.name} breaks the contract: {error} Report it to the server.",
        ) from error
