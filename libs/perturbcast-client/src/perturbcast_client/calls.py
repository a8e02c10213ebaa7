"""What both clients do around a call: its options, the request, its chunks, the reply, the errors.

They differ in waiting alone: one blocks, the other awaits.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Generic, TypedDict, TypeVar, Union

import grpc

from perturbcast_client import codec
from perturbcast_client.errors import DefectError, ResourceExhaustedError, from_rpc_error
from perturbcast_client.messages import Condition, ControlCells, ModelInfo, ModelRef, Prediction, PredictRequest, Wanted

__all__ = ["Asked", "Call", "Caller", "Model", "get_model", "list_models", "predict", "refusals", "stream_request"]

T = TypeVar("T")
Channel = TypeVar("Channel")
Model = Union[str, ModelRef]


class Asked(TypedDict, total=False):
    """What a prediction is asked with beside model and conditions; ``Client.predict`` says what each means."""

    controls: Mapping[str, Any] | None
    genes: Sequence[str]
    genes_sha256: str
    wanted: Wanted | None
    seed: int
    request_id: str


@dataclasses.dataclass(frozen=True)
class Call(Generic[T]):
    """A call of one message.

    Attributes:
        method: which.
        message: the request.
        read: reply -> what a user sees; a ``ValueError`` says that it breaks the contract.
    """

    method: codec.Method
    message: Any
    read: Callable[[bytes], T]

    def result(self, reply: bytes) -> T:
        """The reply as what a user sees.

        Raises:
            DefectError: it breaks the contract.
        """
        return decoded(self.method, reply, self.read)


class Caller(Generic[Channel]):
    """A channel and how it is called; what ``Client`` and ``AsyncClient`` share.

    Args:
        channel: an open channel; ``close`` closes it.
        metadata: sent with every call, such as the authorization.
        timeout_s: deadline of a call, seconds.
        stream_timeout_s: deadline of a whole ``predict_stream``, seconds.
        max_message_bytes: largest request of a call.
    """

    def __init__(
        self,
        channel: Channel,
        *,
        metadata: Sequence[tuple[str, str]] = (),
        timeout_s: float = 60.0,
        stream_timeout_s: float = 3600.0,
        max_message_bytes: int = codec.MAX_MESSAGE_BYTES,
    ) -> None:
        self._channel: Any = channel
        self._metadata = tuple(metadata)
        self._timeout_s = ahead("timeout_s", timeout_s)
        self._stream_timeout_s = ahead("stream_timeout_s", stream_timeout_s)
        self._max_message_bytes = max_message_bytes

    def _sending(self, call: Call[T], timeout_s: float | None) -> Callable[[], Any]:
        """Sends the call when it is called.

        Raises:
            ResourceExhaustedError: the message is larger than this client sends.
        """
        check_message_size(call.message, self._max_message_bytes)
        send = self._channel.unary_unary(call.method.path, **_serializers(call.method))
        timeout = self._timeout_s if timeout_s is None else ahead("timeout_s", timeout_s)
        return functools.partial(send, call.message, timeout=timeout, metadata=self._metadata)

    def _opening(self, request: PredictRequest, chunk_size: int, timeout_s: float | None) -> Callable[[], Any]:
        """Opens the stream of a request's chunks when it is called."""
        send = self._channel.stream_stream(codec.PREDICT_STREAM.path, **_serializers(codec.PREDICT_STREAM))
        messages = (codec.encode_request(chunk) for chunk in chunks(request, chunk_size))
        timeout = self._stream_timeout_s if timeout_s is None else ahead("timeout_s", timeout_s)
        return functools.partial(send, messages, timeout=timeout, metadata=self._metadata)


def _serializers(method: codec.Method) -> dict[str, Any]:
    return {"request_serializer": method.request.SerializeToString, "response_deserializer": None}


def list_models() -> Call[tuple[ModelInfo, ...]]:
    """The call of ``list_models``."""
    return Call(codec.LIST_MODELS, codec.encode_list_models(), _parsed(codec.LIST_MODELS, codec.decode_models))


def get_model(model: Model, *, include_genes: bool) -> Call[ModelInfo]:
    """The call of ``get_model``."""
    message = codec.encode_get_model(reference(model), include_genes=include_genes)
    return Call(codec.GET_MODEL, message, _parsed(codec.GET_MODEL, codec.decode_model))


def predict(model: Model, conditions: Sequence[Condition], asked: Asked) -> Call[Prediction]:
    """The call of ``predict``."""
    message = codec.encode_request(make_request(model, conditions, **asked))
    return Call(codec.PREDICT, message, codec.read_prediction)


def stream_request(model: Model, conditions: Sequence[Condition], asked: Asked, *, chunk_size: int) -> PredictRequest:
    """The request of ``predict_stream``, to be cut into chunks.

    Raises:
        ValueError: ``chunk_size`` is not positive, or the request is malformed.
    """
    check_chunk_size(chunk_size)
    return make_request(model, conditions, **asked)


@contextlib.contextmanager
def refusals() -> Iterator[None]:
    """What gRPC raises becomes what this package raises."""
    try:
        yield
    except grpc.RpcError as error:
        raise from_rpc_error(error) from error


def ahead(field: str, seconds: float) -> float:
    """A deadline in seconds from now; gRPC takes 0 for none at all."""
    if not seconds > 0:
        raise ValueError(f"{field}: a deadline lies ahead; got {seconds}. Give seconds above 0.")
    return seconds


def reference(model: Model) -> ModelRef:
    """A name as a reference to its default."""
    return model if isinstance(model, ModelRef) else ModelRef(name=model)


def make_request(
    model: Model,
    conditions: Sequence[Condition],
    *,
    controls: Mapping[str, Any] | None = None,
    genes: Sequence[str] = (),
    genes_sha256: str = "",
    wanted: Wanted | None = None,
    seed: int = 0,
    request_id: str = "",
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


def _parsed(method: codec.Method, decode: Callable[[Any], T]) -> Callable[[bytes], T]:
    """What reads a reply whose message protobuf parses first."""
    return lambda reply: decode(codec.parse(method.response, reply))


def decoded(method: codec.Method, reply: bytes, read: Callable[[bytes], T]) -> T:
    """The reply as what a user sees.

    Raises:
        DefectError: it breaks the contract.
    """
    try:
        return read(reply)
    except ValueError as error:
        raise DefectError(
            grpc.StatusCode.INTERNAL,
            f"The reply to {method.name} breaks the contract: {error} Report it to the server.",
        ) from error
