"""The asyncio client: the answers and refusals of the other one."""

from __future__ import annotations

import asyncio
import time

import grpc
import numpy as np
import pytest

from perturbcast_client import (
    Condition,
    DeadlineError,
    ServiceError,
    UnauthenticatedError,
    UnavailableError,
    UnknownModelError,
    Wanted,
    aio,
    connect,
)
from perturbcast_client.testing import FAKE_MODEL, FakeServer, fake_prediction

ASKED = [Condition.from_label(label, "B cells") for label in ("IFNB", "A+B", "C")]


def run(server, scenario, **options):
    async def main():
        async with aio.connect(server.address, **{"timeout_s": 10, **options}) as client:
            return await scenario(client)

    return asyncio.run(main())


def test_answers_are_those_of_the_other_client():
    wanted = Wanted(variance=True, interval_level=0.9, cells=2)
    with FakeServer() as server, connect(server.address) as client:
        same = client.predict("fake", ASKED, wanted=wanted)
        answer = run(server, lambda c: c.predict("fake", ASKED, wanted=wanted))
        for name in ("delta", "variance", "lower", "cells"):
            np.testing.assert_array_equal(getattr(answer, name), getattr(same, name))
        assert run(server, lambda c: c.list_models()) == client.list_models()
        assert run(server, lambda c: c.get_model("fake", include_genes=True)) == FAKE_MODEL


def test_a_stream_comes_chunk_by_chunk_and_can_be_left():
    async def all_of(client):
        return [answer.conditions async for answer in client.predict_stream("fake", ASKED, chunk_size=2)]

    async def first_of(client):
        stream = client.predict_stream("fake", ASKED * 500, chunk_size=1)
        answer = await anext(stream)
        await stream.aclose()
        return answer.conditions

    with FakeServer() as server:
        assert run(server, all_of) == [tuple(ASKED[:2]), tuple(ASKED[2:])]
        assert run(server, first_of) == tuple(ASKED[:1])
        assert len(server.requests) < 1500


def test_calls_run_side_by_side():
    async def many(client):
        answers = await asyncio.gather(*(client.predict("fake", [condition]) for condition in ASKED * 10))
        return [answer.conditions[0] for answer in answers]

    with FakeServer() as server:
        assert run(server, many) == ASKED * 10


def test_a_call_is_sent_again_while_the_server_is_unavailable():
    calls = []

    def answer(request, model):
        calls.append(request)
        if len(calls) < 3:
            raise ServiceError(grpc.StatusCode.UNAVAILABLE, "not now")
        return fake_prediction(request, model)

    with FakeServer(answer=answer) as server:
        assert run(server, lambda c: c.predict("fake", ASKED)).conditions == tuple(ASKED)
        assert len(calls) == 3
        calls.clear()
        with pytest.raises(UnavailableError, match="not now"):
            run(server, lambda c: c.predict("fake", ASKED), attempts=1)


def test_refusals_are_those_of_the_other_client():
    def answer(request, model):
        raise ServiceError(grpc.StatusCode.UNAUTHENTICATED, "who are you")

    async def stream(client):
        return [chunk async for chunk in client.predict_stream("fake", ASKED)]

    with FakeServer(answer=answer) as server:
        with pytest.raises(UnauthenticatedError, match="who are you"):
            run(server, lambda c: c.predict("fake", ASKED))
        with pytest.raises(UnauthenticatedError, match="who are you"):
            run(server, stream)
        with pytest.raises(UnknownModelError, match="Known: fake/1"):
            run(server, lambda c: c.get_model("other"))
        with pytest.raises(ValueError, match=r"chunk_size: .*got 0"):
            run(server, lambda c: c.predict_stream("fake", ASKED, chunk_size=0))


def test_a_call_has_a_deadline():
    def slow(request, model):
        time.sleep(0.3)
        return fake_prediction(request, model)

    with FakeServer(answer=slow) as server, pytest.raises(DeadlineError):
        run(server, lambda c: c.predict("fake", ASKED), timeout_s=0.05)


def test_a_token_stays_on_this_machine_without_tls():
    with pytest.raises(ValueError, match="over TLS only"):
        aio.connect("example.org:1", token="x" * 20)
