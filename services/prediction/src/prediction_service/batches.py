"""Gathers pieces of work of several calls into batches: by size and by deadline, in turn between the calls.

A call hands in pieces (slices of its conditions). A batch takes at most one piece of each call, in turn, so that a
stream of thousands of conditions and a request for one alternate. It is formed when a thread is free and either
``size`` is reached, or the oldest piece has waited ``wait_s``, or nobody else is inside who could still join. What is
``quick`` waits for nobody who has yet to come, but lets those in who are at the door.
Belongs to one event loop.
"""

from __future__ import annotations

import asyncio
import dataclasses
from collections import OrderedDict, deque
from collections.abc import Callable, Hashable, Sequence
from typing import Generic, TypeVar

from prediction_service.work_queue import WorkQueue

__all__ = ["Batches", "Piece"]

STILL_TURNS = 4  # of the event loop: gRPC lets one call in after the other, and each takes two or three to be read
LET_IN_S = 0.02  # it turns for as long at most: calls that come without end do not keep those waiting that are here

Work = TypeVar("Work")
Result = TypeVar("Result")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Piece(Generic[Work]):
    """What is computed as a whole.

    Attributes:
        work: what ``answer`` is given.
        kind: pieces of one kind can share a batch.
        weight: how much it adds to the size of a batch, at least 1.
    """

    work: Work
    kind: Hashable
    weight: int


@dataclasses.dataclass
class _Waiting(Generic[Work, Result]):
    piece: Piece[Work]
    future: asyncio.Future[Result]
    since: float


class Batches(Generic[Work, Result]):
    """Runs pieces in batches on the threads of a queue.

    Args:
        queue: gives threads, and knows how many calls are inside.
        answer: the pieces' work, all of one kind -> one result or exception each; runs in a thread.
        size: weight of a batch; a single piece may exceed it.
        wait_s: how long a piece that is not ``quick`` waits at most for company once a thread is free, seconds; with
            0 nothing waits.
        observe: told the weight of each batch.
        quick: whether ``answer`` takes less time for these than a thread takes to be told and to tell; then the event
            loop answers them by itself, together with the calls that it has yet to look at, and waits for no others.
    """

    def __init__(
        self,
        queue: WorkQueue,
        answer: Callable[[Sequence[Work]], Sequence[Result | Exception]],
        *,
        size: int,
        wait_s: float,
        observe: Callable[[int], None] = lambda _: None,
        quick: Callable[[Sequence[Work]], bool] = lambda _: False,
    ) -> None:
        if size < 1 or not wait_s >= 0:
            raise ValueError(
                f"A batch holds at least one condition and waits 0 s or longer; got {size} and {wait_s:g} s. "
                "Raise max_batch or batch_wait_ms."
            )
        self._queue = queue
        self._answer = answer
        self._size = size
        self._wait_s = wait_s
        self._observe = observe
        self._quick = quick
        self._calls: OrderedDict[int, deque[_Waiting[Work, Result]]] = OrderedDict()
        self._weight = 0
        self._company_is_here = asyncio.Event()
        self._forming: asyncio.Task[None] | None = None
        self._running: set[asyncio.Task[None]] = set()

    @property
    def depth(self) -> int:
        """Weight that waits."""
        return self._weight

    async def run(self, pieces: Sequence[Piece[Work]]) -> list[Result]:
        """The results of one call's pieces, in order; of a call that is cancelled, what waits never starts.

        Raises:
            Exception: what ``answer`` gave for a piece.
        """
        loop = asyncio.get_running_loop()
        waiting = deque(_Waiting(piece, loop.create_future(), loop.time()) for piece in pieces)
        futures = [one.future for one in waiting]
        call = id(waiting)
        self._calls[call] = waiting
        self._weight += sum(piece.weight for piece in pieces)
        self._form()
        self._tell()
        try:
            return [await futures[0]] if len(futures) == 1 else await asyncio.gather(*futures)
        finally:
            for one in self._calls.pop(call, ()):
                self._weight -= one.piece.weight
            for future in futures:
                future.cancel()
            self._tell()

    def _form(self) -> None:
        """Start forming the next batch, unless that is under way."""
        if self._calls and self._forming is None:
            self._forming = asyncio.create_task(self._next_batch())
            self._running.add(self._forming)  # the loop itself keeps tasks weakly
            self._forming.add_done_callback(self._running.discard)

    async def _next_batch(self) -> None:
        taken: list[_Waiting[Work, Result]] = []
        results: Sequence[Result | Exception]
        try:
            async with self._queue.thread() as start:
                await self._company()
                taken = self._take()
                self._forming = None
                self._form()
                if not taken:  # all of it was cancelled
                    return
                self._observe(sum(one.piece.weight for one in taken))
                work = [one.piece.work for one in taken]
                results = self._answer(work) if self._quick(work) else await start(lambda: self._answer(work))
        except Exception as error:  # noqa: BLE001  # whatever broke belongs to every call of the batch
            results = [error] * len(taken)
        for one, result in zip(taken, results, strict=True):
            if one.future.done():
                continue
            if isinstance(result, Exception):
                one.future.set_exception(result)
            else:
                one.future.set_result(result)

    async def _company(self) -> None:
        """Wait until the batch is full, its oldest piece has waited long enough, or nobody else can join."""
        if not self._calls or not self._wait_s:
            return
        if self._quick([next(iter(self._calls.values()))[0].piece.work]):
            await self._let_in()
        elif not self._complete():
            until = min(pieces[0].since for pieces in self._calls.values()) + self._wait_s
            self._company_is_here.clear()
            timer = asyncio.get_running_loop().call_at(until, self._company_is_here.set)
            try:
                await self._company_is_here.wait()
            finally:
                timer.cancel()

    async def _let_in(self) -> None:
        """Turn the event loop for as long as calls come of it; there is no sleep in this."""
        loop = asyncio.get_running_loop()
        until, still = loop.time() + LET_IN_S, 0
        while still < STILL_TURNS and self._weight < self._size and loop.time() < until:
            before = self._weight, self._queue.entered
            await asyncio.sleep(0)
            still = still + 1 if (self._weight, self._queue.entered) == before else 0

    def _complete(self) -> bool:
        """Whether a batch gains nothing by waiting."""
        return not self._calls or self._weight >= self._size or len(self._calls) >= self._queue.calls

    def _tell(self) -> None:
        """Wake the batch that waits, where it need not wait longer: not once for each call that joins."""
        if self._complete():
            self._company_is_here.set()

    def _take(self) -> list[_Waiting[Work, Result]]:
        """The next batch: of each call in turn its next piece, as far as they are of one kind and fit."""
        taken: list[_Waiting[Work, Result]] = []
        weight = 0
        for call in list(self._calls):
            pieces = self._calls[call]
            piece = pieces[0].piece
            if taken and (piece.kind != taken[0].piece.kind or weight + piece.weight > self._size):
                continue
            taken.append(pieces.popleft())
            weight += piece.weight
            if pieces:
                self._calls.move_to_end(call)  # its next piece comes after those of all others
            else:
                del self._calls[call]
        self._weight -= weight
        return taken
