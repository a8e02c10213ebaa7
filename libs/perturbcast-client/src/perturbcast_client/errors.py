"""What a prediction service refuses, one class per status that a caller handles differently.

Where Python has a built-in of the same meaning (``ValueError``, ``TimeoutError``, ``ConnectionError``) the class
is one too, so that a harness that knows nothing of gRPC catches the right thing.
"""

from __future__ import annotations

import contextlib
from typing import Any

import grpc

__all__ = [
    "DeadlineError",
    "DefectError",
    "InvalidRequestError",
    "ResourceExhaustedError",
    "ServiceError",
    "UnansweredError",
    "UnauthenticatedError",
    "UnavailableError",
    "UnknownModelError",
    "from_rpc_error",
    "trailing_metadata",
]

RETRY_AFTER = "retry-after"
PUSHBACK = "grpc-retry-pushback-ms"  # of the gRPC retry design: when to send again, negative for never


class ServiceError(Exception):
    """A call that the service did not answer.

    Attributes:
        status: gRPC status code.
        message: the rule, the offending value, the way out, as the service wrote it.
        retry_after_s: seconds after which to ask again, where the service said so.
    """

    def __init__(self, status: grpc.StatusCode, message: str, *, retry_after_s: float | None = None) -> None:
        super().__init__(f"{status.name}: {message}")
        self.status = status
        self.message = message
        self.retry_after_s = retry_after_s


class UnknownModelError(ServiceError, LookupError):
    """NOT_FOUND: no model, version or alias of that name; the message lists the known ones."""


class InvalidRequestError(ServiceError, ValueError):
    """INVALID_ARGUMENT: the request is malformed; the message begins with the field."""


class UnansweredError(ServiceError):
    """FAILED_PRECONDITION: a well-formed question that this model cannot answer."""


class ResourceExhaustedError(ServiceError):
    """RESOURCE_EXHAUSTED: over a limit; or the queue is full or longer than the deadline (``retry_after_s`` is set)."""


class DeadlineError(ServiceError, TimeoutError):
    """DEADLINE_EXCEEDED: no answer within the timeout of the call."""


class UnauthenticatedError(ServiceError, PermissionError):
    """UNAUTHENTICATED: the token is missing or unknown."""


class UnavailableError(ServiceError, ConnectionError):
    """UNAVAILABLE: no server answers at the address, or it is shutting down."""


class DefectError(ServiceError):
    """INTERNAL: a defect of the service; the message holds an id that is in its log."""


_CLASSES: dict[grpc.StatusCode, type[ServiceError]] = {
    grpc.StatusCode.NOT_FOUND: UnknownModelError,
    grpc.StatusCode.INVALID_ARGUMENT: InvalidRequestError,
    grpc.StatusCode.FAILED_PRECONDITION: UnansweredError,
    grpc.StatusCode.RESOURCE_EXHAUSTED: ResourceExhaustedError,
    grpc.StatusCode.DEADLINE_EXCEEDED: DeadlineError,
    grpc.StatusCode.UNAUTHENTICATED: UnauthenticatedError,
    grpc.StatusCode.UNAVAILABLE: UnavailableError,
    grpc.StatusCode.INTERNAL: DefectError,
}


def trailing_metadata(
    status: grpc.StatusCode, retry_after_s: float | None, *, remaining_s: float | None = None
) -> tuple[tuple[str, str], ...]:
    """What a server sends along with a refusal: when to ask again, for a person and for gRPC's own retries.

    gRPC would wait for a time beyond the call's deadline (``remaining_s`` from now), and then tell of the deadline.
    """
    if retry_after_s is not None:
        late = remaining_s is not None and retry_after_s >= remaining_s
        return ((RETRY_AFTER, f"{retry_after_s:g}"), (PUSHBACK, "-1" if late else str(round(retry_after_s * 1000))))
    if status is grpc.StatusCode.RESOURCE_EXHAUSTED:
        return ((PUSHBACK, "-1"),)  # over a limit: the same request would be over it again
    return ()


def from_rpc_error(error: grpc.RpcError) -> ServiceError:
    """The exception of this module for one that gRPC raised."""
    assert isinstance(error, (grpc.Call, grpc.aio.AioRpcError))  # what every call of a channel raises is also the call
    status = error.code()
    message = error.details() or "the server gave no message"
    if status is grpc.StatusCode.UNAVAILABLE:
        message = f"The service is not available ({message}). Check that one runs at the address, or ask again later."
    if status is grpc.StatusCode.RESOURCE_EXHAUSTED and "larger than max" in message:  # gRPC's own words, either side
        message = f"{message}: bytes of one message. Send fewer conditions or cells at a time, or use predict_stream."
    metadata: Any = error.trailing_metadata() or ()  # pairs of the two APIs, of different types
    trailing = {key: value for key, value in metadata if key == RETRY_AFTER}
    retry_after_s = None
    with contextlib.suppress(KeyError, ValueError):  # a proxy may put a date there
        retry_after_s = float(trailing[RETRY_AFTER])
    return _CLASSES.get(status, ServiceError)(status, message, retry_after_s=retry_after_s)
