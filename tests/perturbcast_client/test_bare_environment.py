"""The client stands alone: installed by itself it needs numpy, grpcio and protobuf, and works on old ones."""

from __future__ import annotations

import contextlib
import functools
import json
import re
import subprocess
import tomllib
from pathlib import Path

import pytest

from perturbcast_client import Condition
from perturbcast_client.testing import FAKE_MODEL, fake_delta

ALLOWED = {"grpcio", "numpy", "perturbcast-client", "pip", "protobuf", "setuptools", "typing-extensions"}
ABSENT = ("anndata", "mlflow", "pandas", "perturbcast", "prediction_service", "scipy", "torch")
ASK = """
import asyncio, importlib.resources, importlib.util, json, sys
from perturbcast_client import Condition, aio, cli, connect
from perturbcast_client.testing import FakeServer

with FakeServer() as server, connect(server.address) as client:
    answer = client.predict("fake", [Condition.from_label("B+A", "T cells")])
    (streamed,) = client.predict_stream("fake", answer.conditions)
    async def ask():
        async with aio.connect(server.address) as client:
            return await client.predict("fake", answer.conditions)
    awaited = asyncio.run(ask())
    export = ["export", "fake", "--address", server.address, "--condition", "A", "c", "--controls", "x"]
    assert cli.main(["models", "--address", server.address]) == 0
    assert cli.main([*export, "--layout", "npz", "--out", "y"]) == 1, "anndata is an extra"
assert streamed.delta.tobytes() == answer.delta.tobytes() == awaited.delta.tobytes()
present = [name for name in sys.argv[1:] if importlib.util.find_spec(name)]
files = importlib.resources.files("perturbcast_client")
print(json.dumps({
    "delta": answer.delta.tobytes().hex(),
    "present": present,
    "typed": (files / "py.typed").is_file() and (files / "wire" / "v1" / "prediction_pb2.pyi").is_file(),
}))
"""


def lower_bounds(pyproject):
    dependencies = tomllib.loads(pyproject.read_text())["project"]["dependencies"]
    return [re.sub(r">=([\d.]+).*", r"==\1", dependency) for dependency in dependencies]


@pytest.fixture
def check(gpl_environment):
    """Whether an environment that holds the client holds nothing else, nothing of the GPL, and answers."""
    return functools.partial(_check, gpl_environment)


def _check(gpl_environment, environment):
    assert gpl_environment(environment.python.parents[1]) == []
    installed = json.loads(environment.run("-m", "pip", "list", "--format", "json", "--disable-pip-version-check"))
    names = {package["name"].lower().replace("_", "-") for package in installed}
    assert names - ALLOWED == set()
    answer = json.loads(environment.run("-W", "error", "-c", ASK, *ABSENT).splitlines()[-1])
    assert answer["present"] == []
    assert answer["typed"]
    expected = fake_delta(Condition.from_label("A+B", "T cells"), FAKE_MODEL.genes)
    assert bytes.fromhex(answer["delta"]) == expected.tobytes()


@pytest.mark.slow
def test_alone_with_the_newest_dependencies(root, make_environment, check):
    environment = make_environment()
    environment.install(root / "libs" / "perturbcast-client")
    check(environment)


def interpreter(version):
    """A Python of that version: on the path, or of pyenv; None where there is none."""
    places = sorted((Path.home() / ".pyenv" / "versions").glob(f"{version}.*/bin/python"))
    for python in (f"python{version}", *map(str, places)):
        with contextlib.suppress(FileNotFoundError):
            if subprocess.run([python, "-c", ""], capture_output=True, check=False).returncode == 0:
                return python
    return None


@pytest.mark.slow
@pytest.mark.parametrize("version", ["3.9", "3.10", "3.12", "3.13"])
def test_alone_on_other_pythons(root, make_environment, check, version):
    """The rest of the range: the oldest Python with the oldest dependencies, the others with the newest."""
    python = interpreter(version)
    if python is None:
        pytest.skip(f"python{version} is not installed here")
    client = root / "libs" / "perturbcast-client"
    environment = make_environment(python)
    bounds = lower_bounds(client / "pyproject.toml") if version == "3.9" else []
    environment.install(client, *bounds)
    check(environment)
