"""Runs the service: loads models, binds the port, answers health and reflection, drains on SIGTERM.

``run`` is the entry point ``perturbcast.services: prediction`` that ``perturbcast serve`` calls.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import gc
import ipaddress
import logging
import os
import signal
import socket
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypedDict

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_health.v1.health import SERVICE_NAME as HEALTH
from grpc_health.v1.health import aio as health  # type: ignore[attr-defined]  # its stubs lack it
from grpc_reflection.v1alpha import reflection
from threadpoolctl import threadpool_limits

from perturbcast import catalog
from perturbcast.stores.atomic import write_bytes
from perturbcast.training import load_model
from perturbcast_client import codec
from prediction_service import open_inference, open_inference_servicer, servicer
from prediction_service.allocator import keep_freed_memory
from prediction_service.answers import Answers
from prediction_service.engine import Engine
from prediction_service.json_log import JsonFormatter
from prediction_service.limits import Limits
from prediction_service.metrics import Metrics
from prediction_service.open_inference_servicer import OpenInferenceServicer
from prediction_service.registry_watch import Refresh, RegistryWatch, warm
from prediction_service.security import Security
from prediction_service.served_model import Model, ServedModel
from prediction_service.servicer import Servicer
from prediction_service.tracing import Tracing
from prediction_service.work_queue import WorkQueue

__all__ = ["ModelSource", "ServerConfig", "run", "serve"]

logger = logging.getLogger(__name__)
LOG_FORMATS = {
    "text": logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"),
    "json": JsonFormatter(),
}
METRICS_HOST = "127.0.0.1"  # names of models and counts of callers are nobody else's business
LARGEST_MESSAGE = 2**31 - 1
SERVICES = (codec.SERVICE, open_inference.NAME)
# calls on their way are told UNAVAILABLE, which clients send again; those that the stop meets are told CANCELLED
LATECOMERS_S = 0.25
PENDING = 10_000  # a few kB each: their messages are not read
STOP_S = 1.0  # for what is no prediction (health watches) once predictions have been drained


class ModelSource(TypedDict):
    """Where a model comes from; a plain dictionary, so that the platform can build it without importing a service.

    Attributes:
        name: what callers ask for.
        version: registry version; empty for a directory.
        aliases: names that stand for this version.
        directory: model directory.
        validation_metrics: metric id -> value at registration.
    """

    name: str
    version: str
    aliases: Sequence[str]
    directory: Path
    validation_metrics: Mapping[str, float]


@dataclasses.dataclass(frozen=True, kw_only=True)
class ServerConfig:
    """How the process listens and how much it takes on.

    Attributes:
        host: address or name to bind.
        port: TCP port; 0 picks a free one.
        security: TLS and tokens.
        allow_public_plain_text: also bind an address that is not loopback without TLS or without knowing callers.
        ready_file: gets ``host:port`` when the server answers, and is removed when it stops.
        max_message_bytes: largest request.
        workers: requests computed at the same time.
        max_concurrent: calls let in at the same time, waiting and running; a stream is one call.
        max_batch: conditions of several requests that a model is asked at once.
        batch_wait_ms: how long a request waits at most for others to share a batch, milliseconds.
        metrics_port: port of the Prometheus endpoint on loopback, 0 for a free one; None for no endpoint.
        grace_s: seconds that calls in flight get after SIGTERM.
        idle_s: seconds that a call may hold its place before its next message comes.
    """

    host: str = "127.0.0.1"
    port: int = 50051
    security: Security = dataclasses.field(default_factory=Security)
    allow_public_plain_text: bool = False
    ready_file: Path | None = None
    max_message_bytes: int = codec.MAX_MESSAGE_BYTES
    workers: int = 2
    max_concurrent: int = 128
    max_batch: int = 256
    batch_wait_ms: float = 2.0
    metrics_port: int | None = None
    grace_s: float = 30.0
    idle_s: float = 60.0

    def __post_init__(self) -> None:
        for port in (self.port, self.metrics_port or 0):
            if not 0 <= port <= 65535:
                raise ValueError(f"A TCP port lies between 0 and 65535; got {port}. 0 picks a free one.")
        if self.max_message_bytes > LARGEST_MESSAGE:
            raise ValueError(
                f"gRPC counts the bytes of a message in 31 bits; max_message_bytes is {self.max_message_bytes}. Give "
                f"at most {LARGEST_MESSAGE // 2**20} MiB."
            )
        least = {"workers": 1, "max_concurrent": 1, "max_message_bytes": 1, "grace_s": 0, "idle_s": 0.001}
        for name, bound in least.items():
            if not getattr(self, name) >= bound:
                raise ValueError(
                    f"A server has bounds to work within; {name} is {getattr(self, name)}. Give {bound} or more."
                )
        missing = [] if self.security.encrypts else ["TLS"]
        missing += [] if self.security.knows_callers else ["tokens or client certificates"]
        if missing and not _is_loopback(self.host) and not self.allow_public_plain_text:
            raise ValueError(
                f"An address that others can reach takes TLS, and tokens or client certificates; host {self.host!r} "
                f"would have no {' and no '.join(missing)}. Give the files, bind 127.0.0.1 and reach it through a "
                "tunnel (ssh -L), or say --allow-public-plain-text where the network itself is trusted."
            )

    @property
    def address(self) -> str:
        return _address(self.host, self.port)


def run(
    models: Sequence[ModelSource],
    *,
    host: str = "127.0.0.1",
    port: int = 50051,
    tls_certificate: Path | None = None,
    tls_key: Path | None = None,
    client_ca: Path | None = None,
    token_file: Path | None = None,
    allow_public_plain_text: bool = False,
    ready_file: Path | None = None,
    max_message_mib: int = 64,
    max_conditions: int = 10_000,
    max_cells: int = 200_000,
    workers: int = 2,
    max_concurrent: int = 128,
    max_batch: int = 256,
    batch_wait_ms: float = 2.0,
    metrics_port: int | None = None,
    log_format: str = "text",
    grace_s: float = 30.0,
    idle_s: float = 60.0,
    backend: str = "inprocess",
    torchserve_python: Path | None = None,
    refresh: Refresh | None = None,
    watch_s: float = 10.0,
) -> None:
    """Serve models until SIGTERM or SIGINT; prints one line with the address when it answers.

    Args:
        models: directories and the names that callers use.
        host: address or name to bind; one that is not loopback takes ``security``.
        port: TCP port; 0 picks a free one.
        tls_certificate, tls_key: PEM files that turn TLS on.
        client_ca: PEM file; only clients with a certificate signed by it get through.
        token_file: bearer tokens, one per line.
        allow_public_plain_text: bind a public address without TLS or without knowing callers.
        ready_file: gets ``host:port`` when the server answers, and is removed when it stops.
        max_message_mib: largest request and reply, MiB.
        max_conditions: conditions per request.
        max_cells: control cells per request.
        workers: requests computed at the same time.
        max_concurrent: calls let in at the same time, waiting and running; a stream is one call.
        max_batch: conditions of several requests that a model is asked at once.
        batch_wait_ms: how long a request waits at most for others to share a batch, milliseconds.
        metrics_port: port of the Prometheus endpoint on loopback, 0 for a free one; None for no endpoint.
        log_format: ``text`` or ``json``.
        grace_s: seconds that calls in flight get after SIGTERM.
        idle_s: seconds that a call may hold its place before its next message comes.
        backend: ``inprocess``, or ``torchserve`` to have predictions made by a TorchServe that this process starts
            and supervises.
        torchserve_python: of an environment with TorchServe and perturbcast, for that backend.
        refresh: (name, alias) -> version as served -> what the addresses stand for now, or None where none has moved;
            asked every ``watch_s`` seconds.
        watch_s: seconds between looks at the registry.

    Raises:
        ValueError: a model directory is half-written or changed, the host is public without TLS or tokens, a file of
            TLS or tokens is bad, the port is busy.
    """
    log_to_stderr(log_format)
    keep_freed_memory()
    config = ServerConfig(
        host=host,
        port=port,
        security=Security(certificate=tls_certificate, key=tls_key, client_ca=client_ca, token_file=token_file),
        allow_public_plain_text=allow_public_plain_text,
        ready_file=ready_file,
        max_message_bytes=max_message_mib * 2**20,
        workers=workers,
        max_concurrent=max_concurrent,
        max_batch=max_batch,
        batch_wait_ms=batch_wait_ms,
        metrics_port=metrics_port,
        grace_s=grace_s,
        idle_s=idle_s,
    )
    with _compute_threads(config), contextlib.ExitStack() as closing:  # a model is warmed as it is asked later
        load = _loader(backend, torchserve_python, closing)
        served = [warm(load(source)) for source in models]
        watch = None if refresh is None else RegistryWatch(refresh=refresh, load=load, interval_s=watch_s)
        limits = Limits(max_conditions=max_conditions, max_cells=max_cells, max_reply_bytes=config.max_message_bytes)
        serve(Engine(served, limits=limits), config, watch=watch)


def _loader(backend: str, python: Path | None, closing: contextlib.ExitStack) -> Callable[[ModelSource], ServedModel]:
    """What loads a model: into this process, or into a TorchServe that ``closing`` ends."""
    if backend == "inprocess" and python is None:
        return lambda source: _served(source, load_model(source["directory"]))
    if backend != "torchserve" or python is None:
        raise ValueError(
            f"A backend is inprocess, or torchserve with the Python of its environment; got {backend!r} and {python}. "
            "Give both --backend torchserve and --torchserve-python (services/torchserve/README.md), or neither."
        )
    add, close = catalog.service("torchserve_backend")(python=python)
    closing.callback(close)
    return lambda source: _served(source, add(source["directory"]))


def _served(source: ModelSource, model: Model) -> ServedModel:
    return ServedModel(
        name=source["name"],
        version=source["version"],
        aliases=tuple(source["aliases"]),
        model=model,
        validation_metrics=source["validation_metrics"],
    )


def log_to_stderr(form: str) -> None:
    """Log lines of the whole process as ``text`` or ``json``.

    Raises:
        ValueError: another form.
    """
    if form not in LOG_FORMATS:
        raise ValueError(f"Log lines are {' or '.join(LOG_FORMATS)}; got {form!r}. Choose one of them.")
    handler = logging.StreamHandler()
    handler.setFormatter(LOG_FORMATS[form])
    logging.basicConfig(level=logging.INFO, handlers=[handler])


def serve(engine: Engine, config: ServerConfig, *, watch: RegistryWatch | None = None) -> None:
    """Serve an engine until SIGTERM or SIGINT, then drain and return; ``watch`` keeps its models up to date.

    Raises:
        ValueError: the port is busy.
    """
    gc.collect()
    gc.freeze()  # what is here stays: no collection has to look at it again while callers wait
    with _compute_threads(config):
        asyncio.run(_serve(engine, config, watch))


def _compute_threads(config: ServerConfig) -> contextlib.AbstractContextManager[Any]:
    """The workers are the threads that compute: with BLAS threads beside them they would wait for one another."""
    return threadpool_limits(max(1, (os.cpu_count() or 1) // config.workers), user_api="blas")


async def _serve(engine: Engine, config: ServerConfig, watch: RegistryWatch | None) -> None:
    queue = WorkQueue(workers=config.workers, capacity=config.max_concurrent)
    metrics = Metrics([*servicer.METHODS, *open_inference_servicer.METHODS])
    server = grpc.aio.server(
        interceptors=(Tracing(), metrics, *config.security.interceptors()),
        options=[
            ("grpc.so_reuseport", 0),  # with it a second server on the port would silently take half the calls
            ("grpc.max_receive_message_length", config.max_message_bytes),
            ("grpc.max_send_message_length", -1),  # the engine's limit refuses with words
            # calls that nobody has looked at yet; above gRPC's own 1,000 some are told CANCELLED, which clients do not
            # send again, before the queue can refuse them with a time
            ("grpc.server.max_pending_requests", PENDING),
            ("grpc.server.max_pending_requests_hard_limit", 2 * PENDING),
            ("grpc.compression_enabled_algorithms_bitset", 1),  # none: 64 MiB of gzip would unpack to 64 GiB
        ],
    )
    answers = Answers(
        engine, queue, batch_size=config.max_batch, batch_wait_s=config.batch_wait_ms / 1e3, observe=metrics.batch
    )
    metrics.watch(waiting=lambda: answers.batches.depth, calls=lambda: queue.calls)
    servicers = (Servicer(answers, idle_s=config.idle_s), OpenInferenceServicer(answers, idle_s=config.idle_s))
    server.add_generic_rpc_handlers(tuple(servicer.handler for servicer in servicers))
    healthy = health.HealthServicer()
    for service in SERVICES:
        await healthy.set(service, health_pb2.HealthCheckResponse.SERVING)
    health_pb2_grpc.add_HealthServicer_to_server(healthy, server)
    reflection.enable_server_reflection((*SERVICES, HEALTH, reflection.SERVICE_NAME), server)
    address = _address(config.host, _bind(server, config))
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    with contextlib.ExitStack() as closing:
        if config.metrics_port is not None:
            metrics_port, close = metrics.serve(host=METRICS_HOST, port=config.metrics_port)
            closing.callback(close)
            logger.info("metrics at http://%s:%d/metrics", METRICS_HOST, metrics_port)
        await server.start()
        if watch is not None:
            watching = asyncio.create_task(watch.run(engine))
            closing.callback(watching.cancel)
        await _until_stopped(server, engine, healthy, queue, stop, address, config)


async def _until_stopped(
    server: grpc.aio.Server,
    engine: Engine,
    healthy: health.HealthServicer,
    queue: WorkQueue,
    stop: asyncio.Event,
    address: str,
    config: ServerConfig,
) -> None:
    try:
        _announce(address, config.ready_file, models=len(engine.models()))
        await stop.wait()
    finally:
        if config.ready_file:
            config.ready_file.unlink(missing_ok=True)
    await healthy.enter_graceful_shutdown()
    left = await queue.drain(grace_s=config.grace_s)
    if left:
        logger.warning("%d calls were not done within the grace period of %g s and are dropped", left, config.grace_s)
    await asyncio.sleep(LATECOMERS_S)
    await server.stop(STOP_S)
    await queue.close()
    logger.info("stopped")


def _bind(server: grpc.aio.Server, config: ServerConfig) -> int:
    busy = (
        f"A server needs a port of its own; {config.address} cannot be bound ({{}}). Stop what listens there, or take "
        "another port; 0 picks a free one."
    )
    try:
        found = socket.getaddrinfo(config.host, config.port, type=socket.SOCK_STREAM)[0]
    except socket.gaierror as error:
        raise ValueError(
            f"A server listens on an address of this machine; {config.host!r} is none ({error.strerror}). "
            "Give --host 127.0.0.1, or another of its own."
        ) from error
    family, kind, protocol, _, address = found
    with socket.socket(family, kind, protocol) as probe:  # gRPC's own error names no reason and logs ten lines
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as gRPC does: TIME_WAIT is not busy
        try:
            probe.bind(address)
        except OSError as error:
            raise ValueError(busy.format(error.strerror)) from error
    credentials = config.security.credentials()
    try:
        if credentials is not None:
            return server.add_secure_port(config.address, credentials)
        return server.add_insecure_port(config.address)
    except RuntimeError as error:
        raise ValueError(busy.format(error)) from error


def _announce(address: str, ready_file: Path | None, *, models: int) -> None:
    if ready_file:
        write_bytes(ready_file, address.encode())
    sys.stdout.write(f"prediction service at {address}, {models} {'model' if models == 1 else 'models'}\n")
    sys.stdout.flush()


def _address(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
