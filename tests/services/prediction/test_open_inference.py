"""The Open Inference Protocol v2: a stock client lists and infers, and what is malformed is refused by field."""

from __future__ import annotations

import json
import os
import struct
import subprocess
import sys
from pathlib import Path

import grpc
import numpy as np
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from perturbcast import schema
from prediction_service.wire import open_inference_pb2 as pb

GENES = ("ISG15", "STAT1", "CD3D", "LYZ")
SERVICE = "/inference.GRPCInferenceService"
CACHE = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "perturbcast-tests"
STOCK = """
import json, sys
import numpy as np
import tritonclient.grpc as triton

client = triton.InferenceServerClient(sys.argv[1])
labels = triton.InferInput("perturbation", [2], "BYTES")
labels.set_data_from_numpy(np.array([b"IFNB", b"B+A"], dtype=object))
contexts = triton.InferInput("context", [2], "BYTES")
contexts.set_data_from_numpy(np.array(["B cells", "B cells"], dtype=object))
control = triton.InferInput("control", [1, 4], "FP32")
control.set_data_from_numpy(np.array([[8, 16, 24, 32]], dtype=np.float32))
outputs = [triton.InferRequestedOutput(name) for name in ("delta", "lower", "seen")]
got = client.infer("known", [labels, contexts, control], outputs=outputs, request_id="mine",
                   parameters={"interval_level": 0.5})
metadata = client.get_model_metadata("known")
try:
    client.infer("other", [labels, contexts])
    refused = ""
except triton.InferenceServerException as error:
    refused = error.status()
print(json.dumps({
    "live": client.is_server_live(), "ready": client.is_server_ready(), "server": client.get_server_metadata().name,
    "model": [client.is_model_ready("known"), client.is_model_ready("known", "3"), client.is_model_ready("known", "4")],
    "versions": list(metadata.versions), "inputs": {i.name: [i.datatype, *i.shape] for i in metadata.inputs},
    "outputs": [o.name for o in metadata.outputs], "id": got.get_response().id, "refused": refused,
    **{name: got.as_numpy(name).tolist() for name in ("delta", "lower", "seen")},
}))
"""


@pytest.fixture(scope="module")
def stock_python():
    """An environment with the stock Triton client alone, made once."""
    python = CACHE / "tritonclient" / "bin" / "python"
    there = "import tritonclient.grpc"
    if not python.exists() or subprocess.run([python, "-c", there], capture_output=True, check=False).returncode:
        subprocess.run([sys.executable, "-m", "venv", CACHE / "tritonclient"], check=True, capture_output=True)
        made = subprocess.run(
            [python, "-m", "pip", "install", "--quiet", "tritonclient[grpc]>=2.50"],
            capture_output=True,
            text=True,
            check=False,
            timeout=600,
        )
        if made.returncode:
            pytest.skip(f"tritonclient[grpc] cannot be installed from the package index: {made.stderr[-200:]}")
    return python


@pytest.mark.slow
def test_the_stock_client_is_permissive(stock_python, gpl_environment):
    assert gpl_environment(stock_python.parents[1]) == []


@pytest.mark.slow
def test_a_stock_triton_client_lists_metadata_and_infers(service, stock_python, known):
    done = subprocess.run(
        [stock_python, "-c", STOCK, service.address], capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stderr
    got = json.loads(done.stdout)
    assert (got["live"], got["ready"], got["server"]) == (True, True, "perturbcast-prediction")
    assert got["model"] == [True, True, False]
    assert got["versions"] == ["3"]
    assert got["inputs"] == {
        "perturbation": ["BYTES", -1],
        "context": ["BYTES", -1],
        "control": ["FP32", -1, 4],
    }
    assert got["outputs"] == ["delta", "variance", "lower", "upper", "expression", "seen"]
    assert got["id"] == "mine"
    assert got["refused"] == "StatusCode.NOT_FOUND"
    direct = known.predict(
        [schema.Condition("IFNB", "B cells"), schema.Condition("A+B", "B cells")],
        control_means={"B cells": np.array([8.0, 16, 24, 32])},
    )
    assert got["delta"] == direct.delta.tolist()
    assert got["lower"] == (direct.delta - 0.125).tolist()
    assert got["seen"] == direct.seen.tolist()


def make_tensor(name="perturbation", datatype="BYTES", shape=(1,), **fields):
    return pb.ModelInferRequest.InferInputTensor(name=name, datatype=datatype, shape=shape, **fields)


def text(*values):
    return b"".join(struct.pack("<I", len(value.encode())) + value.encode() for value in values)


def make_request(*, inputs=None, raw=None, outputs=(), name="known", **fields):
    inputs = [make_tensor(), make_tensor("context")] if inputs is None else inputs
    return pb.ModelInferRequest(
        model_name=name,
        inputs=inputs,
        raw_input_contents=[text("IFNB"), text("B cells")] if raw is None else raw,
        outputs=[{"name": output} if isinstance(output, str) else output for output in outputs],
        **fields,
    )


@pytest.fixture
def infer(service):
    with grpc.insecure_channel(service.address) as channel:

        def infer(message):
            data = message if isinstance(message, bytes) else message.SerializeToString()
            send = channel.unary_unary(f"{SERVICE}/ModelInfer", response_deserializer=pb.ModelInferResponse.FromString)
            return send(data, timeout=20)

        yield infer


def test_typed_contents_mean_what_raw_ones_mean(infer):
    contents = pb.InferTensorContents
    typed = make_request(
        inputs=[
            make_tensor(contents=contents(bytes_contents=[b"IFNB"])),
            make_tensor("context", contents=contents(bytes_contents=[b"T cells"])),
            make_tensor("control", "FP64", (2, 4), contents=contents(fp64_contents=range(8))),
        ],
        raw=[],
        outputs=("expression", "delta"),
    )
    raw = make_request(
        inputs=[make_tensor(), make_tensor("context"), make_tensor("control", "FP32", (2, 4))],
        raw=[text("IFNB"), text("T cells"), np.arange(8, dtype="<f4").tobytes()],
        outputs=("expression", "delta"),
    )
    one, two = infer(typed), infer(raw)
    assert one.raw_output_contents == two.raw_output_contents
    assert [output.name for output in one.outputs] == ["expression", "delta"]
    expression, delta = (np.frombuffer(data) for data in one.raw_output_contents)
    np.testing.assert_array_equal(expression - delta, [2, 3, 4, 5])
    assert one.parameters["fingerprint"].string_param == "f" * 64


CONTROL = [make_tensor(), make_tensor("context"), make_tensor("control", "FP32", (1, 4))]
HEAD = [text("IFNB"), text("B cells")]


@pytest.mark.parametrize(
    ("message", "says"),
    [
        pytest.param(b"\xff\xff", "ModelInferRequest: the bytes are a protobuf message", id="no-protobuf"),
        pytest.param(make_request(name=""), "model_name: a name is not empty", id="no-model"),
        pytest.param(make_request(inputs=[make_tensor()], raw=[text("A")]), "context is missing", id="no-context"),
        pytest.param(make_request(raw=[text("A")]), "raw_input_contents: .*got 1 for 2 inputs", id="raw-count"),
        pytest.param(
            make_request(inputs=[make_tensor(), make_tensor()]), r"inputs\[1\].name: .*at most once", id="twice"
        ),
        pytest.param(make_request(inputs=[make_tensor("x"), make_tensor()]), r"inputs\[0\].name: .*'x'", id="unknown"),
        pytest.param(
            make_request(inputs=[make_tensor(datatype="FP32"), make_tensor("context")]),
            r"inputs\[0\].datatype: perturbation is BYTES; got 'FP32'",
            id="datatype",
        ),
        pytest.param(
            make_request(inputs=[make_tensor(shape=(1, 1)), make_tensor("context")]), r"inputs\[0\].shape", id="axes"
        ),
        pytest.param(
            make_request(inputs=[make_tensor(shape=(2,)), make_tensor("context")]),
            r"inputs\[0\].contents: 2 strings by shape; got 1",
            id="strings",
        ),
        pytest.param(make_request(raw=[b"\1\0", HEAD[1]]), r"inputs\[0\].contents: .*end in one", id="length-cut"),
        pytest.param(
            make_request(raw=[b"\xff\xff\xff\xffab", HEAD[1]]), r"as long as said, 4294967295", id="string-cut"
        ),
        pytest.param(make_request(raw=[b"\1\0\0\0\xff", HEAD[1]]), "strings are UTF-8", id="not-utf8"),
        pytest.param(
            make_request(inputs=CONTROL, raw=[*HEAD, b"\0" * 15]), r"\[1, 4\] of FP32; got 15 bytes", id="bytes"
        ),
        pytest.param(make_request(inputs=CONTROL, raw=[*HEAD, np.full(4, np.nan, "<f4").tobytes()]), "4 NaN", id="nan"),
        pytest.param(
            make_request(inputs=[*CONTROL[:2], make_tensor("control", "FP32", (1, 2))], raw=[*HEAD, b"\0" * 8]),
            "one column per gene of the model, 4; got 2",
            id="genes",
        ),
        pytest.param(make_request(outputs=["x"]), "outputs: .*got 'x'", id="output"),
        pytest.param(make_request(outputs=["delta", "delta"]), "outputs: .*at most once", id="output-twice"),
        pytest.param(
            make_request(outputs=["lower"], parameters={"interval_level": pb.InferParameter(double_param=0.8)}),
            "wanted.interval_level: .*offered: 0.5, 0.9",
            id="level",
        ),
        pytest.param(
            make_request(outputs=["lower"], parameters={"interval_level": pb.InferParameter(string_param="a")}),
            "interval_level is a double_param",
            id="level-type",
        ),
        pytest.param(
            make_request(outputs=["lower"], parameters={"interval_level": pb.InferParameter(double_param=0.0)}),
            "parameters: interval_level lies between 0 and 1; got 0. ",
            id="level-of-nothing",
        ),
        pytest.param(
            make_request(parameters={"interval_level": pb.InferParameter(double_param=0.5)}),
            "parameters: interval_level .*asks for delta. Name lower or upper",
            id="level-without-outputs",
        ),
        pytest.param(
            make_request(
                outputs=["variance", "seen"], parameters={"interval_level": pb.InferParameter(double_param=0.5)}
            ),
            "parameters: interval_level .*asks for variance, seen. Name lower or upper",
            id="level-of-other-outputs",
        ),
        pytest.param(
            make_request(parameters={"sequence_id": pb.InferParameter(int64_param=3)}),
            "parameters: .*interval_level; got 'sequence_id'",
            id="parameter",
        ),
        pytest.param(
            make_request(
                outputs=[{"name": "delta", "parameters": {"classification": pb.InferParameter(int64_param=3)}}]
            ),
            r"outputs\[0\].parameters: .*none; got 'classification'",
            id="parameter-of-an-output",
        ),
        pytest.param(
            make_request(
                inputs=[
                    make_tensor(parameters={"shared_memory_region": pb.InferParameter(string_param="a")}),
                    make_tensor("context"),
                ]
            ),
            r"inputs\[0\].parameters: .*none; got 'shared_memory_region'",
            id="parameter-of-an-input",
        ),
    ],
)
def test_a_malformed_request_is_an_invalid_argument_that_names_the_field(infer, message, says):
    with pytest.raises(grpc.RpcError, match=says) as refused:
        infer(message)
    assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT


@pytest.mark.parametrize(
    ("message", "status"),
    [
        pytest.param(make_request(name="other"), grpc.StatusCode.NOT_FOUND, id="model"),
        pytest.param(make_request(model_version="9"), grpc.StatusCode.NOT_FOUND, id="version"),
        pytest.param(
            make_request(raw=[text("IMPOSSIBLE"), text("B cells")]), grpc.StatusCode.FAILED_PRECONDITION, id="target"
        ),
        pytest.param(
            make_request(raw=[text("A"), text("T cells")]), grpc.StatusCode.FAILED_PRECONDITION, id="no-controls"
        ),
        pytest.param(
            make_request(
                inputs=[make_tensor(shape=(101,)), make_tensor("context", shape=(101,))],
                raw=[text(*["A"] * 101), text(*["B cells"] * 101)],
            ),
            grpc.StatusCode.RESOURCE_EXHAUSTED,
            id="conditions",
        ),
    ],
)
def test_refusals_have_the_status_of_the_other_protocol(infer, message, status):
    with pytest.raises(grpc.RpcError) as refused:
        infer(message)
    assert refused.value.code() is status


def test_health_knows_the_protocol(service):
    with grpc.insecure_channel(service.address) as channel:
        request = health_pb2.HealthCheckRequest(service=SERVICE[1:])
        reply = health_pb2_grpc.HealthStub(channel).Check(request, timeout=10)
    assert reply.status == health_pb2.HealthCheckResponse.SERVING
