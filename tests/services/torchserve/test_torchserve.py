"""A real TorchServe behind the service: equal predictions, a token asked for, and a crash that loses nothing later."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import grpc
import numpy as np
import pytest

import perturbcast
from perturbcast import splits
from perturbcast.models.linear import Config
from perturbcast.training import fit, load_model, save_model
from perturbcast_client import Condition, UnansweredError, UnavailableError, Wanted, connect
from torchserve_backend.remote_model import PREDICTIONS
from torchserve_backend.wire import torchserve_pb2 as pb

COMMAND = str(Path(sys.executable).with_name("perturbcast"))
SOURCE = str(Path(perturbcast.__file__).parents[1])
CACHE = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "perturbcast-tests" / "torchserve"
PYTHON = Path(os.environ.get("PERTURBCAST_TORCHSERVE_PYTHON", CACHE / "bin" / "python"))
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not PYTHON.with_name("torchserve").exists(),
        reason=f"no TorchServe at {PYTHON}: python3.11 -m venv {CACHE} && {CACHE}/bin/pip install -c constraints.txt "
        "torchserve==0.12.0 torch libs/perturbcast, or set PERTURBCAST_TORCHSERVE_PYTHON",
    ),
]


def children(pid):
    """The process and everything that it started, the names of their programs beside them."""
    listed = subprocess.run(["ps", "-eo", "pid=,ppid=,comm="], capture_output=True, text=True, check=True).stdout
    rows = [line.split(None, 2) for line in listed.splitlines()]
    found, grew = {str(pid): ""}, True
    while grew:
        more = {row[0]: row[2] for row in rows if row[1] in found and row[0] not in found}
        found |= more
        grew = bool(more)
    return {int(one): name for one, name in found.items() if one != str(pid)}


def lives(pid):
    """Whether a process runs; one that has ended and waits for its parent does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def wait_for(condition, seconds=150):
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, "it did not happen in time"
        time.sleep(0.1)


def answered(client, asked):
    """The answer, or None where the backend is away."""
    try:
        return client.predict("linear", asked)
    except UnavailableError:
        return None


def test_predictions_are_equal_and_a_crash_is_survived(make_data, tmp_path):
    data = make_data()
    split = splits.make(data, "unseen_context", seed=1)[0]
    directory, ready = tmp_path / "linear", tmp_path / "ready"
    model = fit(data, split, kind="linear", plugin="linear", config=Config(components=2), seed=0)
    save_model(model, directory)
    with (tmp_path / "log").open("wb") as log:
        words = [COMMAND, "serve", "--backend", "torchserve", "--torchserve-python", PYTHON, "--model", directory]
        server = subprocess.Popen(
            [*words, "--port", "0", "--ready-file", ready],
            stdout=log,
            stderr=log,
            env={**os.environ, "PYTHONPATH": SOURCE},  # the handler runs this tree's code, not that of another day
        )
    try:
        wait_for(lambda: ready.is_file() or server.poll() is not None)
        assert ready.is_file(), (tmp_path / "log").read_text()
        with connect(ready.read_text(), timeout_s=60) as client:
            conditions = load_model(directory).train_conditions
            asked = [Condition.from_label(c.perturbation, c.context) for c in conditions]
            offline = load_model(directory).predict(conditions)
            answer = client.predict("linear", asked, wanted=Wanted(variance=True, interval_level=0.5, expression=True))
            for name, array in (("delta", offline.delta), ("variance", offline.variance), ("expression", offline.mean)):
                np.testing.assert_allclose(getattr(answer, name), array, rtol=0, atol=1e-6)
            np.testing.assert_allclose(answer.upper - answer.delta, offline.intervals[0.5], atol=1e-6)
            assert [[s.perturbation, s.context, s.pair] for s in answer.seen] == offline.seen.tolist()
            with pytest.raises(UnansweredError):
                client.predict("linear", [Condition.from_label("G0", split.held_out)])

            started = children(server.pid)
            (java,) = [pid for pid, name in started.items() if name == "java"]
            assert_loopback_only(java)
            assert_token_is_asked_for(java)
            os.kill(java, signal.SIGKILL)
            with connect(ready.read_text(), timeout_s=20, attempts=1) as impatient:
                wait_for(lambda: answered(impatient, asked) is None)  # UNAVAILABLE and nothing else
            wait_for(lambda: answered(client, asked) is not None)
            again = client.predict("linear", asked)
            np.testing.assert_array_equal(again.delta, answer.delta)
        started = children(server.pid)
        server.terminate()
        assert server.wait(60) == 0
        wait_for(lambda: not any(map(lives, started)))
        assert "starting it again" in (tmp_path / "log").read_text()
    finally:
        server.kill()
        server.wait()


def sockets_of(pid):
    """Addresses that a process listens on, as /proc writes them."""
    inodes = set()
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        try:
            target = str(entry.readlink())
        except OSError:
            continue  # closed meanwhile
        if target.startswith("socket:["):
            inodes.add(target[8:-1])
    rows = [line.split() for name in ("tcp", "tcp6") for line in Path(f"/proc/net/{name}").read_text().splitlines()[1:]]
    return [row[1] for row in rows if row[3] == "0A" and row[9] in inodes]


def assert_loopback_only(java):
    hosts = {address.split(":")[0] for address in sockets_of(java)}
    # 127.0.0.1, as it is, and mapped into IPv6
    assert hosts, "it listens"
    assert hosts <= {"0100007F", "0000000000000000FFFF00000100007F"}, hosts


def assert_token_is_asked_for(java):
    """Whichever port speaks gRPC, it does not answer without the token."""
    refused = []
    for port in {int(address.split(":")[1], 16) for address in sockets_of(java)}:
        with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
            send = channel.unary_unary(PREDICTIONS, request_serializer=pb.PredictionsRequest.SerializeToString)
            with pytest.raises(grpc.RpcError) as error:
                send(pb.PredictionsRequest(model_name="m0", input={"message": b""}), timeout=10)
            refused.append(error.value.details() or "")
    assert any("oken" in details for details in refused), refused
