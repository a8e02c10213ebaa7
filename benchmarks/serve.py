"""What the prediction service carries, beside a bare echo of the same bytes, the model's own forward, and TorchServe.

    python benchmarks/serve.py                                        # six minutes; loopback only
    python benchmarks/serve.py --seconds 1 --bulk 2000 --rounds 1 --overload 5        # half a minute

1, 8, 32 and 128 concurrent clients ask for one condition each, 5,000 genes; one stream asks for 10,000. The echo is a
grpc.aio server that answers with as many bytes as our reply has and does nothing else; the forward is the model in
batches of 256 in a process with the server's own settings; TorchServe has our archive of the same model. Both of these
are measured twice: doing what is asked here, the delta alone, and with all intervals, as the predict stage has them
(``TorchServe+``); each has its verdict. Every server is charged the CPU seconds that the kernel counted and its peak
memory. ``ours`` is asked by our client, which builds requests and checks replies; ``ours, bare`` by a stub that sends
bytes made before and does not look at what comes, which is how the peers are asked. Callers share the machine's cores
with the server. Their process keeps freed memory as ours does, whoever they ask: without it the kernel clears a page
for every 4 kB of a reply, and both the echo and ours wait for that. What is compared is measured in turn, ``--rounds``
times, and the median of the ratios counts. The last part offers ten times what is let in, of a kind that takes work,
and counts what becomes of it.

It ends with a line for each target, PASS or MISS, and exits 0 in both cases. TorchServe is looked for where the tests
have it (services/torchserve/README.md says how it is installed); without it its target is not judged, and it says so.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import grpc
import numpy as np
import pandas as pd
import scipy.sparse as sp
from grpc_health.v1 import health_pb2, health_pb2_grpc
from serving.measure import Ask, Row, Server, measured, running
from serving.torchserve import asking, torchserve

from perturbcast import catalog, splits
from perturbcast.schema import PerturbationData, content_hash
from perturbcast.training import fit, save_model
from perturbcast_client import Condition, ResourceExhaustedError, ServiceError, Wanted, aio, codec
from perturbcast_client.calls import make_request
from prediction_service.allocator import keep_freed_memory

GENES, CHUNK, PLACES = 5000, 128, 128
CLIENTS = (1, 8, 32, 128)
DEADLINE_S = 5.0
CELLS = 4  # of a condition, in overload
GROWTH_MB = 256.0  # in overload: what the allocator may keep
HERE = Path(__file__).parent / "serving"
BIN = Path(sys.executable).parent
MADE = Path(__file__).parents[1] / ".venv-torchserve" / "bin" / "python"
PYTHON = Path(os.environ.get("PERTURBCAST_TORCHSERVE_PYTHON", MADE))
OPTIONS = [("grpc.max_receive_message_length", -1)]
FORWARDS = {"delta": "of what is asked (the delta)", "all": "as the predict stage runs it (all intervals)"}
TORCHSERVE = {
    "TorchServe": "that is asked the same (the delta)",
    "TorchServe+": "with its whole answer (all intervals)",
}
VERDICTS: list[str] = []


def make_model(directory: Path) -> tuple[list[Condition], str]:
    """A linear model of 5,000 genes on seeded cells; what it can be asked, and its fingerprint."""
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
    asked = [Condition.from_label(label, context) for context in saved.control_means for label in labels]
    return asked, saved.fingerprint


def request(conditions: Sequence[Condition]) -> bytes:
    """A request as our client sends it."""
    made = make_request(
        "model", conditions, controls=None, genes=(), genes_sha256="", wanted=None, seed=0, request_id=""
    )
    return codec.encode_request(made).SerializeToString()


def bare(channel: grpc.aio.Channel, path: str, messages: Sequence[bytes]) -> Ask:
    """A call that sends bytes and leaves the reply as it comes."""
    send = channel.unary_unary(path, None, None)
    turn = iter(range(10**9))

    async def ask() -> None:
        await send(messages[next(turn) % len(messages)])

    return ask


def by_client(client: aio.AsyncClient, asked: Sequence[Condition]) -> Ask:
    """A call of our client."""
    turn = iter(range(10**9))

    async def ask() -> None:
        await client.predict("model", [asked[next(turn) % len(asked)]])

    return ask


async def echoed(channel: grpc.aio.Channel, count: int) -> float:
    """Conditions per second of the echo's stream."""
    started = time.perf_counter()
    sizes = [min(CHUNK, count - at) for at in range(0, count, CHUNK)]
    async for _ in channel.stream_stream("/echo/PredictStream", None, None)(n.to_bytes(4, "little") for n in sizes):
        pass
    return count / (time.perf_counter() - started)


async def streamed(client: aio.AsyncClient, asked: Sequence[Condition], count: int) -> float:
    """Conditions per second of our client's stream."""
    many = [asked[i % len(asked)] for i in range(count)]
    started, got = time.perf_counter(), 0
    async for reply in client.predict_stream("model", many, chunk_size=CHUNK):
        got += len(reply.conditions)
    assert got == count
    return count / (time.perf_counter() - started)


async def forward(directory: Path, count: int, what: str) -> float:
    """Conditions per second of the model by itself."""
    words = [sys.executable, str(HERE / "forward.py"), str(directory), str(count), what]
    done = await asyncio.to_thread(subprocess.run, words, capture_output=True, text=True, check=True)
    return float(done.stdout)


async def bulk(
    echo: grpc.aio.Channel,
    client: aio.AsyncClient,
    server: Server,
    asked: Sequence[Condition],
    directory: Path,
    given: argparse.Namespace,
) -> None:
    """The stream beside the smaller of its two bounds."""
    await streamed(client, asked, 4 * CHUNK)
    ratios: dict[str, list[float]] = {what: [] for what in FORWARDS}
    for _ in range(given.rounds):
        echo_rate = await echoed(echo, given.bulk)
        forwards = {what: await forward(directory, given.bulk, what) for what in FORWARDS}
        before = server.cpu_s()
        ours = await streamed(client, asked, given.bulk)
        cpu_ms = (server.cpu_s() - before) / given.bulk * 1e3
        for what, rate in forwards.items():
            ratios[what].append(ours / min(echo_rate, rate))
        print(
            f"bulk        echo {echo_rate:6.0f}/s, forward {forwards['delta']:6.0f}/s, with intervals "
            f"{forwards['all']:6.0f}/s, ours {ours:6.0f}/s, cpu {cpu_ms:.3f} ms, {server.memory_mb():.0f} MB",
            flush=True,
        )
    for what, label in FORWARDS.items():
        ratio = statistics.median(ratios[what])
        judge(f"bulk: at least 0.6 of the smaller of echo and forward {label}", f"{ratio:.2f}", holds=ratio >= 0.6)


def judge(target: str, value: str, *, holds: bool) -> None:
    """Keep whether a target holds, for the end."""
    VERDICTS.append(f"{'PASS' if holds else 'MISS'}  {target}: {value}")


async def singles(asks: dict[str, tuple[Ask, Server]], given: argparse.Namespace) -> None:
    """The table, and 32 clients of ours and of TorchServe in turn."""

    async def row(name: str, clients: int) -> Row:
        ask, server = asks[name]
        made = await measured(name, ask, server, clients=clients, seconds=given.seconds)
        print(made, flush=True)
        return made

    rows = {(name, clients): await row(name, clients) for clients in CLIENTS for name in asks}
    turns = [{name: rows[name, 32] for name in asks if name != "echo"}]
    for _ in range(given.rounds - 1):
        turns.append({name: await row(name, 32) for name in turns[0]})
    target = "singles: at 32 clients at least 4 times the throughput of TorchServe"
    for peer, label in TORCHSERVE.items():
        if peer in asks:
            ratio = statistics.median(turn["ours, bare"].rate / turn[peer].rate for turn in turns)
            cpu = statistics.median(turn[peer].cpu_ms / turn["ours, bare"].cpu_ms for turn in turns)
            judge(f"{target} {label}", f"{ratio:.1f} (CPU per call {cpu:.1f})", holds=ratio >= 4)
        else:
            VERDICTS.append(f"not judged  {target} {label}: not installed at {given.torchserve_python}")
    ours = [turn["ours"] for turn in turns]
    spread = statistics.median(one.p99_ms / one.p50_ms for one in ours)
    judge("singles: at 32 clients p99 at most 3 times p50", f"{spread:.1f}", holds=spread <= 3)


async def overload(server: Server, asked: Sequence[Condition], seconds: float) -> None:
    """Ten times the calls that are let in, each with a deadline, and what became of them.

    They ask for sampled cells. The delta of one condition takes less time than gRPC takes to hand a call over, so that
    no place is ever missing: everybody is answered, after a second at 1,280 callers, and nothing would be measured.
    """
    outcomes: Counter[str] = Counter()
    slowest, before = 0.0, server.memory_mb("VmRSS")
    async with aio.connect(server.ready, attempts=1, timeout_s=DEADLINE_S) as client:
        until = time.perf_counter() + seconds

        async def one(i: int) -> None:
            nonlocal slowest
            while (started := time.perf_counter()) < until:
                try:
                    await client.predict("model", [asked[i % len(asked)]], wanted=Wanted(cells=CELLS))
                    outcomes["answered"] += 1
                    slowest = max(slowest, time.perf_counter() - started)
                except ResourceExhaustedError as error:
                    outcomes["full, with retry-after" if error.retry_after_s else "full, without"] += 1
                    await asyncio.sleep(0.05)
                except ServiceError as error:
                    outcomes[error.status.name] += 1

        await asyncio.gather(*(one(i) for i in range(10 * PLACES)))
        most = server.memory_mb()
        await asyncio.sleep(1)
        started = time.perf_counter()
        await client.predict("model", asked[:1])
        well_ms = (time.perf_counter() - started) * 1e3
    with grpc.insecure_channel(server.ready) as channel:
        health = health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=5)
    status = health_pb2.HealthCheckResponse.ServingStatus.Name(health.status)
    print(
        f"overload    {10 * PLACES} callers for {seconds:g} s: {dict(outcomes)}; "
        f"slowest answer, with the callers' own delay, {slowest:.2f} s; memory {before:.0f} MB, at most {most:.0f} MB; "
        f"a second later {status}, answered in {well_ms:.0f} ms"
    )
    others = set(outcomes) - {"answered", "full, with retry-after"}
    late = outcomes["DEADLINE_EXCEEDED"]
    judge(f"overload: what is let in meets its deadline of {DEADLINE_S:g} s", f"{late} did not", holds=not late)
    judge(
        "overload: the rest is RESOURCE_EXHAUSTED with retry-after",
        f"{outcomes['full, with retry-after']} calls, others {sorted(others) or 'none'}",
        holds=not others and outcomes["full, with retry-after"] > 0,
    )
    judge("overload: memory is bounded", f"{most - before:+.0f} MB", holds=most - before <= GROWTH_MB)
    judge("overload: healthy a second later", f"{status}, {well_ms:.0f} ms", holds=status == "SERVING")


async def measure(
    directory: Path, servers: dict[str, Server], asked: list[Condition], fingerprint: str, given: argparse.Namespace
) -> None:
    """Everything, over one channel to each server."""
    async with contextlib.AsyncExitStack() as closing:
        channels = {
            name: await closing.enter_async_context(grpc.aio.insecure_channel(server.ready, options=OPTIONS))
            for name, server in servers.items()
        }
        client = await closing.enter_async_context(aio.connect(servers["ours"].ready))
        messages = [request([one]) for one in asked]
        asks = {
            "echo": (bare(channels["echo"], "/echo/Predict", messages), servers["echo"]),
            "ours": (by_client(client, asked), servers["ours"]),
            "ours, bare": (bare(channels["ours"], codec.PREDICT.path, messages), servers["ours"]),
        }
        if "TorchServe" in servers:
            for name, levels in (("TorchServe", ()), ("TorchServe+", None)):
                ask = await asking(channels["TorchServe"], fingerprint, asked, levels=levels)
                asks[name] = ask, servers["TorchServe"]
        await singles(asks, given)
        await bulk(channels["echo"], client, servers["ours"], asked, directory, given)
    await overload(servers["ours"], asked, given.overload)


@contextlib.contextmanager
def all_servers(folder: Path, python: Path) -> Iterator[dict[str, Server]]:
    """The servers by name; TorchServe where it is installed."""
    with contextlib.ExitStack() as closing:
        words = [sys.executable, str(HERE / "echo.py"), str(GENES * 8), str(folder / "echo")]
        servers = {"echo": closing.enter_context(running(words, folder / "echo"))}
        words = [str(BIN / "perturbcast"), "serve", "--model", str(folder / "model"), "--port", "0", "--ready-file"]
        servers["ours"] = closing.enter_context(running([*words, str(folder / "ours")], folder / "ours"))
        if python.with_name("torchserve").exists():
            servers["TorchServe"] = closing.enter_context(torchserve(folder / "model", python, folder / "torchserve"))
        yield servers


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=5.0, help="of each row of the table")
    parser.add_argument("--bulk", type=int, default=10_000, help="conditions of the stream")
    parser.add_argument("--rounds", type=int, default=3, help="of what is compared")
    parser.add_argument("--overload", type=float, default=60.0, help="seconds")
    parser.add_argument("--torchserve-python", type=Path, default=PYTHON)
    given = parser.parse_args()
    keep_freed_memory()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        asked, fingerprint = make_model(folder / "model")
        with all_servers(folder, given.torchserve_python) as servers:
            asyncio.run(measure(folder / "model", servers, asked, fingerprint, given))
    print("\n".join(VERDICTS))


if __name__ == "__main__":
    main()
