"""What the prediction service carries, beside a bare echo of the same bytes and the model's own batched forward.

    python benchmarks/serve.py                       # three minutes; loopback only
    python benchmarks/serve.py --seconds 2 --bulk 2000
    python benchmarks/serve.py --torchserve-python ts/bin/python     # TorchServe alone too, over its gRPC

1, 8, 32 and 128 concurrent clients ask for one condition each, 5,000 genes; one stream asks for 10,000. The echo is a
grpc.aio server in a process of its own that answers with the bytes of our reply and does nothing else; the forward is
the model in this process, in batches of 256. Every server is charged the CPU seconds that the kernel counted and its
peak memory. The clients share this process and the machine's cores with the servers: on two cores they are half of the
load. The last part offers ten times what is let in and counts what becomes of it.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pandas as pd
import scipy.sparse as sp
from grpc_health.v1 import health_pb2, health_pb2_grpc

from perturbcast import catalog, splits
from perturbcast.schema import PerturbationData, content_hash
from perturbcast.training import fit, load_model, save_model
from perturbcast_client import Condition, ResourceExhaustedError, ServiceError, aio, codec
from perturbcast_client.calls import make_request

GENES, CHUNK, LIMIT = 5000, 128, 64
CLIENTS = (1, 8, 32, 128)
BIN = Path(sys.executable).parent
TICKS = os.sysconf("SC_CLK_TCK")
Ask = Callable[[], Awaitable[Any]]


def make_model(directory: Path) -> list[Condition]:
    """A linear model of 5,000 genes on seeded cells; what it can be asked."""
    rng = np.random.default_rng(0)
    labels = [f"G{i}" for i in range(40)]
    rows = [(p, c) for c in ("a", "b", "c") for p in ("control", *labels) for _ in range(6)]
    obs = pd.DataFrame(rows, columns=["perturbation", "context"], index=[f"cell{i:05d}" for i in range(len(rows))])
    obs["is_control"] = obs["perturbation"] == "control"
    x = sp.csr_matrix(rng.gamma(2.0, 0.5, size=(len(rows), GENES)).astype(np.float32))
    genes = tuple(f"G{i}" for i in range(GENES))
    meta = {
        "dataset": "made",
        "scale": "log1p(counts per 10 000)",
        "unit": "cell",
        "preprocessing": ["made by a benchmark"],
        "content_hash": content_hash(x, list(genes), obs),
    }
    data = PerturbationData(x=x, genes=genes, obs=obs, meta=meta)
    split = splits.make(data, "unseen_context", seed=1)[0]
    config = catalog.load("models", "linear").Config()
    saved = save_model(fit(data, split, kind="linear", plugin="linear", config=config, seed=0), directory)
    return [Condition.from_label(label, context) for context in saved.control_means for label in labels]


@contextlib.contextmanager
def running(words: list[str], ready: Path) -> Iterator[tuple[str, int]]:
    """A server in a process of its own; its address and pid."""
    process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        until = time.monotonic() + 120
        while not ready.exists():
            if process.poll() is not None or time.monotonic() > until:
                sys.exit(f"{' '.join(words)} did not start")
            time.sleep(0.05)
        yield ready.read_text(), process.pid
    finally:
        process.terminate()
        process.wait(60)


def usage(pid: int) -> tuple[float, float]:
    """CPU seconds so far and peak memory (MB) of a process."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    status = Path(f"/proc/{pid}/status").read_text()
    peak = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM"))
    return (int(fields[11]) + int(fields[12])) / TICKS, peak / 1024


async def echo(reply_bytes: int, ready: Path) -> None:
    """Answers everything with so many bytes, until it is ended."""
    reply = bytes(reply_bytes)

    async def unary(_: bytes, __: Any) -> bytes:
        return reply

    async def stream(messages: Any, context: Any) -> None:
        async for message in messages:
            await context.write(bytes(reply_bytes * int.from_bytes(message[:4], "little")))

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


async def load(ask: Ask, *, clients: int, seconds: float) -> list[float]:
    """Seconds of every call that clients made one after the other for so long."""
    latencies: list[float] = []
    until = time.perf_counter() + seconds

    async def client() -> None:
        while (started := time.perf_counter()) < until:
            await ask()
            latencies.append(time.perf_counter() - started)

    await asyncio.gather(*(client() for _ in range(clients)))
    return latencies


async def singles(name: str, ask: Ask, pid: int, seconds: float) -> dict[int, float]:
    """A row of the table for each number of clients; calls per second by clients."""
    rates = {}
    for clients in CLIENTS:
        await load(ask, clients=clients, seconds=seconds / 4)  # warm
        cpu, _ = usage(pid)
        started = time.perf_counter()
        latencies = await load(ask, clients=clients, seconds=seconds)
        rates[clients] = len(latencies) / (time.perf_counter() - started)
        after, peak = usage(pid)
        p50, p99 = np.percentile(latencies, [50, 99]) * 1e3
        print(
            f"{name:<10} {clients:>4} clients  {rates[clients]:8.0f}/s  p50 {p50:7.2f} ms  p99 {p99:7.2f} ms"
            f"  p99/p50 {p99 / p50:5.1f}  cpu {(after - cpu) / len(latencies) * 1e3:6.2f} ms  {peak:6.0f} MB"
        )
    return rates


async def echo_rates(
    address: str, pid: int, message: bytes, seconds: float, bulk: int
) -> tuple[dict[int, float], float]:
    options = [("grpc.max_receive_message_length", -1)]
    async with grpc.aio.insecure_channel(address, options=options) as channel:
        untyped: Any = channel  # its stubs ask for the serializers
        send = untyped.unary_unary("/echo/Predict")

        async def ask() -> None:
            await send(message)

        rates = await singles("echo", ask, pid, seconds)
        started = time.perf_counter()
        sizes = [min(CHUNK, bulk - at) for at in range(0, bulk, CHUNK)]
        call = untyped.stream_stream("/echo/PredictStream")(n.to_bytes(4, "little") for n in sizes)
        async for _ in call:
            pass
        return rates, bulk / (time.perf_counter() - started)


async def our_rates(address: str, pid: int, asked: list[Condition], seconds: float, bulk: int) -> tuple[Any, float]:
    async with aio.connect(address) as client:
        turn = iter(range(10**9))

        async def ask() -> None:
            await client.predict("model", [asked[next(turn) % len(asked)]])

        rates = await singles("ours", ask, pid, seconds)
        many = [asked[i % len(asked)] for i in range(bulk)]
        started, got = time.perf_counter(), 0
        async for reply in client.predict_stream("model", many, chunk_size=CHUNK):
            got += len(reply.conditions)
        assert got == bulk
        return rates, bulk / (time.perf_counter() - started)


async def overload(address: str, pid: int, asked: list[Condition], seconds: float) -> None:
    """Ten times the calls that are let in, with a deadline of 5 s, and what became of them."""
    outcomes: Counter[str] = Counter()
    _, before = usage(pid)
    async with aio.connect(address, attempts=1, timeout_s=5) as client:
        until = time.perf_counter() + seconds

        async def one(i: int) -> None:
            while time.perf_counter() < until:
                try:
                    await client.predict("model", [asked[i % len(asked)]])
                    outcomes["answered"] += 1
                except ResourceExhaustedError as error:
                    outcomes["full, with retry-after" if error.retry_after_s else "full, without"] += 1
                    await asyncio.sleep(0.05)
                except ServiceError as error:
                    outcomes[error.status.name] += 1

        await asyncio.gather(*(one(i) for i in range(10 * LIMIT)))
        started = time.perf_counter()
        await client.predict("model", asked[:1])
        well = time.perf_counter() - started
    with grpc.insecure_channel(address) as channel:
        health = health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=5)
    _, after = usage(pid)
    print(
        f"overload   {10 * LIMIT} callers for {seconds:g} s: {dict(outcomes)}; memory {before:.0f} to {after:.0f} MB; "
        f"then {health_pb2.HealthCheckResponse.ServingStatus.Name(health.status)}, answered in {well * 1e3:.0f} ms"
    )


def forward_rate(directory: Path, asked: list[Condition], bulk: int) -> float:
    """Conditions per second of the model in batches of 256."""
    from perturbcast.schema import Condition as Own

    model = load_model(directory)
    own = [Own(c.perturbation, c.context) for c in asked]
    many = [own[i % len(own)] for i in range(bulk)]
    started = time.perf_counter()
    for at in range(0, bulk, 256):
        model.predict(many[at : at + 256])
    return bulk / (time.perf_counter() - started)


async def torchserve_rates(directory: Path, python: Path, seconds: float) -> float:
    """Calls per second of TorchServe alone at 32 clients, the same model over its gRPC."""
    start = catalog.service("torchserve_backend")
    add, close = await asyncio.to_thread(start, python=python)
    try:
        model = await asyncio.to_thread(add, directory)
        (condition,) = model.train_conditions[:1]

        async def ask() -> None:
            await asyncio.to_thread(model.predict, [condition])

        asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(32))
        await load(ask, clients=32, seconds=seconds)
        latencies = await load(ask, clients=32, seconds=seconds)
        return len(latencies) / seconds
    finally:
        close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=10.0, help="per number of clients")
    parser.add_argument("--bulk", type=int, default=10_000, help="conditions of the stream")
    parser.add_argument("--overload", type=float, default=60.0, help="seconds")
    parser.add_argument("--torchserve-python", type=Path)
    parser.add_argument("--echo", nargs=2, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.echo:
        asyncio.run(echo(int(given.echo[0]), Path(given.echo[1])))
        return
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        asked = make_model(folder / "model")
        request = make_request(
            "model", asked[:1], controls=None, genes=(), genes_sha256="", wanted=None, seed=0, request_id=""
        )
        message = codec.encode_request(request).SerializeToString()
        words = [sys.executable, __file__, "--echo", str(GENES * 8), str(folder / "echo")]
        with running(words, folder / "echo") as (address, pid):
            _, echo_bulk = asyncio.run(echo_rates(address, pid, message, given.seconds, given.bulk))
        words = [str(BIN / "perturbcast"), "serve", "--model", str(folder / "model"), "--port", "0"]
        with running([*words, "--ready-file", str(folder / "ready")], folder / "ready") as (address, pid):
            rates, bulk = asyncio.run(our_rates(address, pid, asked, given.seconds, given.bulk))
            asyncio.run(overload(address, pid, asked, given.overload))
        forward = forward_rate(folder / "model", asked, given.bulk)
        smaller = min(echo_bulk, forward)
        print(f"bulk       echo {echo_bulk:.0f}/s, forward {forward:.0f}/s, ours {bulk:.0f}/s: {bulk / smaller:.2f}")
        if given.torchserve_python:
            alone = asyncio.run(torchserve_rates(folder / "model", given.torchserve_python, given.seconds))
            print(f"TorchServe alone, 32 clients: {alone:.0f}/s; ours is {rates[32] / alone:.1f} times that")


if __name__ == "__main__":
    main()
