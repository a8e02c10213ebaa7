"""What Prometheus is told: calls by method and status, their seconds, batch sizes, what waits and what was refused.

| name | kind | labels |
|---|---|---|
| ``perturbcast_requests_total`` | counter | method, status |
| ``perturbcast_request_seconds`` | histogram | method |
| ``perturbcast_rejected_total`` | counter | status: refused before any work, by limit, queue, token or shutdown |
| ``perturbcast_batch_conditions`` | histogram | |
| ``perturbcast_waiting_conditions`` | gauge | |
| ``perturbcast_calls`` | gauge | |
"""

from __future__ import annotations

import asyncio
import functools
import time
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

import grpc
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, start_http_server

from prediction_service.interception import wrapped

__all__ = ["Metrics"]

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 60.0)
CONDITIONS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)
STATUS_NAMES = {status.value[0]: status.name for status in grpc.StatusCode}
REJECTED = ("RESOURCE_EXHAUSTED", "UNAUTHENTICATED", "UNAVAILABLE")


class Metrics(grpc.aio.ServerInterceptor):
    """Counts every call of the named methods; as an interceptor it comes before the one that checks tokens.

    Args:
        methods: full names of the methods that are counted under their name; what else is called is ``other``, so
            that a caller without a token cannot invent labels.
    """

    def __init__(self, methods: Iterable[str]) -> None:
        self._methods = frozenset(methods)
        self._wrapped: dict[tuple[str, Any], Any] = {}  # by name and handler, of which a server has a fixed few
        self.registry = CollectorRegistry()
        named: dict[str, Any] = {"namespace": "perturbcast", "registry": self.registry}
        self._requests = Counter("requests", "Calls that ended.", ("method", "status"), **named)
        self._seconds = Histogram("request_seconds", "Their seconds.", ("method",), buckets=SECONDS, **named)
        self._rejected = Counter("rejected", "Calls refused before any work.", ("status",), **named)
        self._batch = Histogram("batch_conditions", "Conditions of a batch.", buckets=CONDITIONS, **named)
        self._waiting = Gauge("waiting_conditions", "Conditions that wait for a batch.", **named)
        self._calls = Gauge("calls", "Calls inside, waiting and running.", **named)

    def batch(self, conditions: int) -> None:
        """A batch was formed."""
        self._batch.observe(conditions)

    def watch(self, *, waiting: Callable[[], int], calls: Callable[[], int]) -> None:
        """Where the gauges look when they are read."""
        self._waiting.set_function(waiting)
        self._calls.set_function(calls)

    def serve(self, *, host: str, port: int) -> tuple[int, Callable[[], None]]:
        """Answer ``GET /metrics`` in a thread; gives the port and what ends it.

        Raises:
            ValueError: the port is busy.
        """
        try:
            server, thread = start_http_server(port, addr=host, registry=self.registry)
        except OSError as error:
            raise ValueError(
                f"Metrics take a port of their own; {host}:{port} cannot be bound ({error.strerror}). Give another."
            ) from error

        def close() -> None:
            server.shutdown()
            server.server_close()
            thread.join()

        return server.server_port, close

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Any]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Any:
        """The method's handler, counted; health and reflection are left as they are."""
        handler = await continuation(handler_call_details)
        method = handler_call_details.method
        if handler is None or method.startswith("/grpc."):
            return handler
        name = method.rsplit("/", 1)[-1] if method in self._methods else "other"
        if (name, handler) not in self._wrapped:
            self._wrapped[name, handler] = wrapped(handler, self._counted(name))
        return self._wrapped[name, handler]

    def _counted(self, method: str) -> Callable[[Any], Any]:
        ended, seconds = functools.cache(functools.partial(self._requests.labels, method)), self._seconds.labels(method)

        def wrap(inner: Any) -> Any:
            async def call(request: Any, context: Any) -> Any:
                started = time.perf_counter()
                status = "UNKNOWN"
                try:
                    reply = await inner(request, context)
                    status = "OK"
                    return reply
                except asyncio.CancelledError:
                    status = "CANCELLED"  # by the caller, or because its deadline passed
                    raise
                except grpc.aio.AbortError:
                    code = context.code()
                    status = STATUS_NAMES.get(code, str(code)) if isinstance(code, int) else code.name
                    raise
                finally:
                    ended(status).inc()
                    seconds.observe(time.perf_counter() - started)
                    if status in REJECTED:
                        self._rejected.labels(status).inc()

            return call

        return wrap
