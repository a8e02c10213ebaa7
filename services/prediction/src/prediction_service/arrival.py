"""Takes in the message of a call that has its place, and no longer than the call may be silent."""

from __future__ import annotations

import asyncio
from typing import Any

import grpc

from prediction_service.engine import InvalidRequestError
from prediction_service.work_queue import IdleCallError

__all__ = ["idle", "only_message"]


async def only_message(context: Any, *, kind: str, idle_s: float) -> bytes:
    """The message of a call that brings one, ``kind``.

    Raises:
        IdleCallError: it did not come for ``idle_s`` seconds.
        InvalidRequestError: the call ended without.
    """
    # not by the iterator: one that is left before its end is tidied up by a task of its own
    try:
        async with asyncio.timeout(idle_s):
            data = await context.read()
    except TimeoutError as error:
        raise idle(idle_s) from error
    if data is grpc.aio.EOF:  # type: ignore[attr-defined]  # its stubs lack it
        raise InvalidRequestError(f"{kind}: a call brings one message; this one brought none. Send it.")
    return bytes(data)


def idle(idle_s: float) -> IdleCallError:
    """What a call is told that held its place and brought nothing."""
    return IdleCallError(
        f"A call holds one of few places; this one sent no message for {idle_s:g} s. Close a stream that has "
        "nothing to ask, and open another when it has."
    )
