"""Callers of one event loop, and what a process costs: CPU seconds and memory as the kernel counts them."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import os
import signal
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

__all__ = ["Ask", "Row", "Server", "load", "measured", "running"]

TICKS = os.sysconf("SC_CLK_TCK")
START_S = 180
Ask = Callable[[], Awaitable[Any]]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Server:
    """A process that answers, and whatever it started.

    Attributes:
        ready: what it wrote to its ready file, ``host:port`` of most.
        pid: of the process.
    """

    ready: str
    pid: int

    def cpu_s(self) -> float:
        """CPU seconds so far."""
        return sum(_stat(pid)[1] for pid in self._family()) / TICKS

    def memory_mb(self, kind: str = "VmHWM") -> float:
        """Memory, MB; ``VmHWM`` is the most there was, ``VmRSS`` what there is."""
        lines = [line for pid in self._family() for line in Path(f"/proc/{pid}/status").read_text().splitlines()]
        return sum(int(line.split()[1]) for line in lines if line.startswith(kind)) / 1024

    def _family(self) -> list[int]:
        """Its pid and those of its children and theirs; they were all started before anything is measured."""
        parents = {int(path.name): _stat(int(path.name))[0] for path in Path("/proc").glob("[0-9]*")}
        family = [self.pid]
        for pid in family:
            family += [child for child, parent in parents.items() if parent == pid]
        return family


def _stat(pid: int) -> tuple[int, int]:
    """Parent and CPU ticks of a process; of none where it has ended."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    except (FileNotFoundError, ProcessLookupError):
        return 0, 0
    return int(fields[1]), int(fields[11]) + int(fields[12])


@contextlib.contextmanager
def running(
    words: list[str], ready: Path, *, cwd: Path | None = None, env: Mapping[str, str] | None = None
) -> Iterator[Server]:
    """A server in a process of its own, from when its ready file is there; its output lies beside that file."""
    log = ready.with_suffix(".log")
    with log.open("wb") as out:
        # a group of its own: what it started ends with it
        process = subprocess.Popen(words, stdout=out, stderr=out, cwd=cwd, env=env, start_new_session=True)
    try:
        until = time.monotonic() + START_S
        while not ready.exists() or not ready.read_text():
            if process.poll() is not None or time.monotonic() > until:
                sys.exit(f"{' '.join(words)} did not start:\n{log.read_text(errors='replace')[-2000:]}")
            time.sleep(0.05)
        yield Server(ready=ready.read_text(), pid=process.pid)
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(60)


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


@dataclasses.dataclass(frozen=True, kw_only=True)
class Row:
    """Calls of some clients.

    Attributes:
        rate: calls per second.
        p50_ms, p99_ms: their milliseconds.
        cpu_ms: CPU milliseconds of the server per call.
        memory_mb: the most memory of the server so far.
    """

    name: str
    clients: int
    rate: float
    p50_ms: float
    p99_ms: float
    cpu_ms: float
    memory_mb: float

    def __str__(self) -> str:
        return (
            f"{self.name:<12}{self.clients:>4} clients {self.rate:8.0f}/s  p50 {self.p50_ms:8.2f} ms  "
            f"p99 {self.p99_ms:8.2f} ms  p99/p50 {self.p99_ms / self.p50_ms:5.1f}  cpu {self.cpu_ms:6.2f} ms  "
            f"{self.memory_mb:6.0f} MB"
        )


async def measured(name: str, ask: Ask, server: Server, *, clients: int, seconds: float) -> Row:
    """A row of the table, after a quarter of the time that warms up."""
    await load(ask, clients=clients, seconds=seconds / 4)
    cpu, started = server.cpu_s(), time.perf_counter()
    latencies = await load(ask, clients=clients, seconds=seconds)
    took = time.perf_counter() - started
    p50, p99 = np.percentile(latencies, [50, 99]) * 1e3
    return Row(
        name=name,
        clients=clients,
        rate=len(latencies) / took,
        p50_ms=p50,
        p99_ms=p99,
        cpu_ms=(server.cpu_s() - cpu) / len(latencies) * 1e3,
        memory_mb=server.memory_mb(),
    )
