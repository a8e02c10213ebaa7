"""The process: how it starts, what it refuses to start on, and how it ends."""

from __future__ import annotations

import contextlib
import inspect
import queue
import signal
import socket
import subprocess
import sys
import time
from concurrent import futures
from pathlib import Path

import grpc
import numpy as np
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from threadpoolctl import threadpool_info, threadpool_limits

from perturbcast import catalog, schema, splits
from perturbcast.calibration import calibrated_variance, generator_of, sample_cells
from perturbcast.errors import UsageError
from perturbcast.stages import serve
from perturbcast.training import fit, load_model, save_model
from perturbcast_client import Condition, UnavailableError, Wanted, connect
from prediction_service import server
from prediction_service.server import ServerConfig, run

SCRIPT = Path(__file__).with_name("serve_fake.py")
SLOW = Condition.from_label("SLOW", "B cells")
IFNB = Condition.from_label("IFNB", "B cells")
# what 'perturbcast serve' does, without its options
RUN = """
import sys
from pathlib import Path
from perturbcast import catalog
catalog.service("prediction")(
    [{"name": "made", "version": "", "aliases": (), "directory": Path(sys.argv[1]), "validation_metrics": {}}],
    host="127.0.0.1", port=0, ready_file=Path(sys.argv[3]),
)
"""


@pytest.fixture(scope="module")
def model_directory(make_data, tmp_path_factory):
    data = make_data()
    split = splits.make(data, "unseen_context", seed=1)[0]
    config = catalog.load("models", "linear").Config()
    directory = tmp_path_factory.mktemp("models") / "made"
    save_model(fit(data, split, kind="linear", plugin="linear", config=config, seed=0), directory)
    return directory


def wait_for(condition, *, seconds=10):
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, "it did not happen in time"
        time.sleep(0.01)


def end(process, number=signal.SIGTERM):
    process.send_signal(number)
    return process.wait(timeout=20)


def test_a_trained_model_answers_as_offline_to_the_last_bit(start_service, model_directory, make_data):
    service = start_service(["-c", RUN, model_directory])
    model = load_model(model_directory)
    held_out = next(c for c in ("a", "b", "c") if c not in model.control_means)
    stored = next(iter(model.control_means))
    data = make_data()
    cells = data.x[((data.obs["context"] == held_out) & data.obs["is_control"]).to_numpy()].toarray()
    pairs = [("G0", stored), ("G1+G2", stored), ("G0", held_out), ("unmeasured", held_out)]
    with connect(service.address, timeout_s=20) as client:
        answer = client.predict(
            "made",
            [Condition.from_label(*pair) for pair in pairs],
            controls={held_out: cells},
            genes=data.genes,
            wanted=Wanted(variance=True, interval_level=0.9, expression=True),
        )
        sampled = client.predict("made", [Condition.from_label("G0", stored)], wanted=Wanted(cells=5), seed=3)
    offline = model.predict(
        [schema.Condition(*pair) for pair in pairs], control_means={held_out: cells.mean(axis=0, dtype=np.float64)}
    )
    assert answer.delta.tobytes() == offline.delta.tobytes()
    assert answer.variance.tobytes() == offline.variance.tobytes()
    assert answer.expression.tobytes() == offline.mean.tobytes()
    assert answer.upper.tobytes() == (offline.delta + offline.intervals[0.9]).tobytes()
    assert [[s.perturbation, s.context, s.pair] for s in answer.seen] == offline.seen.tolist()
    assert answer.notes == offline.notes
    assert answer.fingerprint == model.fingerprint
    expected = sample_cells(
        model.control_cells[stored],
        delta=offline.delta[0],
        variance=calibrated_variance(offline.variance[0], {k: half[0] for k, half in offline.intervals.items()}),
        count=5,
        generator=generator_of(schema.Condition("G0", stored), seed=3),
    )
    assert sampled.cells.tobytes() == expected.tobytes(), "cells of a train context need none of the caller's"
    assert end(service.process) == 0


def test_the_command_offers_the_defaults_of_the_service():
    """They stand in two places: the platform does not import a service."""
    offered, own = (inspect.signature(function).parameters for function in (serve.command, run))
    both = [name for name in offered if name in own]
    assert {"max_concurrent", "max_cells", "workers", "port"} <= set(both)
    assert {name: offered[name].default for name in both} == {name: own[name].default for name in both}


def test_a_model_is_warmed_with_the_blas_threads_that_it_is_asked_with(model_directory, monkeypatch):
    """With one for each core they spin beside a busy neighbour, and a quick model looks slow."""
    threads = []

    def warm(served):
        threads.extend(pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas")
        return served

    for name, put in (("warm", warm), ("serve", lambda *_, **__: None), ("keep_freed_memory", lambda: True)):
        monkeypatch.setattr(server, name, put)
    monkeypatch.setattr(server.os, "cpu_count", lambda: 4)
    with threadpool_limits(2, user_api="blas"):
        made = {"name": "made", "version": "", "aliases": (), "directory": model_directory, "validation_metrics": {}}
        run([made], workers=4)
    assert threads
    assert set(threads) == {1}


@pytest.mark.parametrize(
    ("backend", "python"),
    [("triton", None), ("torchserve", None), ("inprocess", Path("python"))],
    ids=["unknown", "without-python", "python-alone"],
)
def test_a_backend_that_was_half_named_is_refused(backend, python):
    with contextlib.ExitStack() as closing, pytest.raises(ValueError, match=f"got {backend!r} and {python}. Give both"):
        server._loader(backend, python, closing)


@pytest.mark.parametrize("seconds", [-1.0, float("nan")])
def test_a_look_at_the_registry_lies_ahead(seconds):
    with pytest.raises(UsageError, match=f"0 for never; got {seconds:g}"):
        serve.command(model=["models:/known@champion"], watch=seconds)


def test_a_half_written_model_directory_starts_nothing(model_directory, tmp_path):
    (model_directory / "calibration.npz").rename(model_directory / "aside")
    try:
        command = [sys.executable, "-c", RUN, model_directory, "", tmp_path / "ready"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    finally:
        (model_directory / "aside").rename(model_directory / "calibration.npz")
    assert done.returncode == 1
    assert "lacks calibration.npz: it is half-written" in done.stderr
    assert not (tmp_path / "ready").exists()


def test_the_address_is_printed_and_written(start_service):
    service = start_service()
    assert service.output == f"prediction service at {service.address}, 1 model\n"
    host, port = service.address.split(":")
    assert (host, int(port) > 0) == ("127.0.0.1", True)
    assert not list(service.folder.glob("*.partial"))
    assert end(service.process) == 0
    assert not service.ready_file.exists(), "an address that nobody answers at is not left behind"


def test_a_busy_port_is_one_clear_error():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        command = [sys.executable, SCRIPT, "--config", f'{{"port": {port}}}']
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert f"ValueError: A server needs a port of its own; 127.0.0.1:{port} cannot be bound (Address" in done.stderr
    assert "0 picks a free one" in done.stderr


def test_a_port_of_another_service_is_busy_too(start_service):
    """gRPC shares ports by default: the second server would take half of the calls."""
    service = start_service()
    command = [sys.executable, SCRIPT, "--config", f'{{"port": {service.address.split(":")[1]}}}']
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert "cannot be bound" in done.stderr
    assert end(service.process) == 0


def test_a_port_can_be_taken_again_at_once(start_service):
    first = start_service()
    with connect(first.address) as client:
        client.predict("known", [IFNB])
        assert end(first.process) == 0
    again = start_service(config={"port": int(first.address.split(":")[1])})
    assert again.address == first.address


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "example.org"])
def test_a_public_bind_is_refused(host):
    with pytest.raises(ValueError, match=r"takes TLS, and tokens .*would have no TLS and no tokens.*bind 127\.0\.0\.1"):
        ServerConfig(host=host)
    assert ServerConfig(host=host, allow_public_plain_text=True).host == host


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.2", "::1", "localhost"])
def test_loopback_is_accepted(host):
    assert ServerConfig(host=host).address.endswith(":50051")


@pytest.mark.parametrize("port", [-1, 65536])
@pytest.mark.parametrize("field", ["port", "metrics_port"])
def test_a_port_that_is_none_is_refused(field, port):
    with pytest.raises(ValueError, match=f"between 0 and 65535; got {port}"):
        ServerConfig(**{field: port})


def test_a_message_that_grpc_cannot_count_is_refused():
    assert ServerConfig(max_message_bytes=2047 * 2**20).max_message_bytes == 2047 * 2**20
    with pytest.raises(ValueError, match=r"max_message_bytes is 2147483648\. Give at most 2047 MiB"):
        ServerConfig(max_message_bytes=2048 * 2**20)


def test_a_host_that_is_none_is_named():
    config = ServerConfig(host="no host", allow_public_plain_text=True)
    with pytest.raises(ValueError, match=r"an address of this machine; 'no host' is none \(.*\). Give --host"):
        server._bind(None, config)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("workers", 0),
        ("max_concurrent", 0),
        ("max_message_bytes", -1),
        ("grace_s", -1.0),
        ("idle_s", 0),
        ("grace_s", float("nan")),
    ],
)
def test_what_would_be_no_bound_is_refused(field, value):
    with pytest.raises(ValueError, match=f"A server .*; {field} is {value}"):
        ServerConfig(**{field: value})


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "SIGINT"])
def test_calls_in_flight_are_finished_before_it_ends(start_service, number):
    service = start_service(config={"workers": 1})
    with connect(service.address, timeout_s=20) as client, futures.ThreadPoolExecutor() as pool:
        running, waiting = (pool.submit(client.predict, "known", [SLOW]) for _ in range(2))
        stream = client.predict_stream("known", [SLOW, IFNB, IFNB], chunk_size=1)
        streamed = pool.submit(list, stream)
        wait_for(lambda: service.journal)
        time.sleep(0.2)  # the others have arrived
        code = end(service.process, number)
        assert running.result().conditions == waiting.result().conditions == (SLOW,)
        assert [answer.conditions for answer in streamed.result()] == [(SLOW,), (IFNB,), (IFNB,)]
    assert code == 0


def test_while_draining_it_says_not_serving_and_takes_nothing_new(start_service):
    service = start_service()
    channel = grpc.insecure_channel(service.address)
    health = health_pb2_grpc.HealthStub(channel)
    statuses = queue.SimpleQueue()
    with connect(service.address, timeout_s=20, attempts=1) as client, channel, futures.ThreadPoolExecutor() as pool:
        watch = health.Watch(health_pb2.HealthCheckRequest())

        def follow():
            with contextlib.suppress(grpc.RpcError):  # the server ends the watch when it stops
                for reply in watch:
                    statuses.put(reply.status)

        pool.submit(follow)
        assert statuses.get(timeout=10) == health_pb2.HealthCheckResponse.SERVING
        inside = pool.submit(client.predict, "known", [SLOW])
        wait_for(lambda: service.journal)
        service.process.send_signal(signal.SIGTERM)
        assert statuses.get(timeout=10) == health_pb2.HealthCheckResponse.NOT_SERVING
        reply = health.Check(health_pb2.HealthCheckRequest(), timeout=5)
        assert reply.status == health_pb2.HealthCheckResponse.NOT_SERVING
        with pytest.raises(UnavailableError, match="shutting down"):
            client.predict("known", [IFNB])
        assert inside.result().conditions == (SLOW,)
        assert service.process.wait(timeout=20) == 0, "a health watch does not keep it alive"


def test_the_grace_period_ends(start_service):
    service = start_service(config={"grace_s": 0.1})
    with connect(service.address, timeout_s=20) as client, futures.ThreadPoolExecutor() as pool:
        stream = pool.submit(list, client.predict_stream("known", [SLOW] * 40, chunk_size=1))
        wait_for(lambda: service.journal)
        assert end(service.process) == 0
        with pytest.raises(UnavailableError, match="ask again later"):
            stream.result()
    assert "1 calls were not done within the grace period of 0.1 s" in service.log
    assert len(service.journal) < 10
