"""Starts TorchServe on loopback with token authorization, starts it again when it has died, and ends it.

It runs in a folder of its own, which holds its configuration, archives, temporary files, keys and log.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import grpc
import numpy as np

from perturbcast.training import TrainedModel, load_model
from torchserve_backend.archive import write_archive
from torchserve_backend.remote_model import BackendUnavailableError, RemoteModel

__all__ = ["start"]

logger = logging.getLogger(__name__)
HOST = "127.0.0.1"
START_S = 180.0
AGAIN_S = (1.0, 2.0, 5.0, 10.0)  # before the next start, seconds; the last for every further one
HEALTHY_S = 60.0  # after as long the count of failed starts begins anew
MESSAGE_BYTES = 256 * 2**20
TOKEN_MINUTES = 10 * 365 * 24 * 60  # of one process; a new process makes a new key
SETTINGS = {
    "disable_token_authorization": "false",
    "enable_model_api": "false",
    "enable_envvars_config": "false",
    "disable_system_metrics": "true",
    "install_py_dep_per_model": "false",
    "default_workers_per_model": "1",
    "max_request_size": str(MESSAGE_BYTES),
    "max_response_size": str(MESSAGE_BYTES),
    "token_expiration_min": str(TOKEN_MINUTES),
}


def start(directories: Mapping[str, Path], *, python: Path) -> tuple[dict[str, RemoteModel], Callable[[], None]]:
    """Serve model directories by TorchServe; the models by name, and what ends it.

    Args:
        directories: name in TorchServe -> model directory.
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
    process = _TorchServe(directories, program)
    try:
        models = {name: load_model(directory) for name, directory in directories.items()}
        process.begin(models)
    except BaseException:
        process.close()
        raise
    return process.models, process.close


class _TorchServe:
    def __init__(self, directories: Mapping[str, Path], program: Path) -> None:
        self._program = program
        self._folder = Path(tempfile.mkdtemp(prefix="perturbcast-torchserve-"))
        self._names = list(directories)
        for name, directory in directories.items():
            write_archive(directory, self._folder / "store" / f"{name}.mar", name=name)
        (self._folder / "tmp").mkdir()
        self._ports = _free_ports(5)
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
        self.models: dict[str, RemoteModel] = {}
        self._process: subprocess.Popen[bytes] | None = None
        self._closing = threading.Event()
        self._watch = threading.Thread(target=self._start_again, name="torchserve", daemon=True)

    def begin(self, models: Mapping[str, TrainedModel]) -> None:
        """Start it, and return when every model answers.

        Raises:
            ValueError: it ended, or did not answer in time.
        """
        self.models = {
            name: RemoteModel(model, name=name, channel=self._channel, token=self._token)
            for name, model in models.items()
        }
        self._launch()
        until = time.monotonic() + START_S
        for model in self.models.values():
            while not _answers(model):
                if self._process is None or self._process.poll() is not None or time.monotonic() > until:
                    raise ValueError(
                        f"TorchServe answers within {START_S:g} s; it does not. It said: {self._last_words()}. Look "
                        "whether its environment holds the perturbcast of this one. See services/torchserve/README.md."
                    )
                time.sleep(0.2)
        self._watch.start()
        logger.info("TorchServe answers on %s:%d, its folder is %s", HOST, self._ports[3], self._folder)

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
        words += ["--model-store", "store", "--models", *(f"{name}={name}.mar" for name in self._names)]
        environment = {**os.environ, "TMPDIR": str(self._folder / "tmp"), "TEMP": str(self._folder / "tmp")}
        environment["PATH"] = f"{self._program.parent}{os.pathsep}{os.environ.get('PATH', '')}"  # it starts 'python'
        with (self._folder / "log").open("ab") as log:
            # a group of its own: java and its workers end together
            self._process = subprocess.Popen(
                words, cwd=self._folder, env=environment, stdout=log, stderr=log, start_new_session=True
            )

    def _token(self) -> str:
        """The inference key of the process that runs; the file is its own and nobody else's to read."""
        try:
            key: str = json.loads((self._folder / "key_file.json").read_text())["inference"]["key"]
        except (json.JSONDecodeError, KeyError) as error:  # it is being written
            raise BackendUnavailableError("TorchServe is writing its keys.") from error
        return key

    def _start_again(self) -> None:
        failed, started = 0, time.monotonic()
        while not self._closing.wait(0.2):
            if self._process is None or self._process.poll() is None:
                continue
            failed = 0 if time.monotonic() - started > HEALTHY_S else failed
            wait_s = AGAIN_S[min(failed, len(AGAIN_S) - 1)]
            logger.warning("TorchServe ended with %s; starting it again in %g s", self._process.returncode, wait_s)
            self._kill()
            if self._closing.wait(wait_s):
                return
            failed, started = failed + 1, time.monotonic()
            self._launch()

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


def _free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    try:
        for one in sockets:
            one.bind((HOST, 0))
        return [one.getsockname()[1] for one in sockets]
    finally:
        for one in sockets:
            one.close()
