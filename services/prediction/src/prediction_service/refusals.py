"""Which status a refusal has, and how a defect is told; for every method of every protocol."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import grpc

from perturbcast.errors import UnanswerableError
from perturbcast_client.errors import trailing_metadata
from prediction_service.engine import InvalidRequestError, UnknownModelError
from prediction_service.limits import LimitError
from prediction_service.work_queue import DrainingError, IdleCallError, QueueFullError

__all__ = ["STATUS", "guarded"]

logger = logging.getLogger(__name__)
T = TypeVar("T")

STATUS: dict[type[Exception], grpc.StatusCode] = {
    UnknownModelError: grpc.StatusCode.NOT_FOUND,
    InvalidRequestError: grpc.StatusCode.INVALID_ARGUMENT,
    UnanswerableError: grpc.StatusCode.FAILED_PRECONDITION,
    LimitError: grpc.StatusCode.RESOURCE_EXHAUSTED,
    QueueFullError: grpc.StatusCode.RESOURCE_EXHAUSTED,
    IdleCallError: grpc.StatusCode.DEADLINE_EXCEEDED,
    DrainingError: grpc.StatusCode.UNAVAILABLE,
    ConnectionError: grpc.StatusCode.UNAVAILABLE,  # the model's backend is away, and is started again
}
REFUSALS = tuple(STATUS)


async def guarded(answer: Callable[[], Awaitable[T]], context: Any) -> T:
    """What ``answer`` gives; a refusal ends the call with its status, anything else with INTERNAL and an id."""
    try:
        return await answer()
    except REFUSALS as error:
        status, message = _status(error), str(error)
        retry_after_s = error.retry_after_s if isinstance(error, QueueFullError) else None
        trailing = trailing_metadata(status, retry_after_s, remaining_s=context.time_remaining())
    except Exception:
        # the one place that catches everything: whatever broke, the caller gets an id, the log gets the trace,
        # and the process lives on
        defect = uuid.uuid4().hex
        logger.exception("defect %s", defect, extra={"defect": defect})
        status, trailing = grpc.StatusCode.INTERNAL, ()
        message = (
            f"The service answers or refuses by rule; this request met a defect, logged as {defect}. "
            "Report that id to whoever runs the service."
        )
    await context.abort(status, message, trailing)
    raise AssertionError("abort raises")


def _status(error: Exception) -> grpc.StatusCode:
    return next(status for kind, status in STATUS.items() if isinstance(error, kind))
