"""kill -9, SIGTERM and too much load: nothing lost, nothing twice, refused with a time to come back."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
import time
from collections import Counter
from concurrent import futures
from pathlib import Path

import grpc
import numpy as np
import pytest

from perturbcast_client import Condition, ServiceError, UnavailableError, Wanted, aio, connect

IFNB = Condition.from_label("IFNB", "B cells")


def memory_mb(service):
    pages = Path(f"/proc/{service.process.pid}/statm").read_text().split()[1]
    return int(pages) * os.sysconf("SC_PAGE_SIZE") / 2**20


@pytest.mark.slow
def test_a_killed_server_that_comes_back_leaves_every_request_answered_once(start_service):
    """kill -9 under load; the client's retries, and nothing else, finish the job with equal results."""
    first = start_service()
    port = int(first.address.split(":")[1])
    asked = [[Condition.from_label("X" * (1 + i % 9), "B cells")] for i in range(400)]
    with connect(first.address, timeout_s=60) as client, futures.ThreadPoolExecutor(4) as pool:
        expected = {len(c[0].perturbation): client.predict("known", c).delta for c in asked[:9]}
        tasks = [pool.submit(client.predict, "known", conditions) for conditions in asked]
        while sum(task.done() for task in tasks) < 50:
            time.sleep(0.005)
        first.process.kill()
        start_service(config={"port": port})
        answers = [task.result(timeout=60) for task in tasks]
    assert len(answers) == len(asked)
    for conditions, answer in zip(asked, answers, strict=True):
        assert answer.conditions == tuple(conditions)
        np.testing.assert_array_equal(answer.delta, expected[len(conditions[0].perturbation)])


@pytest.mark.slow
def test_a_stream_that_a_kill_broke_goes_on_with_the_rest(start_service):
    """gRPC sends a stream again only before its first reply: what has come stands, and the caller asks for the rest."""
    first = start_service()
    port = int(first.address.split(":")[1])
    asked = [Condition.from_label("X" * (1 + i % 9), "B cells") for i in range(1600)]
    given = {"chunk_size": 4, "wanted": Wanted(cells=400), "seed": 7}  # 10 MB of replies: more than the buffers take
    answers = []

    def ask_and_kill():
        for answer in client.predict_stream("known", asked, **given):
            answers.append(answer)
            if len(answers) == 5:
                first.process.kill()

    with connect(first.address, timeout_s=60) as client:
        with pytest.raises(UnavailableError):
            ask_and_kill()
        done = sum(len(answer.conditions) for answer in answers)
        assert 20 <= done < len(asked)
        start_service(config={"port": port})
        answers += client.predict_stream("known", asked[done:], **given)
    assert [condition for answer in answers for condition in answer.conditions] == asked, "none lost, none twice"
    cells = {}
    for answer in answers:
        for condition, made in zip(answer.conditions, answer.cells, strict=True):
            cells.setdefault(condition, set()).add(made.tobytes())
    assert [len(made) for made in cells.values()] == [1] * 9, "both servers give equal cells"


@pytest.mark.slow
def test_sigterm_under_load_loses_no_accepted_request(start_service):
    service = start_service()
    refused, answered, stop = [], [], threading.Event()

    def ask():
        with connect(service.address, timeout_s=20, attempts=1) as client:
            while not stop.is_set():
                try:
                    answered.append(client.predict("known", [IFNB] * 20).request_id)
                except ServiceError as error:
                    refused.append(error.status)
                    return

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    while len(answered) < 50:
        time.sleep(0.005)
    service.process.send_signal(signal.SIGTERM)
    assert service.process.wait(20) == 0
    stop.set()
    for thread in threads:
        thread.join()
    # what was not answered was not let in
    assert set(refused) <= {grpc.StatusCode.UNAVAILABLE}
    computed = {line.split("request ")[1].split(":")[0] for line in service.log.splitlines() if "request " in line}
    assert computed == set(answered)
    assert "are dropped" not in service.log


@pytest.mark.slow
def test_ten_times_the_load_is_refused_with_a_time_and_the_rest_is_answered(start_service):
    """What is let in meets its deadline; the rest is told when to ask again; a second later all is well."""
    places, seconds = 2, 3
    service = start_service(config={"max_concurrent": places})
    outcomes, before, until = [], memory_mb(service), time.monotonic() + seconds

    def ask():
        with connect(service.address, timeout_s=5, attempts=1) as client:
            while time.monotonic() < until:
                try:
                    client.predict("known", [IFNB] * 50)
                    outcomes.append("answered")
                except ServiceError as error:
                    outcomes.append((error.status, error.retry_after_s))
                    time.sleep(0.02)

    threads = [threading.Thread(target=ask) for _ in range(10 * places)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert outcomes.count("answered") > 50
    refused = [outcome for outcome in outcomes if outcome != "answered"]
    assert refused, "it was more than it takes"
    assert {status for status, _ in refused} == {grpc.StatusCode.RESOURCE_EXHAUSTED}
    assert all(after >= 1 for _, after in refused)
    assert memory_mb(service) < before + 64
    with connect(service.address, timeout_s=1, attempts=1) as client:
        assert client.predict("known", [IFNB]).conditions == (IFNB,)


@pytest.mark.slow
def test_thousands_of_calls_at_once_are_refused_in_order_and_not_cancelled(start_service):
    service = start_service(config={"max_concurrent": 2})  # or a server beside slow callers has room for all

    async def ask(client):
        try:
            await client.predict("known", [IFNB])
        except ServiceError as error:
            return error.status
        return grpc.StatusCode.OK

    async def scenario():
        async with aio.connect(service.address, timeout_s=60, attempts=1) as client:
            return Counter(await asyncio.gather(*(ask(client) for _ in range(2000))))

    outcomes = asyncio.run(scenario())
    assert set(outcomes) == {grpc.StatusCode.OK, grpc.StatusCode.RESOURCE_EXHAUSTED}, outcomes


def test_a_call_that_would_come_too_late_is_refused_on_arrival(start_service):
    """Twelve callers of a model that answers one request in 0.7 s, with a deadline of 2.9 s: nobody waits in vain."""
    service = start_service(config={"workers": 1, "max_batch": 1})
    slow = [Condition.from_label("SLOW", "B cells")]
    outcomes = Counter()
    with connect(service.address, timeout_s=2.9, attempts=1) as client:
        with futures.ThreadPoolExecutor(3) as pool:  # so that the server knows that one waits for the other
            for first in [pool.submit(client.predict, "known", slow, timeout_s=20) for _ in range(3)]:
                first.result()
        until = time.monotonic() + 2.2

        def ask():
            while time.monotonic() < until:
                try:
                    client.predict("known", slow)
                    outcomes["answered"] += 1
                except ServiceError as error:
                    outcomes[error.status, error.retry_after_s] += 1
                    time.sleep(0.05)

        with futures.ThreadPoolExecutor(12) as pool:
            for asked in [pool.submit(ask) for _ in range(12)]:
                asked.result()
        with connect(service.address, timeout_s=2.0) as impatient, futures.ThreadPoolExecutor(2) as pool:
            before = [pool.submit(client.predict, "known", slow, timeout_s=20) for _ in range(2)]
            time.sleep(0.3)
            with pytest.raises(ServiceError, match="with 2 before it about") as refused:
                impatient.predict("known", slow)
            assert refused.value.status is grpc.StatusCode.RESOURCE_EXHAUSTED
            assert [one.result().conditions for one in before] == [tuple(slow)] * 2
        client.predict("known", slow, timeout_s=1.5)  # an idle server is asked, however long it takes
    assert outcomes.pop("answered") >= 2
    assert {status for status, _ in outcomes} == {grpc.StatusCode.RESOURCE_EXHAUSTED}
    assert all(seconds >= 1 for _, seconds in outcomes)
    assert sum(outcomes.values()) > 12
