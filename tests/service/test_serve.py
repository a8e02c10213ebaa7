"""``perturbcast serve`` on a trained model in a process of its own: the same numbers as offline, and clear refusals."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from perturbcast import splits
from perturbcast.models.linear import Config
from perturbcast.stores import control_means
from perturbcast.training import fit, load_model, save_model
from perturbcast_client import Condition as Asked
from perturbcast_client import ResourceExhaustedError, UnansweredError, UnknownModelError, Wanted, connect

COMMAND = str(Path(sys.executable).with_name("perturbcast"))


@pytest.fixture(scope="module")
def data(make_data):
    return make_data(contexts=("a", "b", "c", "d"), perturbations=("G0", "G1", "G2", "G3", "G0+G1"))


@pytest.fixture(scope="module")
def split(data):
    return splits.make(data, "unseen_context", seed=1)[0]


@pytest.fixture(scope="module")
def directory(data, split, tmp_path_factory):
    folder = tmp_path_factory.mktemp("models") / "linear"
    save_model(fit(data, split, kind="linear", plugin="linear", config=Config(components=2), seed=0), folder)
    return folder


def refused(*words):
    done = subprocess.run([COMMAND, "serve", *map(str, words)], capture_output=True, text=True, check=False, timeout=60)
    assert "Traceback" not in done.stderr
    return done.returncode, done.stderr


def test_a_prediction_over_grpc_equals_the_offline_one(data, split, directory, serve_process):
    conditions = split.conditions["test"]
    inputs = control_means(data, among=split.parts["control_input"])
    offline = load_model(directory).predict(conditions, control_means={split.held_out: inputs[split.held_out]})
    held_out = data.subset(split.parts["control_input"])
    cells = held_out.x[np.flatnonzero(held_out.obs["context"].to_numpy() == split.held_out)].toarray()
    limit = ("--max-conditions", str(len(conditions)))
    with serve_process("--model", str(directory), *limit) as (process, address), connect(address) as client:
        asked = [Asked.from_label(c.perturbation, c.context) for c in conditions]
        controls = {split.held_out: cells}
        wanted = Wanted(variance=True, interval_level=0.9, expression=True)
        reply = client.predict("linear", asked, controls=controls, genes=data.genes, wanted=wanted)
        for name, array in (("delta", offline.delta), ("variance", offline.variance), ("expression", offline.mean)):
            np.testing.assert_allclose(getattr(reply, name), array, rtol=0, atol=1e-6)
        np.testing.assert_allclose(reply.upper - reply.delta, offline.intervals[0.9], atol=1e-6)
        assert reply.fingerprint == offline.model
        assert [[s.perturbation, s.context, s.pair] for s in reply.seen] == offline.seen.tolist()
        with pytest.raises(UnansweredError, match=f"'{split.held_out}' has none in the request and none stored"):
            client.predict("linear", asked)
        with pytest.raises(UnknownModelError, match="linear"):
            client.predict("linaer", asked)
        with pytest.raises(ResourceExhaustedError, match=f"at most {len(asked)} conditions on this server"):
            client.predict("linear", [*asked, asked[0]], controls=controls, genes=data.genes)
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0


def test_a_busy_port_is_one_error(directory):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        code, said = refused("--model", directory, "--port", taken.getsockname()[1])
    assert code == 1
    assert "busy" in said or "in use" in said


def test_a_half_written_model_is_refused(directory, tmp_path):
    half = tmp_path / "half"
    half.mkdir()
    (half / "config.json").write_bytes((directory / "config.json").read_bytes())
    code, said = refused("--model", half, "--port", 0)
    assert code == 1
    assert "half-written" in said


def test_what_cannot_be_served_is_a_usage_error(tmp_path):
    assert refused()[0] == 2
    assert refused("--model", tmp_path / "absent")[0] == 2
    code, said = refused("--model", "models:/champion")
    assert code == 2
    assert "models:/NAME@ALIAS" in said


def test_a_public_address_is_refused(directory):
    code, said = refused("--model", directory, "--host", "0.0.0.0", "--port", 0)
    assert code == 1
    assert "0.0.0.0" in said


def test_doctor_says_what_is_here():
    environment = {**os.environ, "COLUMNS": "200"}
    done = subprocess.run([COMMAND, "doctor"], capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stdout
    for word in ("perturbcast", "prediction service", "dataset kang2018"):
        assert word in done.stdout
