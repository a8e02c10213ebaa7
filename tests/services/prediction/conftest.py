"""A known model, and the service over it in a second process."""

from __future__ import annotations

import dataclasses
import importlib.util
import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

from perturbcast_client import connect
from prediction_service.engine import Engine
from prediction_service.limits import Limits
from prediction_service.served_model import ServedModel

SCRIPT = Path(__file__).with_name("serve_fake.py")
START_S = 30


@pytest.fixture(scope="session")
def serve_fake():
    """The script of the second process, imported for its model."""
    spec = importlib.util.spec_from_file_location("serve_fake", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    sys.modules["serve_fake"] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def known(serve_fake):
    return serve_fake.KnownModel()


@pytest.fixture(scope="session")
def make_engine(known):
    def make(*, limits=None, **served):
        fields = {"name": "known", "version": "3", "aliases": ("champion",), "model": known, **served}
        return Engine([ServedModel(**fields)], limits=limits or Limits())

    return make


@dataclasses.dataclass
class Service:
    """A service in a second process."""

    process: subprocess.Popen
    ready_file: Path
    address: str
    folder: Path

    @property
    def log(self) -> str:
        return (self.folder / "stderr").read_text(errors="replace")  # gRPC prints what it was sent

    @property
    def output(self) -> str:
        return (self.folder / "stdout").read_text()

    @property
    def journal(self) -> list[str]:
        """Conditions that reached the model, in order."""
        path = self.folder / "journal"
        return path.read_text().splitlines() if path.exists() else []


@pytest.fixture(scope="module")
def start_service(tmp_path_factory):
    """Starts a process and waits until it answers; every process is ended at the end of its file of tests."""
    processes = []

    def start(command=None, **options):
        folder = tmp_path_factory.mktemp("service")
        ready_file = folder / "ready"
        if command is None:
            command = [SCRIPT, "--journal", folder / "journal"]
            for name, values in options.items():
                command += [f"--{name}", json.dumps(values)]
        with (folder / "stdout").open("wb") as out, (folder / "stderr").open("wb") as err:
            process = subprocess.Popen(
                [sys.executable, "-W", "error", *command, "--ready-file", ready_file], stdout=out, stderr=err
            )
        processes.append(process)
        until = time.monotonic() + START_S
        while not ready_file.exists():
            assert process.poll() is None, (folder / "stderr").read_text()
            assert time.monotonic() < until, "the service did not start"
            time.sleep(0.02)
        return Service(process, ready_file, ready_file.read_text(), folder)

    yield start
    for process in processes:
        process.kill()
        process.wait()


@pytest.fixture(scope="module")
def service(start_service):
    """One service for the tests that leave it as it was, with limits that a test can reach."""
    return start_service(
        config={"max_message_bytes": 2**20, "workers": 2},
        limits={"max_conditions": 100, "max_cells": 50, "max_reply_bytes": 9_000},
    )


@pytest.fixture
def client(service):
    with connect(service.address, timeout_s=20) as client:
        yield client
