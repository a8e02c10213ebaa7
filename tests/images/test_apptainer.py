"""The three SIF files: built, labelled, without what built them; a served champion that the harness's client asks."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import time

import numpy as np
import pytest
from tests.contracts.test_licences import ALLOWED, Planted
from tests.images.conftest import IMAGES, keep_figures, run

from perturbcast import schema
from perturbcast.training import load_model

pytestmark = [
    pytest.mark.slow,
    # MLflow and SQLAlchemy deprecate among themselves; nothing of ours can mend it
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::ResourceWarning"),
]

LICENCES = """
import json
from importlib.metadata import distributions
print(json.dumps([
    {"Name": m["Name"], "License_Expression": m.get("License-Expression"), "License": m.get("License"),
     "Classifier": m.get_all("Classifier")} for m in (d.metadata for d in distributions())
]))
"""
CLIENT = {"grpcio", "numpy", "perturbcast-client", "protobuf", "typing_extensions"}


@pytest.mark.parametrize("name", IMAGES)
def test_an_image_passes_its_own_test_and_says_what_it_is(apptainer, sif, root, name):
    run("apptainer", "test", sif / f"{name}.sif", env=apptainer)
    said = json.loads(run("apptainer", "inspect", "--json", "--labels", sif / f"{name}.sif", env=apptainer))
    labels = said["data"]["attributes"]["labels"]
    assert labels["org.opencontainers.image.title"] == f"perturbcast-{name}"
    assert labels["org.opencontainers.image.licenses"] == "Apache-2.0"
    assert labels["org.opencontainers.image.version"].count(".") == 2
    commit = labels["org.opencontainers.image.revision"].partition("-")[0]
    run("git", "cat-file", "-e", commit, cwd=root)


@pytest.mark.parametrize("name", IMAGES)
def test_an_image_holds_no_gpl_package_and_nothing_of_its_build(inside, gpl_distributions, name):
    installed = json.loads(inside(name, "python", "-c", LICENCES, options=["--cleanenv", "--no-home"]))
    found = gpl_distributions(
        [Planted(**{k: v for k, v in one.items() if k != "Name"}, Name=one["Name"]) for one in installed]
    )
    # the image that runs the pipeline has DVC, which runs beside us
    assert set(map(str.lower, found)) <= (set(ALLOWED) if name == "train" else set())
    names = {one["Name"] for one in installed}
    assert not names & {"pip", "setuptools"}
    if name == "harness":
        assert names == CLIENT
    left = inside(
        name, "sh", "-c", "ls -A /mnt; ls -d /src /opt/perturbcast/pip.conf 2>/dev/null || true", options=["--no-home"]
    )
    assert left == ""


def test_torch_is_in_the_image_that_trains_alone(inside):
    find = "from importlib.util import find_spec; print(find_spec('torch') is not None)"
    assert [inside(name, "python", "-c", find).strip() for name in IMAGES] == ["False", "False", "True"]


def free_port():
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        return held.getsockname()[1]


def test_the_champion_in_an_instance_answers_the_client_of_the_harness_image(
    apptainer, sif, inside, registered, tmp_path
):
    folder, (_, directory, _) = tmp_path, registered(kind="linear").folds[0]
    address = f"127.0.0.1:{free_port()}"
    name = f"perturbcast-test-{address.rpartition(':')[2]}"
    settings = apptainer | {"APPTAINERENV_MLFLOW_TRACKING_URI": f"sqlite:///{folder}/m.db"}
    words = ["--model", "models:/made@champion", "--port", address.rpartition(":")[2], "--watch", "0"]
    started = time.monotonic()
    run("apptainer", "instance", "start", "--bind", folder, sif / "prediction.sif", name, *words, env=settings)
    asked = apptainer | {"APPTAINERENV_PERTURBCAST_ADDRESS": address}
    health = ["apptainer", "exec", f"instance://{name}", "python", "/opt/perturbcast/health.py"]
    try:
        while True:
            said = subprocess.run(health, env={**os.environ, **asked}, capture_output=True, text=True, check=False)
            if said.returncode == 0:
                break
            assert time.monotonic() < started + 120, said.stderr
            time.sleep(0.2)
        seconds = time.monotonic() - started
        model = load_model(directory)
        context = next(iter(model.control_means))
        listed = inside("harness", "perturbcast-client", "models", "--address", address)
        assert "made" in listed
        inside(
            *("harness", "perturbcast-client", "predict", "made", "--condition", "G0", context),
            *("--address", address, "--out", folder / "answer.npz"),
            options=["--bind", folder],
        )
    finally:
        run("apptainer", "instance", "stop", name, env=apptainer)
    offline = model.predict([schema.Condition("G0", context)], control_means={})
    with np.load(folder / "answer.npz") as answer:
        assert answer["delta"].tobytes() == offline.delta.tobytes()
    keep_figures(sif, {"prediction_start_s": round(seconds, 2)})
