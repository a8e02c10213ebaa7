"""The methods of ``perturbcast.prediction.v1``: maps messages between gRPC and the engine.

Messages arrive as bytes and are parsed here, so that a broken one is INVALID_ARGUMENT and not gRPC's INTERNAL.
A call that is cancelled or whose deadline passes is cancelled by gRPC: what waits in the queue is dropped.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import secrets
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any, TypeVar

import grpc

from perturbcast_client import codec
from perturbcast_client.messages import Prediction, PredictRequest
from prediction_service.answers import Answers, Timings, parse
from prediction_service.arrival import idle, only_message
from prediction_service.engine import InvalidRequestError
from prediction_service.refusals import guarded

__all__ = ["METHODS", "Servicer"]

T = TypeVar("T")
AHEAD = 2  # requests of a stream that are worked on: one is computed while the reply before it is on its way
METHODS = tuple(m.path for m in (codec.LIST_MODELS, codec.GET_MODEL, codec.PREDICT, codec.PREDICT_STREAM))


class Servicer:
    """The methods of ``PredictionService``.

    Args:
        answers: takes requests to replies.
        idle_s: seconds that a call may hold its place before its next message comes.
    """

    def __init__(self, answers: Answers, *, idle_s: float) -> None:
        self._answers = answers
        self._idle_s = idle_s
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

    async def predict(self, _: AsyncIterator[bytes], context: Any) -> bytes:
        """One request, one reply; a call without a place is refused before its message is taken in."""

        async def answer() -> bytes:
            with self._queue.call(remaining_s=context.time_remaining()):
                data = await only_message(context, kind="PredictRequest", idle_s=self._idle_s)
                with self._queue.pace.work():
                    return await self._answer(data)

        return await guarded(answer, context)

    async def predict_stream(self, messages: AsyncIterator[bytes], context: Any) -> None:
        """One reply per request, in order; while one is on its way the request after it is worked on."""
        with contextlib.ExitStack() as place:

            async def enter() -> None:
                place.enter_context(self._queue.place())

            await guarded(enter, context)
            room = asyncio.Semaphore(AHEAD)
            answers: asyncio.Queue[asyncio.Task[bytes] | None] = asyncio.Queue()
            clock = asyncio.get_running_loop().time
            unwritten, written_at = 0, clock()

            def last() -> float:
                return clock() if unwritten else written_at

            async def read() -> None:
                nonlocal unwritten
                try:
                    while await room.acquire() and (data := await self._next(messages, last)) is not None:
                        answers.put_nowait(asyncio.create_task(self._answer(data)))
                        unwritten += 1
                finally:
                    answers.put_nowait(None)

            reader = asyncio.create_task(read())
            try:
                while (task := await answers.get()) is not None:
                    await context.write(await guarded(functools.partial(_result, task), context))
                    unwritten, written_at = unwritten - 1, clock()
                    room.release()
                await guarded(functools.partial(_result, reader), context)  # what went wrong in reading
            finally:
                reader.cancel()
                left = [task for task in _drained(answers) if task is not None]
                for task in left:
                    task.cancel()
                await asyncio.gather(*left, return_exceptions=True)  # so that nothing is left unheard

    async def _next(self, messages: AsyncIterator[bytes], last: Callable[[], float]) -> bytes | None:
        """The next message of a stream, None at its end; ``last`` says when something was last under way."""
        clock = asyncio.get_running_loop().time
        coming = asyncio.ensure_future(anext(messages, None))
        try:
            while not coming.done():
                left = last() + self._idle_s - clock()
                if left <= 0:
                    raise idle(self._idle_s)
                await asyncio.wait({coming}, timeout=left)
            return await coming
        finally:
            coming.cancel()

    async def _answer(self, data: bytes) -> bytes:
        return await self._answers.answer(data, self._decode, _encode)

    def _decode(self, data: bytes) -> PredictRequest:
        message = parse(codec.PREDICT.request, data)
        self._engine.limits.check_conditions(len(message.conditions))  # before an object is built for each
        message.request_id = message.request_id or secrets.token_hex(16)
        return codec.decode_request(message)


def _drained(queue: asyncio.Queue[T]) -> Iterator[T]:
    while not queue.empty():
        yield queue.get_nowait()


async def _result(task: asyncio.Task[T]) -> T:
    """What the task gives; it ends with whoever waits for it."""
    try:
        return await task
    finally:
        task.cancel()


def _encode(prediction: Prediction, timings: Timings) -> bytes:
    return codec.encode_prediction(prediction, timings_ms=timings())
