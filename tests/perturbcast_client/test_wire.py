"""The committed wire code is what the generator makes of the proto."""

from __future__ import annotations

import tomllib

import pytest

PROTO = "perturbcast_client/wire/v1/prediction.proto"
GENERATED = ("prediction_pb2.py", "prediction_pb2.pyi")


@pytest.mark.slow
def test_generating_again_gives_the_committed_bytes(root, make_environment, tmp_path):
    client = root / "libs" / "perturbcast-client"
    environment = make_environment()
    environment.install(*tomllib.loads((client / "pyproject.toml").read_text())["dependency-groups"]["wire"])
    made = tmp_path / "made"
    made.mkdir()
    protos = root / "protos"
    environment.run(
        "-m", "grpc_tools.protoc", "-I", protos, f"--python_out={made}", f"--pyi_out={made}", protos / PROTO
    )
    folder = client / "src" / "perturbcast_client" / "wire" / "v1"
    for name in GENERATED:
        again = (made / "perturbcast_client" / "wire" / "v1" / name).read_bytes()
        assert again == (folder / name).read_bytes(), f"{name} is stale: run 'make protos'"
    assert {path.name for path in folder.iterdir() if path.is_file()} == {*GENERATED, "__init__.py"}
