"""TorchServe by itself with our archive of the same model, started as our backend starts it but without tokens."""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import grpc

import perturbcast
from perturbcast_client import Condition
from serving.measure import Ask, Server, running
from torchserve_backend.archive import write_archive
from torchserve_backend.packing import pack, unpack
from torchserve_backend.remote_model import PREDICTIONS
from torchserve_backend.supervisor import SETTINGS, free_ports
from torchserve_backend.wire import torchserve_pb2 as pb

__all__ = ["asking", "torchserve"]

START_S = 180
KINDS = ("inference_address", "management_address", "metrics_address")
METADATA = (("protocol", "gRPC"),)


@contextlib.contextmanager
def torchserve(directory: Path, python: Path, folder: Path) -> Iterator[Server]:
    """TorchServe with the model directory as ``model``; it answers when this returns."""
    write_archive(directory, folder / "store" / "model.mar", name="model")
    (folder / "tmp").mkdir()
    ports = free_ports(5)
    settings = {
        **SETTINGS,
        "disable_token_authorization": "true",
        "job_queue_size": "1000",
    }  # its 100 refuse 128 clients
    settings |= {kind: f"http://127.0.0.1:{port}" for kind, port in zip(KINDS, ports, strict=False)}
    for kind, port in (("inference", ports[3]), ("management", ports[4])):
        settings |= {f"grpc_{kind}_address": "127.0.0.1", f"grpc_{kind}_port": str(port)}
    (folder / "config.properties").write_text("".join(f"{key}={value}\n" for key, value in settings.items()))
    (folder / "address").write_text(f"127.0.0.1:{ports[3]}")
    words = [str(python.with_name("torchserve")), "--start", "--foreground", "--ncs", "--ts-config"]
    words += ["config.properties", "--model-store", "store", "--models", "model=model.mar"]
    environment = {**os.environ, "TMPDIR": str(folder / "tmp"), "TEMP": str(folder / "tmp")}
    environment["PYTHONPATH"] = str(Path(perturbcast.__file__).parents[1])  # this tree's, whatever is installed there
    environment["PATH"] = f"{python.parent}{os.pathsep}{os.environ.get('PATH', '')}"  # it starts 'python'
    with running(words, folder / "address", cwd=folder, env=environment) as server:
        yield server


async def asking(
    channel: grpc.aio.Channel, fingerprint: str, asked: Sequence[Condition], *, levels: Sequence[float] | None
) -> Ask:
    """A call for one condition after the other, the message made before; once it answers.

    Args:
        levels: of the intervals that are wanted; None for all.
    """
    bodies = [
        {"fingerprint": fingerprint, "conditions": [[c.perturbation, c.context]], "levels": levels} for c in asked
    ]
    requests = [pb.PredictionsRequest(model_name="model", input={"message": pack(body, {})}) for body in bodies]
    messages = [request.SerializeToString() for request in requests]
    send = channel.unary_unary(PREDICTIONS, None, None)
    turn = iter(range(10**9))

    async def ask() -> None:
        await send(messages[next(turn) % len(messages)], metadata=METADATA, wait_for_ready=True)

    until = time.monotonic() + START_S
    while True:
        try:
            reply = pb.PredictionResponse.FromString(await send(messages[0], metadata=METADATA, wait_for_ready=True))
        except grpc.aio.AioRpcError:  # its worker is starting
            if time.monotonic() > until:
                raise
            await asyncio.sleep(0.2)
        else:
            if "notes" not in unpack(reply.prediction)[0]:
                raise RuntimeError(f"TorchServe answers with a prediction; it said {unpack(reply.prediction)[0]}.")
            return ask
