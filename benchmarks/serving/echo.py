"""A grpc.aio server that answers with as many bytes as our reply has, and does nothing else; run as a script.

A message of ``PredictStream`` says in its first four bytes for how many conditions its answer is.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Any

import grpc


async def serve(row_bytes: int, ready: Path) -> None:
    """Answer until the process is ended."""
    replies: dict[int, bytes] = {}

    async def unary(_: bytes, __: Any) -> bytes:
        return replies.setdefault(1, bytes(row_bytes))

    async def stream(messages: Any, context: Any) -> None:
        async for message in messages:
            rows = int.from_bytes(message[:4], "little")
            if rows not in replies:
                replies[rows] = bytes(row_bytes * rows)
            await context.write(replies[rows])

    server = grpc.aio.server(options=[("grpc.max_send_message_length", -1)])
    methods = {
        "Predict": grpc.unary_unary_rpc_method_handler(unary),
        "PredictStream": grpc.stream_stream_rpc_method_handler(stream),
    }
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("echo", methods),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    ready.write_text(f"127.0.0.1:{port}")
    await server.wait_for_termination()


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1]), Path(sys.argv[2])))
