"""The methods of ``perturbcast.prediction.v1``: maps messages between gRPC and the engine.

Messages arrive as bytes and are parsed here, so that a broken one is INVALID_ARGUMENT and not gRPC's INTERNAL.
A call that is cancelled or whose deadline passes is cancelled by gRPC: what waits in the queue is dropped.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from typing import Any

import grpc

from perturbcast_client import codec
from perturbcast_client.messages import Prediction, PredictRequest
from prediction_service.answers import Answers, Timings, parse
from prediction_service.engine import InvalidRequestError
from prediction_service.refusals import guarded

__all__ = ["METHODS", "Servicer"]

METHODS = tuple(m.path for m in (codec.LIST_MODELS, codec.GET_MODEL, codec.PREDICT, codec.PREDICT_STREAM))


class Servicer:
    """The methods of ``PredictionService``.

    Args:
        answers: takes requests to replies.
    """

    def __init__(self, answers: Answers) -> None:
        self._answers = answers
        self._engine = answers.engine
        self._queue = answers.queue

    @property
    def handler(self) -> grpc.GenericRpcHandler[bytes, bytes]:
        """What a ``grpc.aio`` server is given; requests and replies pass as bytes."""
        methods = {
            codec.LIST_MODELS.name: grpc.unary_unary_rpc_method_handler(self.list_models),
            codec.GET_MODEL.name: grpc.unary_unary_rpc_method_handler(self.get_model),
            # a stream of one: its message is read only when there is a place for the call
            codec.PREDICT.name: grpc.stream_unary_rpc_method_handler(self.predict),
            codec.PREDICT_STREAM.name: grpc.stream_stream_rpc_method_handler(self.predict_stream),
        }
        return grpc.method_handlers_generic_handler(codec.SERVICE, methods)

    async def list_models(self, data: bytes, context: Any) -> bytes:
        """The models in short."""

        async def answer() -> bytes:
            parse(codec.LIST_MODELS.request, data)
            return codec.encode_models(self._engine.models()).SerializeToString()

        return await guarded(answer, context)

    async def get_model(self, data: bytes, context: Any) -> bytes:
        """One model in full."""

        async def answer() -> bytes:
            message = parse(codec.GET_MODEL.request, data)
            try:
                ref, include_genes = codec.decode_get_model(message)
            except ValueError as error:
                raise InvalidRequestError(str(error)) from error
            model = self._engine.describe(ref)
            return codec.encode_model(model, include_genes=include_genes).SerializeToString()

        return await guarded(answer, context)

    async def predict(self, messages: AsyncIterator[bytes], context: Any) -> bytes:
        """One request, one reply; a call without a place is refused before its message is taken in."""

        async def answer() -> bytes:
            with self._queue.call():
                async for data in messages:
                    return await self._answer(data)
                raise InvalidRequestError("PredictRequest: a call brings one message; this one brought none. Send it.")

        return await guarded(answer, context)

    async def predict_stream(self, messages: AsyncIterator[bytes], context: Any) -> None:
        """One reply per request; the next request is read when the reply before it was taken."""
        with contextlib.ExitStack() as place:

            async def enter() -> None:
                place.enter_context(self._queue.call())

            await guarded(enter, context)
            async for data in messages:

                async def answer(data: bytes = data) -> bytes:
                    return await self._answer(data)

                await context.write(await guarded(answer, context))

    async def _answer(self, data: bytes) -> bytes:
        return await self._answers.answer(data, self._decode, _encode)

    def _decode(self, data: bytes) -> PredictRequest:
        message = parse(codec.PREDICT.request, data)
        self._engine.limits.check_conditions(len(message.conditions))  # before an object is built for each
        return codec.decode_request(message)


def _encode(prediction: Prediction, timings: Timings) -> Any:
    message = codec.encode_prediction(prediction)
    message.timings_ms.update(timings())
    return message
