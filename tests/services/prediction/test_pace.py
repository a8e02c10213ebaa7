"""What a request that comes now is expected to take, by hand."""

from __future__ import annotations

import asyncio
import contextlib

import pytest

from prediction_service.pace import MARGIN, Pace


class Clock:
    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def pace(clock):
    return Pace(clock=clock)


def work(pace, clock, *durations):
    """Requests that begin together, each with those before it ahead, and end after so many seconds."""
    start = clock.now
    blocks = [pace.work() for _ in durations]
    for block in blocks:
        block.__enter__()
    for block, seconds in sorted(zip(blocks, durations, strict=True), key=lambda pair: pair[1]):
        clock.now = start + seconds
        block.__exit__(None, None, None)


def expected(pace, requests):
    with contextlib.ExitStack() as inside:
        for _ in range(requests):
            inside.enter_context(pace.request())
        return pace.expected_s


def test_requests_that_wait_for_one_another_take_longer_by_those_ahead(pace, clock):
    work(pace, clock, 0.5, 1.0, 1.5, 2.0)
    for requests in (1, 2, 7):  # up to twice as many as were ever there
        assert expected(pace, requests) == pytest.approx(MARGIN * 0.5 * (requests + 1))


def test_requests_that_share_a_batch_take_no_longer(pace, clock):
    work(pace, clock, 0.5, 0.5, 0.5, 0.5)
    assert [expected(pace, requests) for requests in (1, 3, 7)] == pytest.approx([MARGIN * 0.5] * 3)


def test_a_queue_longer_than_was_ever_seen_is_tried_out_by_doubling(pace, clock):
    work(pace, clock, 0.5)
    assert [expected(pace, requests) for requests in (1, 3, 9)] == pytest.approx([MARGIN * 0.5 * x for x in (1, 2, 5)])
    work(pace, clock, 0.5, 0.5)
    assert expected(pace, 3) == pytest.approx(MARGIN * 0.5)


def test_more_ahead_is_never_expected_to_take_less(pace, clock):
    work(pace, clock, 3.0, 0.5, 0.5, 0.1)  # whoever came first took longest
    waits = [expected(pace, requests) for requests in range(1, 20)]
    assert waits == sorted(waits)
    assert waits[0] > 0


def test_an_idle_server_expects_nothing_however_slow_it_was(pace, clock):
    work(pace, clock, 60.0)
    assert expected(pace, 0) == 0.0


def test_nothing_is_expected_before_anything_was_done(pace, clock):
    assert expected(pace, 9) == 0.0


def test_time_without_work_does_not_count(pace, clock):
    work(pace, clock, 0.5)
    clock.now += 3600
    work(pace, clock, 0.5)
    with pace.request():
        clock.now += 3600  # a call that brings nothing is ahead, and nobody works on it
        assert pace.expected_s == pytest.approx(MARGIN * 0.5)


@pytest.mark.parametrize(("seconds", "counts"), [(5.0, True), (0.1, False)], ids=["long", "short"])
def test_what_is_cancelled_counts_where_it_had_taken_long_already(pace, clock, seconds, counts):
    work(pace, clock, 0.5)
    with contextlib.suppress(asyncio.CancelledError), pace.work():
        clock.now += seconds
        raise asyncio.CancelledError
    assert (expected(pace, 1) > MARGIN * 0.5 + 1e-9) is counts


def test_what_is_refused_tells_nothing(pace, clock):
    work(pace, clock, 0.5)
    for _ in range(20):
        with contextlib.suppress(ValueError), pace.work():
            raise ValueError("a request that is malformed")
    assert expected(pace, 1) == pytest.approx(MARGIN * 0.5)


def test_what_was_slow_is_forgotten(pace, clock):
    work(pace, clock, *(5.0 * i for i in range(1, 9)))
    for _ in range(60):
        work(pace, clock, 0.1, 0.1, 0.1, 0.1)
    assert expected(pace, 3) < MARGIN * 0.5
