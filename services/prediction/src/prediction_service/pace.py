"""How long requests take of late by the number of others that were ahead, and so how long one that comes now will.

A line is fitted to the seconds that each took and the number ahead of it, by least squares in which older requests
count less and less. Its slope is what one more ahead costs, whatever batches, threads and a busy machine make of it: 0
where requests share a batch, all of a request's time where one waits for the other. It is told of calls of one request;
streams are there as what makes those slower, since all take turns.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Iterator

__all__ = ["Pace"]

KEPT = 0.98  # of the weight of earlier requests, when one is done: about 50 count
MARGIN = 1.5  # half of those who are let in by a mean come too late
# what is longer than ever seen is believed to take no longer up to twice the length, and in proportion from there: the
# line is tried out step by step, where nobody knows yet whether requests share the time or wait for one another
TRIED = 2.0
LEAST_VARIANCE = 0.1  # of the numbers ahead, squared: below, chance makes the slope


class Pace:
    """Measures one server; belongs to one event loop. What was measured stays while nothing happens.

    Args:
        clock: seconds that only grow.
    """

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._ahead = 0
        self._working = 0
        self._longest = 1.0  # queue, oneself included
        self._weight = self._n = self._s = self._nn = self._ns = 0.0  # sums over requests: 1, ahead, seconds, products

    @property
    def ahead(self) -> int:
        """Requests that are ahead of one that comes now."""
        return self._ahead

    @contextlib.contextmanager
    def request(self) -> Iterator[None]:
        """For the length of the block, one request is ahead of those that come after it."""
        self._ahead += 1
        try:
            yield
        finally:
            self._ahead -= 1

    @contextlib.contextmanager
    def work(self) -> Iterator[None]:
        """For the length of the block, one request is worked on; one that is refused tells nothing.

        One that is cancelled would have taken longer, so that it counts where it had taken long already.
        """
        ahead, started = self._working, self._clock()
        self._working += 1
        try:
            yield
            self._learn(ahead, self._clock() - started)
        except asyncio.CancelledError:
            if (took_s := self._clock() - started) > self._mean_s(ahead):
                self._learn(ahead, took_s)
            raise
        finally:
            self._working -= 1

    @property
    def expected_s(self) -> float:
        """Seconds that a request takes which comes now, with the margin; 0 where none is ahead or was ever done."""
        if not self._ahead:  # whoever comes to an idle server is let in, and shows how fast it is now
            return 0.0
        longer = (self._ahead + 1) / (TRIED * self._longest)
        return MARGIN * self._mean_s(self._ahead) * max(1.0, longer)

    def _mean_s(self, ahead: int) -> float:
        if not self._weight:
            return 0.0
        n, s = self._n / self._weight, self._s / self._weight
        variance, covariance = self._nn / self._weight - n * n, self._ns / self._weight - n * s
        slope = max(0.0, covariance / max(variance, LEAST_VARIANCE))
        return max(0.0, s + slope * (ahead - n))

    def _learn(self, ahead: int, took_s: float) -> None:
        self._longest = max(ahead + 1.0, KEPT * self._longest)
        self._weight = KEPT * self._weight + 1
        self._n = KEPT * self._n + ahead
        self._s = KEPT * self._s + took_s
        self._nn = KEPT * self._nn + ahead * ahead
        self._ns = KEPT * self._ns + ahead * took_s
