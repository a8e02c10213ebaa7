"""The queue lets in what it has room for and drops what nobody waits for any more."""

from __future__ import annotations

import asyncio
import functools
import gc
import threading
import weakref

import pytest

from prediction_service.work_queue import DrainingError, QueueFullError, WorkQueue


def test_more_calls_than_capacity_are_refused_with_a_time():
    async def scenario():
        queue = WorkQueue(workers=1, capacity=2)
        refusal = pytest.raises(QueueFullError, match="At most 2 calls")
        with queue.call(), queue.call(), refusal as refused, queue.call():
            pass
        assert refused.value.retry_after_s >= 1
        with queue.call():  # a place is free again
            pass

    asyncio.run(scenario())


def test_retry_after_grows_with_the_time_that_work_takes():
    async def scenario():
        queue = WorkQueue(workers=2, capacity=6, clock=iter([0.0, 100.0]).__next__)
        await queue.run(lambda: None)
        await queue.close()
        places = [queue.call() for _ in range(6)]
        for place in places:
            place.__enter__()
        # mean duration 0.1 x 100 s, 6 calls before, 2 workers
        with pytest.raises(QueueFullError, match="Ask again in 30 s"), queue.call():
            pass
        for place in places:
            place.__exit__(None, None, None)

    asyncio.run(scenario())


def test_cancelled_work_never_starts_and_frees_nothing_twice():
    async def scenario():
        queue = WorkQueue(workers=1, capacity=4)
        release, started = threading.Event(), []

        def block(name):
            started.append(name)
            release.wait(10)
            return name

        first = asyncio.create_task(queue.run(lambda: block("first")))
        second = asyncio.create_task(queue.run(lambda: block("second")))
        third = asyncio.create_task(queue.run(lambda: block("third")))
        while not started:
            await asyncio.sleep(0.01)
        second.cancel()
        await asyncio.gather(second, return_exceptions=True)
        assert started == ["first"]
        release.set()
        assert await asyncio.gather(first, third) == ["first", "third"]
        assert started == ["first", "third"]
        await queue.close()

    asyncio.run(scenario())


def test_a_cancelled_call_leaves_nothing_behind_while_the_threads_are_busy():
    """Its message may be 64 MiB: it is freed at once, not when a thread gets to it."""

    class Message:
        pass

    async def scenario():
        queue = WorkQueue(workers=1, capacity=4)
        release, started = threading.Event(), threading.Event()

        def block():
            started.set()
            release.wait(10)

        first = asyncio.create_task(queue.run(block))
        await asyncio.to_thread(started.wait, 10)
        first.cancel()  # the thread runs on, and keeps its place
        await asyncio.gather(first, return_exceptions=True)
        message = Message()
        alive = weakref.ref(message)
        second = asyncio.create_task(queue.run(functools.partial(id, message)))
        await asyncio.sleep(0.05)
        second.cancel()
        await asyncio.gather(second, return_exceptions=True)
        del message, second
        await asyncio.sleep(0)  # the step that gather woke still holds its result
        gc.collect()
        assert alive() is None
        release.set()
        assert await queue.run(lambda: "third") == "third"
        await queue.close()

    asyncio.run(scenario())


def test_a_failure_reaches_its_own_caller_only():
    async def scenario():
        queue = WorkQueue(workers=2, capacity=4)

        def fail():
            raise RuntimeError("mine")

        answers = await asyncio.gather(queue.run(fail), queue.run(lambda: 7), return_exceptions=True)
        assert isinstance(answers[0], RuntimeError)
        assert answers[1] == 7
        await queue.close()

    asyncio.run(scenario())


def test_draining_waits_for_calls_inside_and_refuses_new_ones():
    async def scenario():
        queue = WorkQueue(workers=1, capacity=4)
        inside = queue.call()
        inside.__enter__()
        draining = asyncio.create_task(queue.drain(grace_s=10))
        await asyncio.sleep(0)
        with pytest.raises(DrainingError, match="shutting down"), queue.call():
            pass
        assert not draining.done()
        inside.__exit__(None, None, None)
        assert await draining == 0

    asyncio.run(scenario())


def test_draining_gives_up_after_the_grace_period_and_counts():
    async def scenario():
        queue = WorkQueue(workers=1, capacity=4)
        with queue.call(), queue.call():
            return await queue.drain(grace_s=0.01)

    assert asyncio.run(scenario()) == 2


@pytest.mark.parametrize(("workers", "capacity"), [(0, 1), (2, 1)])
def test_room_for_every_worker(workers, capacity):
    with pytest.raises(ValueError, match="at least one worker and room for each"):
        WorkQueue(workers=workers, capacity=capacity)
