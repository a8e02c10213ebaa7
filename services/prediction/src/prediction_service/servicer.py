"""Maps messages, errors and deadlines between gRPC and the engine.

Messages arrive as bytes and are parsed here, so that a broken one is INVALID_ARGUMENT and not gRPC's INTERNAL.
A call that is cancelled or whose deadline passes is cancelled by gRPC: what waits in the queue is dropped.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import logging
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any, TypeVar

import grpc

from perturbcast.errors import UnanswerableError
from perturbcast_client import codec
from perturbcast_client.errors import trailing_metadata
from perturbcast_client.messages import PredictRequest
from prediction_service.batches import Batches, Piece
from prediction_service.engine import Engine, InvalidRequestError, Rows, Slice, UnknownModelError
from prediction_service.limits import LimitError
from prediction_service.plan import Plan
from prediction_service.work_queue import DrainingError, QueueFullError, WorkQueue

__all__ = ["Servicer"]

logger = logging.getLogger(__name__)
T = TypeVar("T")
LIGHT = 128 * 1024  # bytes

STATUS: dict[type[Exception], grpc.StatusCode] = {
    UnknownModelError: grpc.StatusCode.NOT_FOUND,
    InvalidRequestError: grpc.StatusCode.INVALID_ARGUMENT,
    UnanswerableError: grpc.StatusCode.FAILED_PRECONDITION,
    LimitError: grpc.StatusCode.RESOURCE_EXHAUSTED,
    QueueFullError: grpc.StatusCode.RESOURCE_EXHAUSTED,
    DrainingError: grpc.StatusCode.UNAVAILABLE,
}
REFUSALS = tuple(STATUS)


class Servicer:
    """The methods of ``PredictionService``.

    Args:
        engine: answers.
        queue: bounds the calls; of the event loop that the server runs in.
        batch_size: conditions that a model is asked at once, and of a request that are asked in one piece.
        batch_wait_s: how long a request waits at most for others to share a batch, seconds.
    """

    def __init__(self, engine: Engine, queue: WorkQueue, *, batch_size: int = 256, batch_wait_s: float = 0.002) -> None:
        self._engine = engine
        self._queue = queue
        self._batch_size = batch_size
        self._batches: Batches[Slice, Rows] = Batches(queue, engine.answer, size=batch_size, wait_s=batch_wait_s)

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
            _parse(codec.LIST_MODELS, data)
            return codec.encode_models(self._engine.models()).SerializeToString()

        return await _guarded(answer, context)

    async def get_model(self, data: bytes, context: Any) -> bytes:
        """One model in full."""

        async def answer() -> bytes:
            message = _parse(codec.GET_MODEL, data)
            try:
                ref, include_genes = codec.decode_get_model(message)
            except ValueError as error:
                raise InvalidRequestError(str(error)) from error
            model = self._engine.describe(ref)
            return codec.encode_model(model, include_genes=include_genes).SerializeToString()

        return await _guarded(answer, context)

    async def predict(self, messages: AsyncIterator[bytes], context: Any) -> bytes:
        """One request, one reply; a call without a place is refused before its message is taken in."""

        async def answer() -> bytes:
            with self._queue.call():
                async for data in messages:
                    return await self._answer(data)
                raise InvalidRequestError("PredictRequest: a call brings one message; this one brought none. Send it.")

        return await _guarded(answer, context)

    async def predict_stream(self, messages: AsyncIterator[bytes], context: Any) -> None:
        """One reply per request; the next request is read when the reply before it was taken."""
        with contextlib.ExitStack() as place:

            async def enter() -> None:
                place.enter_context(self._queue.call())

            await _guarded(enter, context)
            async for data in messages:
                await context.write(await _guarded(functools.partial(self._answer, data), context))

    async def _answer(self, data: bytes) -> bytes:
        arrived = time.perf_counter()
        plan = await self._work(lambda: self._engine.plan(self._decode(data)), size=len(data))
        decoded = time.perf_counter()
        slices = self._engine.slices(plan, size=self._batch_size)
        parts = await self._batches.run(
            [Piece(work=one, kind=id(plan.served), weight=one.stop - one.start) for one in slices]
        )
        answered = time.perf_counter()
        model_s = sum(part.model_s for part in parts)
        spent = {"decode": decoded - arrived, "model": model_s, "queue": max(0.0, answered - decoded - model_s)}
        size = plan.reply_bytes if not plan.request.wanted.cells else LIGHT + 1  # sampling is work for a thread
        return await self._work(lambda: self._encode(plan, parts, spent), size=size)

    async def _work(self, work: Callable[[], T], *, size: int) -> T:
        """Where the bytes are few the event loop does it by itself: a thread would take longer to be told."""
        return work() if size <= LIGHT else await self._queue.run(work)

    def _encode(self, plan: Plan, parts: Sequence[Rows], spent: dict[str, float]) -> bytes:
        started = time.perf_counter()
        prediction = self._engine.finish(plan, parts)
        message = codec.encode_prediction(prediction)
        self._engine.limits.check_reply(message.ByteSize())
        spent["encode"] = time.perf_counter() - started
        message.timings_ms.update({part: seconds * 1e3 for part, seconds in spent.items()})
        logger.info(
            "request %s: %d conditions by %s/%s, %s",
            plan.request.request_id,
            len(plan.conditions),
            prediction.model,
            prediction.version,
            ", ".join(f"{part} {seconds * 1e3:.1f} ms" for part, seconds in spent.items()),
        )
        return message.SerializeToString()

    def _decode(self, data: bytes) -> PredictRequest:
        message = _parse(codec.PREDICT, data)
        self._engine.limits.check_conditions(len(message.conditions))  # before an object is built for each
        try:
            request = codec.decode_request(message)
        except ValueError as error:
            raise InvalidRequestError(str(error)) from error
        return request if request.request_id else dataclasses.replace(request, request_id=uuid.uuid4().hex)


def _parse(method: codec.Method, data: bytes) -> Any:
    try:
        return codec.parse(method.request, data)
    except ValueError as error:
        raise InvalidRequestError(str(error)) from error


async def _guarded(answer: Callable[[], Awaitable[T]], context: Any) -> T:
    """What ``answer`` gives; a refusal ends the call with its status, anything else with INTERNAL and an id."""
    try:
        return await answer()
    except REFUSALS as error:
        status, message = STATUS[type(error)], str(error)
        trailing = trailing_metadata(status, error.retry_after_s if isinstance(error, QueueFullError) else None)
    except Exception:
        # the one place that catches everything: whatever broke, the caller gets an id, the log gets the trace,
        # and the process lives on
        defect = uuid.uuid4().hex
        logger.exception("defect %s", defect)
        status, trailing = grpc.StatusCode.INTERNAL, ()
        message = (
            f"The service answers or refuses by rule; this request met a defect, logged as {defect}. "
            "Report that id to whoever runs the service."
        )
    await context.abort(status, message, trailing)
    raise AssertionError("abort raises")
