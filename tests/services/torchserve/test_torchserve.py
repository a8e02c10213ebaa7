"""A real TorchServe behind the service: equal predictions, a champion followed, a token asked for, a crash survived."""

from __future__ import annotations

import contextlib
import http.client
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from concurrent import futures
from pathlib import Path
from types import SimpleNamespace

import grpc
import numpy as np
import pytest

import perturbcast
from perturbcast import splits
from perturbcast.models.linear import Config
from perturbcast.training import fit, load_model, save_model
from perturbcast_client import Condition, ModelRef, UnansweredError, UnavailableError, Wanted, connect
from torchserve_backend.remote_model import PREDICTIONS
from torchserve_backend.supervisor import start
from torchserve_backend.wire import torchserve_pb2 as pb

COMMAND = str(Path(sys.executable).with_name("perturbcast"))
SOURCE = str(Path(perturbcast.__file__).parents[1])
MADE = Path(__file__).parents[3] / ".venv-torchserve" / "bin" / "python"
PYTHON = Path(os.environ.get("PERTURBCAST_TORCHSERVE_PYTHON", MADE))
pytestmark = [
    pytest.mark.slow,
    # MLflow and SQLAlchemy deprecate among themselves; nothing of ours can mend it
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::ResourceWarning"),
    pytest.mark.skipif(
        not PYTHON.with_name("torchserve").exists() or shutil.which("java") is None,
        reason=f"no java, or no TorchServe at {PYTHON}: run make .venv-torchserve/.installed, "
        "or set PERTURBCAST_TORCHSERVE_PYTHON",
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


def wait_for(condition, seconds=300):
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, "it did not happen in time"
        time.sleep(0.1)


@pytest.fixture
def served(registered, tmp_path):
    """Model ``made`` of a registry behind a TorchServe; the registry, the server's process, address and log."""
    made = registered(kind="linear")
    ready, log = tmp_path / "ready", tmp_path / "log"
    words = [COMMAND, "serve", "--backend", "torchserve", "--torchserve-python", PYTHON]
    words += ["--model", "models:/made@champion", "--watch", "0.2", "--port", "0", "--ready-file", ready]
    environment = {**os.environ, "PYTHONPATH": SOURCE}  # the handler runs this tree's code, not that of another day
    with log.open("wb") as file:
        server = subprocess.Popen(words, stdout=file, stderr=file, env=environment)
    try:
        wait_for(lambda: ready.is_file() or server.poll() is not None)
        assert ready.is_file(), log.read_text()
        yield SimpleNamespace(**vars(made), server=server, address=ready.read_text(), log=log)
    finally:
        server.kill()
        server.wait()


def test_predictions_are_equal_a_champion_is_followed_and_a_crash_is_survived(served):
    """One TorchServe for all of it: each start takes seconds."""
    with connect(served.address, timeout_s=60) as client:
        assert_equal_to_offline(client, served, fold=0)
        with pytest.raises(UnansweredError):
            client.predict("made", [Condition.from_label("G0", served.folds[0][0].held_out)])
        with asking(served) as answers:
            for fold in (1, 0):  # forward, and back again
                served.client.set_registered_model_alias("made", "champion", served.versions[fold])
                wait_for(lambda fold=fold: client.get_model("made").version == served.versions[fold])
                answers_before = len(answers)
                wait_for(lambda n=answers_before: len(answers) > n + 20)
        fingerprints = {(served.versions[i], served.folds[i][2]) for i in (0, 1)}
        assert set(answers) == fingerprints, "no call failed, and each reply names the version that made it"
        assert served.log.read_text().count("and warmed it") == 1, "rolling back loads nothing"
        assert_equal_to_offline(client, served, fold=1)  # pinned: it is kept

        java = java_of(served.server)
        assert_loopback_only(java)
        assert_token_is_asked_for(java)
        os.kill(java, signal.SIGKILL)
        with connect(served.address, timeout_s=20, attempts=1) as impatient:
            wait_for(lambda: answered(impatient, served, fold=0) is None)  # UNAVAILABLE and nothing else
        for fold in (0, 1):
            wait_for(lambda fold=fold: answered(client, served, fold=fold) is not None)
            assert_equal_to_offline(client, served, fold=fold)
    started = children(served.server.pid)
    served.server.terminate()
    assert served.server.wait(60) == 0
    wait_for(lambda: not any(map(lives, started)))
    assert "starting it again" in served.log.read_text()


def question(served, fold):
    """The version of a fold, and what it was trained on."""
    _, directory, _ = served.folds[fold]
    asked = [Condition.from_label(c.perturbation, c.context) for c in load_model(directory).train_conditions]
    return ModelRef("made", version=served.versions[fold]), asked


def answered(client, served, *, fold):
    """The answer of a fold, or None where the backend is away."""
    try:
        return client.predict(*question(served, fold))
    except UnavailableError:
        return None


def assert_equal_to_offline(client, served, *, fold):
    model = load_model(served.folds[fold][1])
    offline = model.predict(model.train_conditions)
    answer = client.predict(
        *question(served, fold), wanted=Wanted(variance=True, interval_level=0.5, expression=True, cells=2)
    )
    for name, array in (("delta", offline.delta), ("variance", offline.variance), ("expression", offline.mean)):
        np.testing.assert_allclose(getattr(answer, name), array, rtol=0, atol=1e-6)
    np.testing.assert_allclose(answer.upper - answer.delta, offline.intervals[0.5], atol=1e-6)
    assert [[s.perturbation, s.context, s.pair] for s in answer.seen] == offline.seen.tolist()
    assert answer.cells.shape == (len(answer.conditions), 2, len(model.genes)), "drawn from stored controls"


@contextlib.contextmanager
def asking(served):
    """(version, fingerprint) of every answer that the champion gives meanwhile to two callers; any error is raised."""
    answers, done = [], threading.Event()
    given = {"controls": {"new": np.ones((1, len(served.data.genes)))}, "genes": served.data.genes}

    def ask():
        with connect(served.address, timeout_s=20, attempts=1) as client:
            while not done.is_set():
                answer = client.predict("made", [Condition.from_label("G0", "new")], **given)
                answers.append((answer.version, answer.fingerprint))

    with futures.ThreadPoolExecutor(2) as pool:
        tasks = [pool.submit(ask) for _ in range(2)]
        try:
            yield answers
        finally:
            done.set()
        for task in tasks:
            task.result()


def java_of(server):
    (java,) = [pid for pid, name in children(server.pid).items() if name == "java"]
    return java


def test_a_model_that_nobody_holds_any_more_is_dropped(make_data, tmp_path, monkeypatch):
    """A version that was replaced goes with the last request that holds it: its worker ends."""
    data = make_data()
    split = splits.make(data, "unseen_context", seed=1)[0]
    directory = tmp_path / "linear"
    save_model(fit(data, split, kind="linear", plugin="linear", config=Config(components=2), seed=0), directory)
    monkeypatch.setenv("PYTHONPATH", SOURCE)
    add, close = start(python=PYTHON)
    try:
        without = set(children(os.getpid()))
        model = add(directory)
        asked = model.train_conditions[:1]
        np.testing.assert_allclose(model.predict(asked).delta, load_model(directory).predict(asked).delta, atol=1e-6)
        workers = set(children(os.getpid())) - without
        assert workers, "it has a process of its own"
        torchserve = add.__self__
        for elsewhere in (directory.parent.as_uri() + "/m.mar", "http://127.0.0.1:9/m.mar"):
            with pytest.raises(ValueError, match="does not match any allowed URL"):
                torchserve._manage("POST", f"/models?url={elsewhere}&initial_workers=1&synchronous=true")
        del model
        wait_for(lambda: not any(map(lives, workers)))
        assert any(map(lives, without)), "TorchServe itself goes on"
    finally:
        close()


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
    statuses = set()
    for port in {int(address.split(":")[1], 16) for address in sockets_of(java)}:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        with contextlib.suppress(http.client.HTTPException, OSError):  # that one speaks gRPC
            connection.request("DELETE", "/models/m0")
            statuses.add(connection.getresponse().status)
        connection.close()
    assert statuses, "one is that of management"
    assert min(statuses) >= 400, "nobody takes a model away without the key"
