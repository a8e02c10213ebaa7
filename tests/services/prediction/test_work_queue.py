"""The queue lets in what it has room for and drops what nobody waits for any more."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import gc
import threading
import weakref

import pytest

from prediction_service.work_queue import DrainingError, QueueFullError, QueueTooLongError, WorkQueue


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


@contextlib.contextmanager
def busy(queue, *, calls):
    with contextlib.ExitStack() as inside:
        for _ in range(calls):
            inside.enter_context(queue.call())
        yield


def make_queue(*, capacity, seconds):
    """A queue that has answered four requests one after the other, each in so many seconds."""

    async def make():  # a queue belongs to an event loop
        times = iter([*[0.0] * 4, *[seconds * i for i in range(1, 5)]])
        queue = WorkQueue(workers=2, capacity=capacity, clock=times.__next__)
        blocks = [queue.pace.work() for _ in range(4)]
        for block in blocks:
            block.__enter__()
        for block in blocks:
            block.__exit__(None, None, None)
        return queue

    return asyncio.run(make())


def test_retry_after_grows_with_the_time_that_requests_take():
    queue = make_queue(capacity=6, seconds=4.0)
    # 4 s each, 6 before and oneself, and half as much again
    refusal = pytest.raises(QueueFullError, match="Ask again in 42 s")
    with busy(queue, calls=6), refusal, queue.call(remaining_s=60):
        pass


def test_a_call_whose_deadline_would_pass_before_its_turn_is_not_let_in():
    queue = make_queue(capacity=6, seconds=4.0)
    refusal = pytest.raises(QueueTooLongError, match=r"13\.50 s are left of it, and with 2 before it about 18\.00 s")
    with busy(queue, calls=2), refusal as refused, queue.call(remaining_s=13.5):
        pass
    assert refused.value.retry_after_s == 5
    for calls, remaining_s in ((2, 18.0), (1, 13.5), (2, None), (0, 0.1)):
        with busy(queue, calls=calls), queue.call(remaining_s=remaining_s):
            assert queue.calls == calls + 1


def test_a_stream_takes_a_place_and_is_ahead_of_nobody():
    queue = make_queue(capacity=2, seconds=4.0)
    with queue.place(), queue.call(remaining_s=0.1):
        with pytest.raises(QueueFullError, match="At most 2 calls"), queue.call():
            pass
        with pytest.raises(QueueFullError, match="At most 2 calls"), queue.place():
            pass


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
