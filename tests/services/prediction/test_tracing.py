"""Spans where a tracer provider is set up, with the caller's trace; nothing of the kind otherwise."""

from __future__ import annotations

import asyncio
import types

import grpc
import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from prediction_service.tracing import Tracing

METHOD = "/perturbcast.prediction.v1.PredictionService/Predict"
PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"  # the example of the W3C recommendation


@pytest.fixture
def spans(monkeypatch):
    """What was exported, with a provider for this test alone."""
    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(trace, "get_tracer_provider", lambda: provider)
    return exporter


def call(method, metadata=(), *, fail=False):
    async def answer(request, context):
        trace.get_current_span().set_attribute("inside", request)
        if fail:
            raise RuntimeError("a defect")
        return request

    async def scenario():
        details = types.SimpleNamespace(method=method, invocation_metadata=metadata)

        async def continuation(_):
            return grpc.unary_unary_rpc_method_handler(answer)

        handler = await Tracing().intercept_service(continuation, details)
        return await handler.unary_unary("question", None)

    return asyncio.run(scenario())


def test_a_call_is_a_span_of_the_callers_trace(spans):
    assert call(METHOD, [("traceparent", PARENT), ("authorization", "Bearer secret")]) == "question"
    (span,) = spans.get_finished_spans()
    assert span.name == METHOD[1:]
    assert span.kind is trace.SpanKind.SERVER
    assert f"{span.context.trace_id:032x}" == PARENT.split("-")[1]
    assert f"{span.parent.span_id:016x}" == PARENT.split("-")[2]
    assert span.attributes["inside"] == "question", "what is said inside is said of this span"
    assert "secret" not in str(span.attributes)


def test_a_defect_ends_the_span_as_an_error(spans):
    with pytest.raises(RuntimeError):
        call(METHOD, fail=True)
    (span,) = spans.get_finished_spans()
    assert not span.status.is_ok


def test_health_is_no_span(spans):
    assert call("/grpc.health.v1.Health/Check") == "question"
    assert spans.get_finished_spans() == ()


def test_without_a_provider_nothing_is_recorded():
    assert call(METHOD) == "question"
    assert not trace.get_current_span().is_recording()


def test_without_a_provider_a_method_is_left_as_it_is():
    handler = grpc.unary_unary_rpc_method_handler(lambda request, context: request)

    async def continuation(_):
        return handler

    details = types.SimpleNamespace(method=METHOD, invocation_metadata=())
    assert asyncio.run(Tracing().intercept_service(continuation, details)) is handler
