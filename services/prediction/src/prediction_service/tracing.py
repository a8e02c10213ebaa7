"""A span of OpenTelemetry around every call, where the process was started with a tracer provider, and none otherwise.

    opentelemetry-instrument perturbcast serve --model models:/NAME@champion

sets one up from the usual ``OTEL_*`` variables; nothing of the SDK is imported here, and without one a span is no work.
A caller's ``traceparent`` is followed.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import grpc
from opentelemetry import propagate, trace

from prediction_service.interception import wrapped

__all__ = ["Tracing"]


class Tracing(grpc.aio.ServerInterceptor):
    """Spans named as the method, of kind SERVER, with its gRPC status where it was refused."""

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Any]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Any:
        """The method's handler inside a span; health and reflection are left as they are."""
        handler = await continuation(handler_call_details)
        method = handler_call_details.method
        if handler is None or method.startswith("/grpc.") or _nobody_listens():
            return handler
        metadata = handler_call_details.invocation_metadata
        parent = {str(key): value for key, value in metadata if key in ("traceparent", "tracestate")}
        service, _, name = method.lstrip("/").rpartition("/")

        def wrap(inner: Any) -> Any:
            async def call(request: Any, context: Any) -> Any:
                tracer = trace.get_tracer("prediction_service")
                with tracer.start_as_current_span(
                    f"{service}/{name}",
                    context=propagate.extract(parent),
                    kind=trace.SpanKind.SERVER,
                    attributes={"rpc.system": "grpc", "rpc.service": service, "rpc.method": name},
                ):
                    return await inner(request, context)

            return call

        return wrapped(handler, wrap)


def _nobody_listens() -> bool:
    """Whether spans would be made for nothing: the process has no tracer provider."""
    return isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider)
