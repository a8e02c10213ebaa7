"""How fast requests are answered of late, and so how long one that comes now will take.

Seconds per request are the time in which any request was worked on, over the requests that were done in it: that counts
what threads, batches and a busy machine make of it, whatever they do. A request that comes now is done when those
ahead of it are and itself is, so it takes about (ahead + 1) times as long (Little's law, in order of arrival).
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Iterator

__all__ = ["Pace"]

WINDOW_S = 1.0  # a window is closed when it has as much work in it, and
WINDOW_REQUESTS = 8  # as many requests: of slow ones a second holds too few
MARGIN = 1.5  # half of those who are let in by a mean come too late


class Pace:
    """Measures one server; belongs to one event loop.

    What was measured stays while nothing happens. It is of two windows, the last that was closed and the open one.

    Args:
        clock: seconds that only grow.
    """

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._ahead = 0
        self._working = 0
        self._since = 0.0  # start of the work that goes on
        self._open = (0.0, 0)  # seconds with work, requests done
        self._closed = (0.0, 0)

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
        """For the length of the block, one request is worked on; one that is cancelled was not done."""
        if not self._working:
            self._since = self._clock()
        self._working += 1
        done = 1
        try:
            yield
        except asyncio.CancelledError:
            done = 0
            raise
        finally:
            now = self._clock()
            seconds, requests = self._open[0] + now - self._since, self._open[1] + done
            self._since = now
            self._working -= 1
            self._open = seconds, requests
            if seconds >= WINDOW_S and requests >= WINDOW_REQUESTS:
                self._closed, self._open = self._open, (0.0, 0)

    @property
    def ahead(self) -> int:
        """Requests that are ahead of one that comes now."""
        return self._ahead

    @property
    def expected_s(self) -> float:
        """Seconds that a request takes which comes now, with the margin; 0 where none is ahead or was ever done."""
        requests = self._open[1] + self._closed[1]
        if not self._ahead or not requests:  # whoever comes to an idle server is let in, and shows how fast it is now
            return 0.0
        seconds = self._open[0] + self._closed[0] + (self._clock() - self._since if self._working else 0.0)
        return MARGIN * (self._ahead + 1) * seconds / requests
