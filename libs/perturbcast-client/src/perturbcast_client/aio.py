"""The client for asyncio: the calls of ``perturbcast_client.Client``, awaited.

async with aio.connect("127.0.0.1:50051") as client:
    answer = await client.predict("kang2018-unseen_context", conditions)
    async for chunk in client.predict_stream("kang2018-unseen_context", many_conditions):
        ...
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from types import TracebackType
from typing import Any, TypeVar

import grpc

from perturbcast_client import channel as channels
from perturbcast_client import codec
from perturbcast_client.calls import (
    Model,
    check_chunk_size,
    check_message_size,
    chunks,
    decoded,
    make_request,
    reference,
)
from perturbcast_client.channel import Tls
from perturbcast_client.errors import from_rpc_error
from perturbcast_client.messages import Condition, ModelInfo, Prediction, PredictRequest, Wanted

__all__ = ["AsyncClient", "connect"]

T = TypeVar("T")


def connect(
    address: str,
    *,
    tls: Tls | None = None,
    token: str = "",
    timeout_s: float = 60.0,
    stream_timeout_s: float = 3600.0,
    attempts: int = channels.ATTEMPTS,
    max_message_bytes: int = codec.MAX_MESSAGE_BYTES,
) -> AsyncClient:
    """As ``perturbcast_client.connect``; called inside a running event loop."""
    metadata = channels.authorization(address, token, encrypted=tls is not None)
    options = channels.options(max_message_bytes=max_message_bytes, attempts=attempts)
    channel = (
        grpc.aio.insecure_channel(address, options=options)
        if tls is None
        else grpc.aio.secure_channel(address, tls.credentials(), options=options)
    )
    return AsyncClient(
        channel,
        metadata=metadata,
        timeout_s=timeout_s,
        stream_timeout_s=stream_timeout_s,
        max_message_bytes=max_message_bytes,
    )


class AsyncClient:
    """Calls of ``perturbcast.prediction.v1.PredictionService`` in one event loop.

    Arguments, replies and errors are those of ``perturbcast_client.Client``.

    Args:
        channel: an open ``grpc.aio`` channel; ``close`` closes it.
        metadata: sent with every call, such as the authorization.
        timeout_s: deadline of a call, seconds.
        stream_timeout_s: deadline of a whole ``predict_stream``, seconds.
        max_message_bytes: largest request of a call.
    """

    def __init__(
        self,
        channel: grpc.aio.Channel,
        *,
        metadata: Sequence[tuple[str, str]] = (),
        timeout_s: float = 60.0,
        stream_timeout_s: float = 3600.0,
        max_message_bytes: int = codec.MAX_MESSAGE_BYTES,
    ) -> None:
        self._channel = channel
        self._metadata = tuple(metadata)
        self._timeout_s = timeout_s
        self._stream_timeout_s = stream_timeout_s
        self._max_message_bytes = max_message_bytes

    async def __aenter__(self) -> AsyncClient:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the channel; calls in flight are cancelled."""
        await self._channel.close(None)

    async def list_models(self, *, timeout_s: float | None = None) -> tuple[ModelInfo, ...]:
        """The models that the server answers for, without their genes, contexts and perturbations."""
        return await self._call(codec.LIST_MODELS, codec.encode_list_models(), codec.decode_models, timeout_s)

    async def get_model(
        self, model: Model, *, include_genes: bool = False, timeout_s: float | None = None
    ) -> ModelInfo:
        """One model in full."""
        request = codec.encode_get_model(reference(model), include_genes=include_genes)
        return await self._call(codec.GET_MODEL, request, codec.decode_model, timeout_s)

    async def predict(
        self,
        model: Model,
        conditions: Sequence[Condition],
        *,
        controls: Mapping[str, Any] | None = None,
        genes: Sequence[str] = (),
        genes_sha256: str = "",
        wanted: Wanted | None = None,
        seed: int = 0,
        request_id: str = "",
        timeout_s: float | None = None,
    ) -> Prediction:
        """Predict conditions, one row each, in the order given; all of them or none."""
        request = make_request(
            model,
            conditions,
            controls=controls,
            genes=genes,
            genes_sha256=genes_sha256,
            wanted=wanted,
            seed=seed,
            request_id=request_id,
        )
        return await self._call(codec.PREDICT, codec.encode_request(request), codec.decode_prediction, timeout_s)

    def predict_stream(
        self,
        model: Model,
        conditions: Sequence[Condition],
        *,
        chunk_size: int = 256,
        controls: Mapping[str, Any] | None = None,
        genes: Sequence[str] = (),
        genes_sha256: str = "",
        wanted: Wanted | None = None,
        seed: int = 0,
        request_id: str = "",
        timeout_s: float | None = None,
    ) -> AsyncIterator[Prediction]:
        """Predict many conditions over one call: one ``Prediction`` per chunk, in order, as they are consumed."""
        check_chunk_size(chunk_size)
        request = make_request(
            model,
            conditions,
            controls=controls,
            genes=genes,
            genes_sha256=genes_sha256,
            wanted=wanted,
            seed=seed,
            request_id=request_id,
        )
        return self._stream(request, chunk_size, self._stream_timeout_s if timeout_s is None else timeout_s)

    async def _call(self, method: codec.Method, request: Any, decode: Callable[[Any], T], timeout_s: float | None) -> T:
        check_message_size(request, self._max_message_bytes)
        send: Any = self._channel.unary_unary(
            method.path, request_serializer=method.request.SerializeToString, response_deserializer=None
        )
        try:
            reply = await send(
                request, timeout=self._timeout_s if timeout_s is None else timeout_s, metadata=self._metadata
            )
        except grpc.aio.AioRpcError as error:
            raise from_rpc_error(error) from error
        return decoded(method, reply, decode)

    async def _stream(self, request: PredictRequest, chunk_size: int, timeout_s: float) -> AsyncIterator[Prediction]:
        method = codec.PREDICT_STREAM
        send: Any = self._channel.stream_stream(
            method.path, request_serializer=method.request.SerializeToString, response_deserializer=None
        )
        messages = (codec.encode_request(chunk) for chunk in chunks(request, chunk_size))
        call = send(messages, timeout=timeout_s, metadata=self._metadata)
        try:
            async for reply in call:
                yield decoded(method, reply, codec.decode_prediction)
        except grpc.aio.AioRpcError as error:
            raise from_rpc_error(error) from error
        finally:
            call.cancel()  # a caller that stops early leaves no work behind; no effect on a finished call
