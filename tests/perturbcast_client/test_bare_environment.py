"""The client stands alone: installed by itself it needs numpy, grpcio and protobuf, and works on old ones."""

from __future__ import annotations

import json
import re
import subprocess
import tomllib

import pytest

from perturbcast_client import Condition
from perturbcast_client.testing import FAKE_MODEL, fake_delta

ALLOWED = {"grpcio", "numpy", "perturbcast-client", "pip", "protobuf", "setuptools", "typing-extensions"}
ABSENT = ("anndata", "mlflow", "pandas", "perturbcast", "prediction_service", "scipy", "torch")
ASK = """
import importlib.resources, importlib.util, json, sys
from perturbcast_client import Condition, connect
from perturbcast_client.testing import FakeServer

with FakeServer() as server, connect(server.address) as client:
    answer = client.predict("fake", [Condition.from_label("B+A", "T cells")])
    (streamed,) = client.predict_stream("fake", answer.conditions)
assert streamed.delta.tobytes() == answer.delta.tobytes()
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


def check(environment):
    installed = json.loads(environment.run("-m", "pip", "list", "--format", "json", "--disable-pip-version-check"))
    names = {package["name"].lower().replace("_", "-") for package in installed}
    assert names - ALLOWED == set()
    answer = json.loads(environment.run("-W", "error", "-c", ASK, *ABSENT))
    assert answer["present"] == []
    assert answer["typed"]
    expected = fake_delta(Condition.from_label("A+B", "T cells"), FAKE_MODEL.genes)
    assert bytes.fromhex(answer["delta"]) == expected.tobytes()


@pytest.mark.slow
def test_alone_with_the_newest_dependencies(root, make_environment):
    environment = make_environment()
    environment.install(root / "libs" / "perturbcast-client")
    check(environment)


@pytest.mark.slow
def test_alone_on_python_3_9_with_the_oldest_dependencies(root, make_environment):
    try:
        works = subprocess.run(["python3.9", "-c", ""], capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        works = False
    if not works:
        pytest.skip("python3.9 is not installed here")
    client = root / "libs" / "perturbcast-client"
    environment = make_environment("python3.9")
    bounds = lower_bounds(client / "pyproject.toml")
    assert len(bounds) == 3
    environment.install(client, *bounds)
    check(environment)
