"""Batches are formed by size and by deadline, in turn between calls; what fails or is cancelled touches no other."""

from __future__ import annotations

import asyncio
import contextlib
import threading

import pytest

from prediction_service.batches import Batches, Piece
from prediction_service.work_queue import WorkQueue


class Recorder:
    """Doubles numbers, remembers each batch, and holds the first one until it is released."""

    def __init__(self):
        self.batches = []
        self.release = threading.Event()
        self.started = threading.Event()

    def __call__(self, works):
        self.batches.append(list(works))
        if len(self.batches) == 1:
            self.started.set()
            self.release.wait(10)
        return [ValueError(f"bad {work}") if work < 0 else 2 * work for work in works]


def pieces(*numbers, kind="k", weight=1):
    return [Piece(work=number, kind=kind, weight=weight) for number in numbers]


async def blocked(recorder, *, size=8, wait_s=0.0, calls=20):
    """A queue of one thread that is busy with the batch [0]; everything after waits."""
    queue = WorkQueue(workers=1, capacity=64)
    batches = Batches(queue, recorder, size=size, wait_s=wait_s)
    places = contextlib.ExitStack()
    for _ in range(calls):
        places.enter_context(queue.call())
    first = asyncio.create_task(batches.run(pieces(0)))
    await asyncio.to_thread(recorder.started.wait, 10)
    return queue, batches, first


def test_what_waits_is_answered_together_up_to_the_size():
    async def scenario():
        recorder = Recorder()
        queue, batches, first = await blocked(recorder, size=4)
        tasks = [asyncio.create_task(batches.run(pieces(number))) for number in range(1, 7)]
        await asyncio.sleep(0.05)
        assert batches.depth == 6
        recorder.release.set()
        assert await asyncio.gather(first, *tasks) == [[2 * number] for number in range(7)]
        assert recorder.batches == [[0], [1, 2, 3, 4], [5, 6]]
        assert batches.depth == 0
        await queue.close()

    asyncio.run(scenario())


def test_a_bulk_call_and_single_calls_alternate():
    async def scenario():
        recorder = Recorder()
        queue, batches, first = await blocked(recorder, size=4)
        bulk = asyncio.create_task(batches.run(pieces(*range(100, 105), weight=4)))
        await asyncio.sleep(0.01)
        singles = [asyncio.create_task(batches.run(pieces(number))) for number in (1, 2)]
        await asyncio.sleep(0.05)
        recorder.release.set()
        await asyncio.gather(first, *singles)
        assert recorder.batches[:3] == [[0], [100], [1, 2]], "not behind the other slices of the bulk call"
        assert await bulk == [200, 202, 204, 206, 208]
        await queue.close()

    asyncio.run(scenario())


def test_kinds_are_not_mixed():
    async def scenario():
        recorder = Recorder()
        queue, batches, first = await blocked(recorder)
        tasks = [asyncio.create_task(batches.run(pieces(i, kind="ab"[i % 2]))) for i in range(1, 5)]
        await asyncio.sleep(0.05)
        recorder.release.set()
        await asyncio.gather(first, *tasks)
        assert recorder.batches == [[0], [1, 3], [2, 4]]
        await queue.close()

    asyncio.run(scenario())


def test_one_bad_piece_fails_alone():
    async def scenario():
        recorder = Recorder()
        queue, batches, first = await blocked(recorder)
        tasks = [asyncio.create_task(batches.run(pieces(number))) for number in (1, -2, 3)]
        await asyncio.sleep(0.05)
        recorder.release.set()
        _, one, bad, three = await asyncio.gather(first, *tasks, return_exceptions=True)
        assert recorder.batches[1] == [1, -2, 3], "all in one batch"
        assert (one, three, str(bad)) == ([2], [6], "bad -2")
        await queue.close()

    asyncio.run(scenario())


def test_a_defect_of_the_whole_batch_reaches_its_calls_and_the_next_batch_runs():
    async def scenario():
        def answer(works):
            if works[0] == 1:
                raise RuntimeError("broken")
            return works

        queue = WorkQueue(workers=1, capacity=4)
        batches = Batches(queue, answer, size=4, wait_s=0)
        with pytest.raises(RuntimeError, match="broken"):
            await batches.run(pieces(1))
        assert await batches.run(pieces(2)) == [2]
        await queue.close()

    asyncio.run(scenario())


def test_cancelled_work_is_dropped_from_the_batch():
    async def scenario():
        recorder = Recorder()
        queue, batches, first = await blocked(recorder)
        kept, left = (asyncio.create_task(batches.run(pieces(*numbers))) for numbers in ((1,), (2, 3)))
        await asyncio.sleep(0.02)
        left.cancel()
        await asyncio.gather(left, return_exceptions=True)
        assert batches.depth == 1
        recorder.release.set()
        assert await asyncio.gather(first, kept) == [[0], [2]]
        assert recorder.batches == [[0], [1]]
        await queue.close()

    asyncio.run(scenario())


@pytest.mark.parametrize("inside", [1, 2], ids=["alone", "another-call-inside"])
def test_a_call_waits_for_company_only_where_another_is_inside(inside):
    async def scenario():
        queue = WorkQueue(workers=1, capacity=4)
        batches = Batches(queue, list, size=4, wait_s=0.2)
        loop = asyncio.get_running_loop()
        with contextlib.ExitStack() as places:
            for _ in range(inside):
                places.enter_context(queue.call())
            started = loop.time()
            await batches.run(pieces(1))
            waited = loop.time() - started
        await queue.close()
        return waited

    waited = asyncio.run(scenario())
    assert (waited >= 0.2) == (inside == 2), waited


def test_company_ends_the_waiting_when_the_batch_is_full():
    async def scenario():
        recorder = Recorder()
        recorder.release.set()
        queue = WorkQueue(workers=1, capacity=8)
        batches = Batches(queue, recorder, size=2, wait_s=30)
        with contextlib.ExitStack() as places:
            for _ in range(3):
                places.enter_context(queue.call())
            one = asyncio.create_task(batches.run(pieces(1)))
            await asyncio.sleep(0.02)
            assert recorder.batches == []
            await asyncio.wait_for(asyncio.gather(one, batches.run(pieces(2))), 10)
        assert recorder.batches == [[1, 2]]
        await queue.close()

    asyncio.run(scenario())


def test_what_is_quick_is_answered_by_the_event_loop_and_the_rest_by_a_thread():
    async def scenario():
        threads = {}

        def answer(works):
            threads.update((work, threading.current_thread()) for work in works)
            return [ValueError("bad") if work < 0 else 2 * work for work in works]

        queue = WorkQueue(workers=1, capacity=4)
        batches = Batches(queue, answer, size=4, wait_s=0, quick=lambda works: sum(works) < 5)
        assert await asyncio.gather(batches.run(pieces(1)), batches.run(pieces(2))) == [[2], [4]]
        assert await batches.run(pieces(5)) == [10]
        with pytest.raises(ValueError, match="bad"):
            await batches.run(pieces(-1))
        assert await batches.run(pieces(3)) == [6], "the thread that was not needed is free"
        await queue.close()
        return {work: thread is threading.main_thread() for work, thread in threads.items()}

    assert asyncio.run(scenario()) == {1: True, 2: True, 5: False, -1: True, 3: True}


def test_what_is_quick_waits_for_nobody():
    async def scenario():
        queue = WorkQueue(workers=1, capacity=4)
        batches = Batches(queue, list, size=4, wait_s=30, quick=lambda works: works[0] == 1)
        with queue.call(), queue.call(), queue.call():
            assert await asyncio.wait_for(batches.run(pieces(1)), 10) == [1]
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(batches.run(pieces(2)), 0.05)
        await queue.close()

    asyncio.run(scenario())


def test_what_is_quick_is_answered_together_where_calls_are_let_in_one_after_the_other():
    async def scenario():
        recorder = Recorder()
        recorder.release.set()
        queue = WorkQueue(workers=1, capacity=8)
        # what waited behind the batch before has waited longer than this, and still lets others in
        batches = Batches(queue, recorder, size=3, wait_s=1e-9, quick=lambda _: True)

        async def call(number):
            with queue.call():
                await asyncio.sleep(0)  # its message is read
                return await batches.run(pieces(number))

        tasks = []
        for number in range(5):
            tasks.append(asyncio.create_task(call(number)))
            await asyncio.sleep(0)
            await asyncio.sleep(0)
        assert await asyncio.gather(*tasks) == [[2 * number] for number in range(5)]
        assert recorder.batches == [[0, 1, 2], [3, 4]]
        await queue.close()

    asyncio.run(scenario())


def test_calls_that_come_without_end_keep_nobody_waiting():
    async def scenario():
        queue = WorkQueue(workers=1, capacity=8)
        batches = Batches(queue, list, size=3, wait_s=30, quick=lambda _: True)

        async def enter():
            while True:
                with queue.call():
                    await asyncio.sleep(0)

        coming = asyncio.create_task(enter())
        assert await asyncio.wait_for(batches.run(pieces(1)), 10) == [1]
        coming.cancel()
        await queue.close()

    asyncio.run(scenario())


@pytest.mark.parametrize(("size", "wait_s"), [(0, 0), (1, -1), (1, float("nan"))])
def test_a_batch_that_cannot_be_formed_is_refused(size, wait_s):
    with pytest.raises(ValueError, match="at least one condition and waits 0 s or longer"):
        Batches(None, None, size=size, wait_s=wait_s)
