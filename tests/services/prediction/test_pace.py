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


def work(pace, clock, *, seconds, requests=1):
    for _ in range(requests):
        with pace.request(), pace.work():
            clock.now += seconds


@contextlib.contextmanager
def ahead(pace, requests):
    with contextlib.ExitStack() as inside:
        for _ in range(requests):
            inside.enter_context(pace.request())
        yield


def test_it_is_the_seconds_per_request_times_those_ahead_and_oneself(pace, clock):
    work(pace, clock, seconds=0.5, requests=4)
    for requests in (1, 2, 10):
        with ahead(pace, requests):
            assert pace.expected_s == pytest.approx(MARGIN * 0.5 * (requests + 1))


def test_an_idle_server_expects_nothing_however_slow_it_was(pace, clock):
    work(pace, clock, seconds=60.0)
    assert pace.expected_s == 0.0


def test_nothing_is_expected_before_anything_was_done(pace, clock):
    with ahead(pace, 9), pace.work():
        clock.now += 60
        assert pace.expected_s == 0.0


def test_requests_that_share_the_time_count_each(pace, clock):
    """Four at the same time for a second: a quarter each, as a batch or several threads make it."""
    with contextlib.ExitStack() as inside:
        for _ in range(4):
            inside.enter_context(pace.work())
        clock.now += 1.0
    with ahead(pace, 1):
        assert pace.expected_s == pytest.approx(MARGIN * 0.25 * 2)


def test_time_without_work_does_not_count(pace, clock):
    work(pace, clock, seconds=0.5)
    clock.now += 3600
    work(pace, clock, seconds=0.5)
    with ahead(pace, 1):
        clock.now += 3600  # a call that brings nothing is ahead, and nobody works on it
        assert pace.expected_s == pytest.approx(MARGIN * 0.5 * 2)


def test_a_server_that_stands_still_is_expected_to_take_longer(pace, clock):
    work(pace, clock, seconds=0.5)
    with pace.request(), pace.work():
        before = pace.expected_s
        clock.now += 4.0
        assert pace.expected_s == pytest.approx(before + MARGIN * 2 * 4.0)


def test_what_is_cancelled_was_not_done(pace, clock):
    work(pace, clock, seconds=0.5)
    with contextlib.suppress(asyncio.CancelledError), pace.work():
        clock.now += 0.5
        raise asyncio.CancelledError
    with ahead(pace, 1):
        assert pace.expected_s == pytest.approx(MARGIN * 1.0 * 2)


def test_what_was_slow_is_forgotten_after_two_windows(pace, clock):
    work(pace, clock, seconds=5.0, requests=8)
    work(pace, clock, seconds=0.25, requests=7)
    with ahead(pace, 1):
        assert pace.expected_s > MARGIN * 2.0 * 2
    work(pace, clock, seconds=0.25, requests=9)
    with ahead(pace, 1):
        assert pace.expected_s == pytest.approx(MARGIN * 0.25 * 2)
