"""The client for asyncio: the calls of ``perturbcast_client.Client``, awaited.

async with aio.connect("127.0.0.1:50051") as client:
    answer = await client.predict("kang2018-unseen_context", conditions)
    async for chunk in client.predict_stream("kang2018-unseen_context", many_conditions):
        ...
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeVar

import grpc

from perturbcast_client import calls, codec
from perturbcast_client import channel as channels
from perturbcast_client.calls import Asked, Call, Caller, Model
from perturbcast_client.channel import Connecting
from perturbcast_client.messages import Condition, ModelInfo, Prediction, PredictRequest

if TYPE_CHECKING:
    from typing_extensions import Unpack  # for the type checker; a bare environment has none

__all__ = ["AsyncClient", "connect"]

T = TypeVar("T")


def connect(address: str, **options: Unpack[Connecting]) -> AsyncClient:
    """As ``perturbcast_client.connect``; called inside a running event loop."""
    return AsyncClient(**channels.opened(grpc.aio, address, **options))


class AsyncClient(Caller[grpc.aio.Channel]):
    """Calls of ``perturbcast.prediction.v1.PredictionService`` in one event loop.

    Arguments, replies and errors are those of ``perturbcast_client.Client``.
    """

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
        return await self._call(calls.list_models(), timeout_s)

    async def get_model(
        self, model: Model, *, include_genes: bool = False, timeout_s: float | None = None
    ) -> ModelInfo:
        """One model in full."""
        return await self._call(calls.get_model(model, include_genes=include_genes), timeout_s)

    async def predict(
        self, model: Model, conditions: Sequence[Condition], *, timeout_s: float | None = None, **asked: Unpack[Asked]
    ) -> Prediction:
        """Predict conditions, one row each, in the order given; all of them or none."""
        return await self._call(calls.predict(model, conditions, asked), timeout_s)

    def predict_stream(
        self,
        model: Model,
        conditions: Sequence[Condition],
        *,
        chunk_size: int = 256,
        timeout_s: float | None = None,
        **asked: Unpack[Asked],
    ) -> AsyncIterator[Prediction]:
        """Predict many conditions over one call: one ``Prediction`` per chunk, in order, as they are consumed."""
        request = calls.stream_request(model, conditions, asked, chunk_size=chunk_size)
        return self._stream(request, chunk_size, timeout_s)

    async def _call(self, call: Call[T], timeout_s: float | None) -> T:
        send = self._sending(call, timeout_s)
        with calls.refusals():
            reply = await send()
        return call.result(reply)

    async def _stream(
        self, request: PredictRequest, chunk_size: int, timeout_s: float | None
    ) -> AsyncIterator[Prediction]:
        call: Any = self._opening(request, chunk_size, timeout_s)()
        try:
            with calls.refusals():
                async for reply in call:
                    yield calls.decoded(codec.PREDICT_STREAM, reply, codec.read_prediction)
        finally:
            call.cancel()  # a caller that stops early leaves no work behind; no effect on a finished call
