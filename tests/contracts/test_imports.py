"""Imports point one way: the contracts hold here, and each finds the violation planted for it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import grimp
import pytest

from perturbcast import catalog

SOURCES = (
    "libs/perturbcast/src/perturbcast",
    "libs/perturbcast-client/src/perturbcast_client",
    "services/prediction/src/prediction_service",
    "services/torchserve/src/torchserve_backend",
)
PLANTED = [
    ("layers", "perturbcast/metrics/descriptor.py", "import perturbcast.training.fit"),
    ("layers", "perturbcast/schema.py", "import perturbcast.catalog"),
    ("layers", "perturbcast/graphs/gene_graph.py", "import perturbcast.models.interface"),
    ("layers", "perturbcast/nn/descent.py", "import perturbcast.models.interface"),
    ("torch-free", "perturbcast/evaluation/scoring.py", "import torch"),
    ("torch-free", "perturbcast/metrics/descriptor.py", "import pytorch_lightning"),
    ("torch-free", "perturbcast/graphs/coexpression.py", "import torch"),
    ("layers", "perturbcast/encoders/encoder.py", "import perturbcast.models.interface"),
    ("mlflow", "perturbcast/encoders/encoder.py", "import mlflow"),
    ("mlflow", "perturbcast/stages/train.py", "import mlflow"),
    ("grpc", "perturbcast/stages/serve.py", "import grpc"),
    ("grpc", "perturbcast/stages/train.py", "import dvc.api"),
    ("two-distributions", "perturbcast_client/codec.py", "import perturbcast.schema"),
    ("two-distributions", "perturbcast/stages/serve.py", "import perturbcast_client"),
    ("client-is-light", "perturbcast_client/messages.py", "import pandas"),
    ("wire", "perturbcast_client/client.py", "from perturbcast_client.wire.v1 import prediction_pb2"),
    ("engine", "prediction_service/engine.py", "import grpc"),
    ("servicer", "prediction_service/servicer.py", "import perturbcast_client.client"),
    ("backend", "prediction_service/server.py", "import torchserve_backend.supervisor"),
    ("paths-in-stages", "perturbcast/training/fit.py", "import yaml"),
]


def lint(source: Path, config: Path, contract: str | None = None) -> subprocess.CompletedProcess[str]:
    command = [str(Path(sys.executable).with_name("lint-imports")), "--config", str(config), "--no-cache"]
    if contract:
        command += ["--contract", contract]
    environment = {**os.environ, "PYTHONPATH": str(source)}
    return subprocess.run(command, capture_output=True, text=True, env=environment, cwd=source, check=False)


@pytest.fixture
def copy(root, tmp_path):
    """The three source trees in one folder that stands before the installed ones."""
    for source in SOURCES:
        shutil.copytree(root / source, tmp_path / Path(source).name, ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path


def test_every_contract_holds(root, copy):
    done = lint(copy, root / "pyproject.toml")
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(("contract", "file", "line"), PLANTED, ids=[f"{c}: {line}" for c, _, line in PLANTED])
def test_a_planted_violation_is_found(root, copy, contract, file, line):
    path = copy / file
    path.write_text(path.read_text() + f"\n\ndef planted() -> None:\n    {line}\n")
    done = lint(copy, root / "pyproject.toml", contract)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "BROKEN" in done.stdout


def sideways(graph: grimp.ImportGraph, folder: str) -> list[tuple[str, str]]:
    """Imports from one plugin of a folder to another."""
    plugins = {f"perturbcast.{folder}.{name}" for name in catalog.names(folder)}
    return [(a, b) for a in plugins for b in graph.find_modules_directly_imported_by(a) & plugins]


@pytest.mark.parametrize("folder", ["datasets", "encoders", "graphs", "metrics", "models", "splits"])
def test_plugins_of_a_folder_do_not_import_one_another(folder):
    graph = grimp.build_graph("perturbcast", cache_dir=None)
    assert sideways(graph, folder) == []
    one, two = sorted(f"perturbcast.{folder}.{name}" for name in catalog.names(folder))[:2]
    graph.add_import(importer=one, imported=two)
    assert sideways(graph, folder) == [(one, two)], "a planted import is found"
