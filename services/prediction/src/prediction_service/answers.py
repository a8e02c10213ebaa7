"""Takes a request from bytes to bytes: decoded, planned, answered in a batch with others, encoded.

Both protocols that the service speaks come through here, so that they share queue, batches and limits.
"""

from __future__ import annotations

import dataclasses
import logging
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from opentelemetry import trace

from perturbcast_client import codec
from perturbcast_client.messages import Prediction, PredictRequest
from prediction_service.batches import Batches, Piece
from prediction_service.engine import Engine, InvalidRequestError, Rows, Slice
from prediction_service.limits import LimitError
from prediction_service.plan import Plan
from prediction_service.served_model import QUICK_CONDITIONS
from prediction_service.work_queue import WorkQueue

__all__ = ["Answers", "Decode", "Encode", "Timings", "parse"]

logger = logging.getLogger(__name__)
T = TypeVar("T")
LIGHT = 128 * 1024  # bytes

Decode = Callable[[bytes], PredictRequest]
Timings = Callable[[], Mapping[str, float]]
Encode = Callable[[Prediction, Timings], bytes]


class Answers:
    """Answers requests of calls that were let in.

    Args:
        engine: answers.
        queue: bounds the calls; of the event loop that the server runs in.
        batch_size: conditions that a model is asked at once, and of a request that are asked in one piece.
        batch_wait_s: how long a request waits at most for others to share a batch, seconds.
        observe: told the conditions of each batch.
    """

    def __init__(
        self,
        engine: Engine,
        queue: WorkQueue,
        *,
        batch_size: int = 256,
        batch_wait_s: float = 0.002,
        observe: Callable[[int], None] = lambda _: None,
    ) -> None:
        self.engine = engine
        self.queue = queue
        self._batch_size = batch_size
        self.batches: Batches[Slice, Rows] = Batches(
            queue, engine.answer, size=batch_size, wait_s=batch_wait_s, observe=observe, quick=_quick
        )

    async def answer(self, data: bytes, decode: Decode, encode: Encode) -> bytes:
        """The reply to ``data``.

        Args:
            data: the request message.
            decode: bytes to request; a ``ValueError`` of it is the request's fault.
            encode: prediction, and what tells the milliseconds spent by part so far -> reply.

        Raises:
            Exception: as ``Engine.plan``, or what the model raised.
        """
        arrived = time.perf_counter()
        plan = await self._work(lambda: self._plan(data, decode), size=len(data))
        decoded = time.perf_counter()
        slices = self.engine.slices(plan, size=self._batch_size)
        parts = await self.batches.run(
            [Piece(work=one, kind=id(plan.served), weight=one.stop - one.start) for one in slices]
        )
        answered = time.perf_counter()
        model_s = sum(part.model_s for part in parts)
        spent = {"decode": decoded - arrived, "model": model_s, "queue": max(0.0, answered - decoded - model_s)}
        size = plan.reply_bytes if not plan.request.wanted.cells else LIGHT + 1  # sampling is work for a thread
        return await self._work(lambda: self._reply(plan, parts, spent, encode), size=size)

    async def _work(self, work: Callable[[], T], *, size: int) -> T:
        """Where the bytes are few the event loop does it by itself: a thread would take longer to be told."""
        return work() if size <= LIGHT else await self.queue.run(work)

    def _plan(self, data: bytes, decode: Decode) -> Plan:
        try:
            request = decode(data)
        except (InvalidRequestError, LimitError):  # say by themselves what they are
            raise
        except ValueError as error:
            raise InvalidRequestError(str(error)) from error
        if not request.request_id:
            request = dataclasses.replace(request, request_id=secrets.token_hex(16))
        return self.engine.plan(request)

    def _reply(self, plan: Plan, parts: Sequence[Rows], spent: dict[str, float], encode: Encode) -> bytes:
        started = time.perf_counter()

        def timings() -> dict[str, float]:
            return {part: s * 1e3 for part, s in {**spent, "encode": time.perf_counter() - started}.items()}

        prediction = self.engine.finish(plan, parts)
        reply = encode(prediction, timings)
        self.engine.limits.check_reply(len(reply))
        trace.get_current_span().set_attributes(
            {
                "perturbcast.request_id": plan.request.request_id,
                "perturbcast.model": f"{prediction.model}/{prediction.version}",
                "perturbcast.conditions": len(plan.conditions),
            }
        )
        spent_ms = {part: round(ms, 3) for part, ms in timings().items()}
        logger.info(
            "request %s: %d conditions by %s/%s, %s",
            plan.request.request_id,
            len(plan.conditions),
            prediction.model,
            prediction.version,
            ", ".join(f"{part} {ms:.1f} ms" for part, ms in spent_ms.items()),
            extra={
                "request_id": plan.request.request_id,
                "model": f"{prediction.model}/{prediction.version}",
                "conditions": len(plan.conditions),
                "timings_ms": spent_ms,
            },
        )
        return reply


def _quick(slices: Sequence[Slice]) -> bool:
    """A small batch of a model that was quick when it was warmed; sampled cells are drawn later, in a thread."""
    served = slices[0].plan.served
    if sum(one.stop - one.start for one in slices) > QUICK_CONDITIONS:
        return False
    intervals = any(one.plan.level or one.plan.request.wanted.cells for one in slices)
    return served.quick_intervals if intervals else served.quick


def parse(kind: type[Any], data: bytes) -> Any:
    """The protobuf message in ``data``.

    Raises:
        InvalidRequestError: the bytes are no such message.
    """
    try:
        return codec.parse(kind, data)
    except ValueError as error:
        raise InvalidRequestError(str(error)) from error
