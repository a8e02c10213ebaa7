"""Starts TorchServe on loopback with token authorization, starts it again when it has died, and ends it.

It runs in a folder of its own, which holds its configuration, archives, temporary files, keys and log. Models come and
go while it runs: each is registered through its management API, and unregistered when nobody holds it any more, so that
a version that was replaced answers its last request before it goes.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import logging
import os
import queue
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
import weakref
from collections.abc import Callable
from pathlib import Path

import grpc
import numpy as np

from perturbcast.training import load_model
from torchserve_backend.archive import write_archive
from torchserve_backend.remote_model import BackendUnavailableError, RemoteModel

__all__ = ["SETTINGS", "free_ports", "start"]

logger = logging.getLogger(__name__)
HOST = "127.0.0.1"
START_S = 180.0
AGAIN_S = (1.0, 2.0, 5.0, 10.0)  # before the next start, seconds; the last for every further one
HEALTHY_S = 60.0  # after as long the count of failed starts begins anew
MESSAGE_BYTES = 256 * 2**20
TOKEN_MINUTES = 10 * 365 * 24 * 60  # of one process; a new process makes a new key
SETTINGS = {
    "disable_token_authorization": "false",
    "enable_model_api": "true",  # for whoever has the key of management, which lies in our folder
    "allowed_urls": "none",  # archives come from its store, which is our folder, and from nowhere else
    "enable_envvars_config": "false",
    "disable_system_metrics": "true",
    "install_py_dep_per_model": "false",
    "default_workers_per_model": "1",
    "max_request_size": str(MESSAGE_BYTES),
    "max_response_size": str(MESSAGE_BYTES),
    "token_expiration_min": str(TOKEN_MINUTES),
}


def start(*, python: Path) -> tuple[Callable[[Path], RemoteModel], Callable[[], None]]:
    """A TorchServe without models; what adds a model directory to it, and what ends it.

    A model that was added answers when it is returned. It is dropped when the last reference to it is gone.

    Args:
        python: of an environment with torchserve and perturbcast.

    Raises:
        ValueError: TorchServe is not in that environment, or does not start.
    """
    program = python.parent / "torchserve"
    if not program.exists() or shutil.which("java") is None:
        lacking = f"{program} does not exist" if not program.exists() else "java is not on the path"
        raise ValueError(
            f"TorchServe runs in an environment of its own, on java 17 or newer; {lacking}. See "
            "services/torchserve/README.md, or serve with --backend inprocess."
        )
    process = _TorchServe(program)
    try:
        process.begin()
    except BaseException:
        process.close()
        raise
    return process.add, process.close


class _TorchServe:
    def __init__(self, program: Path) -> None:
        self._program = program
        self._folder = Path(tempfile.mkdtemp(prefix="perturbcast-torchserve-"))
        self._names: list[str] = []
        self._added = 0
        self._dropped: queue.SimpleQueue[str] = queue.SimpleQueue()
        for folder in ("store", "tmp"):
            (self._folder / folder).mkdir()
        self._ports = free_ports(5)
        lines = [f"{key}={value}" for key, value in SETTINGS.items()]
        kinds = ("inference_address", "management_address", "metrics_address")
        lines += [f"{kind}=http://{HOST}:{port}" for kind, port in zip(kinds, self._ports, strict=False)]
        lines += [f"grpc_inference_address={HOST}", f"grpc_inference_port={self._ports[3]}"]
        lines += [f"grpc_management_address={HOST}", f"grpc_management_port={self._ports[4]}"]
        (self._folder / "config.properties").write_text("\n".join(lines) + "\n")
        self._channel = grpc.insecure_channel(
            f"{HOST}:{self._ports[3]}",
            options=[
                ("grpc.max_send_message_length", MESSAGE_BYTES),
                ("grpc.max_receive_message_length", MESSAGE_BYTES),
                ("grpc.max_reconnect_backoff_ms", 1000),
            ],
        )
        self._process: subprocess.Popen[bytes] | None = None
        self._closing = threading.Event()
        self._watch = threading.Thread(target=self._look_after, name="torchserve", daemon=True)

    def begin(self) -> None:
        """Start it, and return when it takes models.

        Raises:
            ValueError: it ended, or did not answer in time.
        """
        self._launch()
        self._wait_for(self._manages)
        self._watch.start()
        logger.info("TorchServe answers on %s:%d, its folder is %s", HOST, self._ports[3], self._folder)

    def add(self, directory: Path) -> RemoteModel:
        """Have it serve a model directory; the model answers.

        Raises:
            ValueError: the directory is no model, or TorchServe cannot load it.
            OSError: TorchServe is away; it is started again.
        """
        model = load_model(directory)
        name = f"m{self._added}"
        self._added += 1
        archive = self._folder / "store" / f"{name}.mar"
        write_archive(directory, archive, name=name)
        self._names.append(name)  # first: a TorchServe that dies meanwhile starts again with it
        remote = RemoteModel(model, name=name, channel=self._channel, token=self._token)
        weakref.finalize(remote, self._dropped.put, name).atexit = False
        self._manage("POST", f"/models?url={name}.mar&model_name={name}&initial_workers=1&synchronous=true")
        self._wait_for(lambda: _answers(remote))
        return remote

    def _wait_for(self, ready: Callable[[], bool]) -> None:
        until = time.monotonic() + START_S
        while not ready():
            if self._process is None or self._process.poll() is not None or time.monotonic() > until:
                raise ValueError(
                    f"TorchServe answers within {START_S:g} s; it does not. It said: {self._last_words()}. Look "
                    "whether its environment holds the perturbcast of this one. See services/torchserve/README.md."
                )
            time.sleep(0.1)

    def _manages(self) -> bool:
        try:
            self._manage("GET", "/models")
        except OSError:
            return False
        return True

    def _manage(self, method: str, path: str) -> None:
        """One call of the management API.

        Raises:
            ValueError: it says no.
            OSError: it does not answer.
        """
        connection = http.client.HTTPConnection(HOST, self._ports[1], timeout=START_S)
        try:
            connection.request(method, path, headers={"Authorization": f"Bearer {self._token('management')}"})
            reply = connection.getresponse()
            said = reply.read().decode(errors="replace")
        except http.client.HTTPException as error:
            raise BackendUnavailableError("TorchServe ended while it was asked.") from error
        finally:
            connection.close()
        if reply.status >= 400:
            raise ValueError(
                f"TorchServe serves what it can load; {method} {path.partition('?')[0]} gave {reply.status}: "
                f"{' '.join(said.split())} It said: {self._last_words()}. See services/torchserve/README.md."
            )

    def close(self) -> None:
        """End it and remove its folder."""
        self._closing.set()
        if self._watch.is_alive():
            self._watch.join()
        self._kill()
        self._channel.close()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _last_words(self) -> str:
        """What the worker said, or TorchServe where no worker came so far."""
        lines = (self._folder / "log").read_text(errors="replace").splitlines()
        worker = [line.partition("MODEL_LOG - ")[2] for line in lines if "MODEL_LOG - " in line]
        return " | ".join((worker or lines)[-8:])

    def _launch(self) -> None:
        (self._folder / "key_file.json").unlink(missing_ok=True)
        words = [str(self._program), "--start", "--foreground", "--ncs", "--ts-config", "config.properties"]
        words += ["--model-store", "store"]
        words += ["--models", *(f"{name}={name}.mar" for name in self._names)] if self._names else []
        environment = {**os.environ, "TMPDIR": str(self._folder / "tmp"), "TEMP": str(self._folder / "tmp")}
        environment["PATH"] = f"{self._program.parent}{os.pathsep}{os.environ.get('PATH', '')}"  # it starts 'python'
        with (self._folder / "log").open("ab") as log:
            # a group of its own: java and its workers end together
            self._process = subprocess.Popen(
                words, cwd=self._folder, env=environment, stdout=log, stderr=log, start_new_session=True
            )

    def _token(self, purpose: str = "inference") -> str:
        """The key of the process that runs for inference or management; its file is nobody else's to read."""
        try:
            key: str = json.loads((self._folder / "key_file.json").read_text())[purpose]["key"]
        except (json.JSONDecodeError, KeyError) as error:  # it is being written
            raise BackendUnavailableError("TorchServe is writing its keys.") from error
        return key

    def _look_after(self) -> None:
        failed, started = 0, time.monotonic()
        while not self._closing.wait(0.2):
            if self._process is None or self._process.poll() is None:
                self._drop()
                continue
            failed = 0 if time.monotonic() - started > HEALTHY_S else failed
            wait_s = AGAIN_S[min(failed, len(AGAIN_S) - 1)]
            logger.warning("TorchServe ended with %s; starting it again in %g s", self._process.returncode, wait_s)
            self._kill()
            if self._closing.wait(wait_s):
                return
            failed, started = failed + 1, time.monotonic()
            self._launch()

    def _drop(self) -> None:
        """Unregister the models that nobody holds any more; their last request has been answered."""
        with contextlib.suppress(queue.Empty):
            while True:
                name = self._dropped.get_nowait()
                self._names.remove(name)
                (self._folder / "store" / f"{name}.mar").unlink()
                try:
                    self._manage("DELETE", f"/models/{name}")
                except (ValueError, OSError) as error:  # it is starting; it loaded the model from the list of before
                    logger.warning("model %s stays in TorchServe until it starts again: %s", name, error)

    def _kill(self) -> None:
        if self._process is not None:
            try:
                os.killpg(self._process.pid, signal.SIGKILL)  # its group, also where its first process has ended
            except ProcessLookupError:
                return
            self._process.wait()


def _answers(model: RemoteModel) -> bool:
    """Whether TorchServe answers for the model; it is asked what was in training, with controls of nothing."""
    condition = model.train_conditions[0]
    try:
        model.predict([condition], control_means={condition.context: np.zeros(len(model.genes))})
    except BackendUnavailableError:
        return False
    return True


def free_ports(count: int) -> list[int]:
    """Ports of loopback that nothing listens on."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for one in sockets:
            one.bind((HOST, 0))
        return [one.getsockname()[1] for one in sockets]
    finally:
        for one in sockets:
            one.close()
