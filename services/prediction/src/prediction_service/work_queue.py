"""Bounds what waits and what runs: a fixed number of threads, a fixed number of calls, in order of arrival.

A call whose deadline would pass before its turn is not let in.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol, TypeVar

from prediction_service.pace import Pace

__all__ = ["DrainingError", "IdleCallError", "QueueFullError", "QueueTooLongError", "WorkQueue"]

T = TypeVar("T")


class QueueFullError(RuntimeError):
    """As many calls as allowed wait or run.

    Attributes:
        retry_after_s: estimate of when those before are done, whole seconds, at least 1.
    """

    def __init__(self, message: str, *, retry_after_s: int) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class QueueTooLongError(QueueFullError):
    """There is a place, and the call's deadline would pass before its turn."""


class Start(Protocol):
    """Runs a piece of work in the thread that was waited for; called once."""

    def __call__(self, work: Callable[[], T], /) -> Awaitable[T]: ...


class IdleCallError(RuntimeError):
    """A call holds a place and brings nothing to work on."""


class DrainingError(RuntimeError):
    """The server is shutting down and takes no new call."""


class WorkQueue:
    """Runs work in threads for calls that were let in; belongs to one event loop.

    Args:
        workers: pieces of work that run at the same time.
        capacity: calls that are let in at the same time, waiting and running; a stream is one call.
        clock: seconds that only grow.

    Attributes:
        pace: how fast requests are answered; told by whoever answers them.
    """

    def __init__(self, *, workers: int, capacity: int, clock: Callable[[], float] = time.monotonic) -> None:
        if workers < 1 or capacity < workers:
            raise ValueError(
                f"A queue has at least one worker and room for each; got {workers} workers and room for {capacity}. "
                "Raise max_concurrent."
            )
        self._capacity = capacity
        self.pace = Pace(clock=clock)
        self._threads = ThreadPoolExecutor(workers, thread_name_prefix="predict")
        # waiting happens here and not in the executor, whose queue would keep the bytes of cancelled calls
        self._free = asyncio.Semaphore(workers)
        self._inside = 0
        self._entered = 0
        self._idle = asyncio.Event()
        self._idle.set()
        self._draining = False

    @contextlib.contextmanager
    def call(self, *, remaining_s: float | None = None) -> Iterator[None]:
        """Let a call of one request in for the length of the block.

        Args:
            remaining_s: seconds until its deadline; None without one.

        Raises:
            QueueFullError: ``capacity`` calls are inside.
            QueueTooLongError: those ahead of it take longer than ``remaining_s``.
            DrainingError: ``drain`` was called.
        """
        self._check_room()
        self._check_time(remaining_s)
        with self._inside_it(), self.pace.request():
            yield

    @contextlib.contextmanager
    def place(self) -> Iterator[None]:
        """As ``call``, for a stream: its deadline is for all its requests, and how many these are nobody knows yet.

        It is ahead of nobody: its requests take turns with those of the calls.
        """
        self._check_room()
        with self._inside_it():
            yield

    def _check_room(self) -> None:
        if self._draining:
            raise DrainingError("This server is shutting down and takes no new requests. Ask again, or another server.")
        if self._inside >= self._capacity:
            retry_after_s = max(1, math.ceil(self.pace.expected_s))
            raise QueueFullError(
                f"At most {self._capacity} calls are answered at the same time on this server; all places are taken. "
                f"Ask again in {retry_after_s} s.",
                retry_after_s=retry_after_s,
            )

    def _check_time(self, remaining_s: float | None) -> None:
        if remaining_s is None or (expected_s := self.pace.expected_s) <= remaining_s:
            return
        retry_after_s = max(1, math.ceil(expected_s - remaining_s))
        raise QueueTooLongError(
            f"A call is let in where its deadline leaves time for those before it; {remaining_s:.2f} s are left of it, "
            f"and with {self.pace.ahead} before it about {expected_s:.2f} s are needed. Ask again in "
            f"{retry_after_s} s, or give it a longer deadline.",
            retry_after_s=retry_after_s,
        )

    @contextlib.contextmanager
    def _inside_it(self) -> Iterator[None]:
        self._inside += 1
        self._entered += 1
        self._idle.clear()
        try:
            yield
        finally:
            self._inside -= 1
            if not self._inside:
                self._idle.set()

    @property
    def calls(self) -> int:
        """Calls inside, waiting and running."""
        return self._inside

    @property
    def entered(self) -> int:
        """Calls that were ever let in."""
        return self._entered

    @property
    def draining(self) -> bool:
        """Whether new calls are refused."""
        return self._draining

    async def run(self, work: Callable[[], T]) -> T:
        """Run ``work`` in a thread when one is free; work of a call that is cancelled while waiting never starts."""
        async with self.thread() as start:
            return await start(work)

    @contextlib.asynccontextmanager
    async def thread(self) -> AsyncIterator[Start]:
        """Wait for a free thread, so that what it runs can be chosen as late as possible."""
        await self._free.acquire()
        loop = asyncio.get_running_loop()
        used = False

        def start(work: Callable[[], T], /) -> Awaitable[T]:
            nonlocal used
            submitted = self._threads.submit(work)
            used = True
            # the thread's own end frees its place: a cancelled call leaves work behind that still runs
            submitted.add_done_callback(lambda _: loop.call_soon_threadsafe(self._free.release))
            return asyncio.wrap_future(submitted)

        try:
            yield start
        finally:
            if not used:
                self._free.release()

    async def drain(self, *, grace_s: float) -> int:
        """Let no new call in, wait for those inside, and return how many are left after ``grace_s`` seconds."""
        self._draining = True
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._idle.wait(), grace_s)
        return self._inside

    async def close(self) -> None:
        """Wait for the threads; a model call that runs cannot be interrupted."""
        await asyncio.to_thread(self._threads.shutdown)
