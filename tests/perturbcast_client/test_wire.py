"""The committed wire code is what the generator makes of the proto."""

from __future__ import annotations

import itertools
import re
import tomllib
from pathlib import Path

import pytest

SOURCES = {  # proto -> the source tree that its code is committed in
    "perturbcast_client/wire/v1/prediction.proto": "libs/perturbcast-client/src",
    "prediction_service/wire/open_inference.proto": "services/prediction/src",
    "torchserve_backend/wire/torchserve.proto": "services/torchserve/src",
}


@pytest.mark.slow
def test_generating_again_gives_the_committed_bytes(root, make_environment, gpl_environment, tmp_path):
    client = root / "libs" / "perturbcast-client"
    environment = make_environment()
    environment.install(*tomllib.loads((client / "pyproject.toml").read_text())["dependency-groups"]["wire"])
    assert gpl_environment(environment.python.parents[1]) == []
    protos = root / "protos"
    for proto, tree in SOURCES.items():
        made = tmp_path / proto.replace("/", "-")
        made.mkdir()
        environment.run(
            "-m", "grpc_tools.protoc", "-I", protos, f"--python_out={made}", f"--pyi_out={made}", protos / proto
        )
        again = {path.name: path.read_bytes() for path in made.rglob("*_pb2.py*")}
        folder = root / tree / Path(proto).parent
        committed = {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}
        committed.pop("__init__.py")
        assert committed == again, f"{proto}: run 'make protos'"


ENTRY = re.compile(r"^\s*(?:repeated |optional )?[\w.]+(?:<.*>)? (\w+) = \d+;|^\s*(rpc \w+)|^\s*([A-Z0-9_]+) = \d+;")


def test_every_field_and_method_says_what_it_is(root):
    """Whoever has the proto alone can write a client."""
    lines = (root / "protos/perturbcast_client/wire/v1/prediction.proto").read_text().splitlines()
    found, silent = 0, []
    for before, line in itertools.pairwise(lines):
        if ENTRY.match(line):
            found += 1
            if "//" not in line and not before.lstrip().startswith("//"):
                silent.append(line.strip())
    assert found > 80
    assert silent == []
