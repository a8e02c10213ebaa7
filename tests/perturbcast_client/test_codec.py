"""Messages survive the wire whole; broken ones are refused by field."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import scipy.sparse as sp

from perturbcast_client import (
    Condition,
    ControlCells,
    ModelInfo,
    ModelRef,
    Prediction,
    PredictRequest,
    SeenInTraining,
    Target,
    Wanted,
    codec,
)
from perturbcast_client.messages import gene_list_hash
from perturbcast_client.wire.v1 import prediction_pb2 as pb

DTYPES = ["float32", "float64", "int32", "int64", "bool"]
ARRAYS = ("delta", "variance", "lower", "upper", "expression")


def through(method_side, message):
    """Over the wire: to bytes and back."""
    return codec.parse(method_side, message.SerializeToString())


def make_condition():
    return Condition((Target("D", dose=0.5, kind="drug"),), "e", covariates=(("time", "6 h"), ("donor", "1015")))


def make_prediction(**fields):
    numbers = np.random.default_rng(0).standard_normal((5, 2, 3))
    numbers[2, 0, 0] = -np.inf  # an interval end where calibration had too few conditions
    base = {
        "model": "m",
        "version": "2",
        "fingerprint": "f",
        "genes_sha256": "g",
        "conditions": (Condition.from_label("B+A", "c"), make_condition()),
        "seen": (
            SeenInTraining(perturbation=True, context=False, pair=False),
            SeenInTraining(perturbation=False, context=True, pair=False),
        ),
        "notes": (("one", "two"), ()),
        "controls": ("request", "stored"),
        "interval_level": 0.9,
        "top_genes": ((("A", -1.5), ("B", 0.25)), (("C", 0.1), ("A", 0.0))),
        "request_id": "r",
        "timings_ms": {"model": 1.5},
        **dict(zip(ARRAYS, numbers, strict=True)),
        "cells": numbers[:2, :, :].swapaxes(0, 1).astype(np.float32),
        "ood_score": np.array([0.25, np.pi]),
    }
    return Prediction(**{**base, **fields})


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(), (0,), (3,), (2, 3), (2, 0, 4)], ids=str)
def test_tensors_come_back_equal(dtype, shape):
    array = np.random.default_rng(1).integers(0, 2 if dtype == "bool" else 9, size=shape).astype(dtype)
    back = codec.decode_tensor(codec.encode_tensor(array))
    np.testing.assert_array_equal(back, array, strict=True)
    assert not back.flags.writeable


def test_doubles_come_back_to_the_last_bit():
    array = np.array([0.1, -0.0, np.inf, np.nan, 5e-324, np.pi])
    assert codec.decode_tensor(codec.encode_tensor(array)).tobytes() == array.tobytes()


def test_bytes_are_little_endian_and_row_major():
    array = np.array([[1, 2], [3, 4]], dtype=np.int32)
    expected = bytes([1, 0, 0, 0, 2, 0, 0, 0, 3, 0, 0, 0, 4, 0, 0, 0])
    for layout in (array, np.asfortranarray(array), array.astype(">i4"), np.repeat(array, 2, axis=1)[:, ::2]):
        tensor = codec.encode_tensor(layout)
        assert (tensor.data, list(tensor.shape), tensor.dtype) == (expected, [2, 2], pb.Tensor.INT32)


def test_decoding_a_tensor_copies_nothing():
    tensor = pb.Tensor(dtype=pb.Tensor.FLOAT64, shape=[2], data=np.array([1.0, 2.0]).tobytes())
    assert not codec.decode_tensor(tensor).flags.owndata


@pytest.mark.parametrize("dtype", ["float16", "complex64", "uint8", "<U3", "object"])
def test_other_dtypes_do_not_travel(dtype):
    with pytest.raises(ValueError, match="dtype: tensors are float32, float64, int32, int64, bool; got"):
        codec.encode_tensor(np.zeros(2, dtype=dtype))


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        pytest.param({"dtype": pb.Tensor.DTYPE_UNSPECIFIED}, "dtype: .*got DTYPE_UNSPECIFIED", id="unspecified"),
        pytest.param({"dtype": 99}, "dtype: .*got 99", id="unknown"),
        pytest.param({"dtype": pb.Tensor.INT64}, "dtype: one of FLOAT32; got INT64", id="not-allowed-here"),
        pytest.param({"shape": [6]}, r"shape: 2 axes .*got \[6\]", id="axes"),
        pytest.param({"shape": [-2, -3]}, r"shape: .*got \[-2, -3\]", id="negative"),
        pytest.param({"shape": [2, 4]}, "data: .*is 32 bytes; got 24", id="too-short"),
        pytest.param({"shape": [2, 2]}, "data: .*is 16 bytes; got 24", id="too-long"),
        pytest.param({"shape": [2**62, 2**62]}, "data: .*bytes; got 24", id="overflowing"),
        pytest.param({"data": b""}, "data: .*is 24 bytes; got 0", id="empty"),
    ],
)
def test_broken_tensors_are_refused(fields, says):
    good = {"dtype": pb.Tensor.FLOAT32, "shape": [2, 3], "data": b"\0" * 24}
    codec.decode_tensor(pb.Tensor(**good), dtypes=(pb.Tensor.FLOAT32,), ndim=2)
    with pytest.raises(ValueError, match=f"^{says}"):
        codec.decode_tensor(pb.Tensor(**{**good, **fields}), dtypes=(pb.Tensor.FLOAT32,), ndim=2)


def test_a_bool_is_zero_or_one():
    with pytest.raises(ValueError, match="data: a BOOL is one byte, 0 or 1"):
        codec.decode_tensor(pb.Tensor(dtype=pb.Tensor.BOOL, shape=[2], data=b"\1\2"))


def test_requests_come_back_equal():
    cells = np.random.default_rng(2).random((4, 2), dtype=np.float32)
    request = PredictRequest(
        model=ModelRef("m", alias="champion"),
        conditions=(Condition.from_label("B+A", "c"), make_condition()),
        controls=(ControlCells(context="e", expression=cells), ControlCells.of("c", sp.csr_matrix(cells))),
        genes=("X", "Y"),
        genes_sha256=gene_list_hash(("X", "Y")),
        wanted=Wanted(variance=True, interval_level=0.9, expression=True, top_genes=3, cells=5),
        request_id="r",
        seed=2**64 - 1,
    )
    back = codec.decode_request(through(pb.PredictRequest, codec.encode_request(request)))
    dense, sparse = back.controls
    np.testing.assert_array_equal(dense.expression, cells, strict=True)
    assert (dense.context, sparse.context) == ("e", "c")
    for name in ("indptr", "indices", "data", "shape"):
        np.testing.assert_array_equal(getattr(sparse.expression, name), getattr(sp.csr_matrix(cells), name))
    for field in dataclasses.fields(PredictRequest):
        if field.name != "controls":
            assert getattr(back, field.name) == getattr(request, field.name), field.name


@pytest.mark.parametrize("ref", [ModelRef("m"), ModelRef("m", version="3"), ModelRef("m", alias="a")], ids=str)
def test_a_model_reference_comes_back_equal(ref):
    message = codec.encode_get_model(ref, include_genes=True)
    assert codec.decode_get_model(through(pb.GetModelRequest, message)) == (ref, True)


def test_predictions_come_back_equal():
    prediction = make_prediction()
    back = codec.decode_prediction(codec.parse(pb.PredictResponse, codec.encode_prediction(prediction)))
    for field in dataclasses.fields(Prediction):
        one, other = getattr(prediction, field.name), getattr(back, field.name)
        if field.name in ARRAYS or field.name in ("cells", "ood_score"):
            assert one.tobytes() == other.tobytes(), field.name
        else:
            assert one == other, field.name


@pytest.mark.parametrize("genes", [0, 1, 15, 16, 20_000])  # data of 0 bytes to more than two varint bytes can count
def test_tensors_stand_in_the_reply_as_protobuf_writes_them(genes):
    values = np.random.default_rng(0).standard_normal((genes, 1)).T  # not row-major in memory
    fields = {**dict.fromkeys(("variance", "lower", "upper", "expression", "cells")), "delta": values[[0, 0]]}
    reply = codec.encode_prediction(make_prediction(**fields))
    message = codec.parse(pb.PredictResponse, reply)
    assert message.delta == codec.encode_tensor(values[[0, 0]])
    assert 0 <= len(reply) - message.ByteSize() < 8 + 2, "up to 7 bytes that align, 2 of the tag of empty data"


@pytest.mark.parametrize("length", [1, 100, 300])  # of a name: its size takes one byte or two, and so does the row's
@pytest.mark.parametrize("targets", [{}, {"dose": 0.5}, {"kind": "CRISPRi"}], ids=["plain", "dose", "kind"])
@pytest.mark.parametrize("covariates", [(), (("donor", "1015"),)], ids=["bare", "covariates"])
def test_conditions_stand_in_the_reply_as_protobuf_writes_them(length, targets, covariates):
    asked = Condition(targets=(Target("é" * length, **targets),), context="c" * length, covariates=covariates)
    message = codec.parse(pb.PredictResponse, codec.encode_prediction(make_prediction(conditions=(asked,) * 2)))
    assert list(message.conditions) == [
        pb.ConditionPrediction(
            condition=codec.encode_request(PredictRequest(model=ModelRef("m"), conditions=(asked,))).conditions[0],
            seen_in_training=pb.SeenInTraining(perturbation=i == 0, context=i == 1),
            notes=("one", "two") if i == 0 else (),
            top_genes=[pb.TopGene(gene=gene, delta=delta) for gene, delta in make_prediction().top_genes[i]],
            controls=(pb.CONTROL_SOURCE_REQUEST, pb.CONTROL_SOURCE_STORED)[i],
            ood_score=(0.25, np.pi)[i],
        )
        for i in range(2)
    ]


@pytest.mark.parametrize(("length", "kept"), [(10, True), (100, False)])
def test_a_condition_that_comes_again_is_the_one_that_came_before_unless_it_is_long(length, kept):
    """What is kept has a bound: a caller could fill the memory with names of megabytes."""
    asked = PredictRequest(model=ModelRef("m"), conditions=(Condition.from_label("A" * length, "c" * length),))
    first, second = (codec.decode_request(codec.encode_request(asked)).conditions[0] for _ in range(2))
    assert first == second == asked.conditions[0]
    assert (first is second) is kept


def assert_equal(one, other):
    for field in dataclasses.fields(Prediction):
        left, right = getattr(one, field.name), getattr(other, field.name)
        if isinstance(left, np.ndarray):
            np.testing.assert_array_equal(left, right, strict=True)
        else:
            assert left == right or repr(left) == repr(right), field.name  # a NaN is not equal to itself


def test_arrays_of_a_reply_lie_in_its_bytes():
    prediction = make_prediction()
    reply = codec.encode_prediction(prediction)
    back = codec.read_prediction(reply)
    assert_equal(back, prediction)
    for name in (*ARRAYS, "cells"):
        array = getattr(back, name)
        assert np.shares_memory(array, np.frombuffer(reply, np.uint8)), name
        assert array.flags.aligned
        assert not array.flags.writeable


def test_a_reply_that_protobuf_wrote_reads_the_same():
    prediction = make_prediction()
    message = codec.parse(pb.PredictResponse, codec.encode_prediction(prediction))
    for padding in range(8):  # the data of some are not aligned
        message.request_id = "r" * padding
        back = codec.read_prediction(message.SerializeToString())
        assert_equal(back, dataclasses.replace(prediction, request_id="r" * padding))
        assert all(getattr(back, name).flags.aligned for name in ARRAYS)
        assert not any(getattr(back, name).flags.writeable for name in ARRAYS)


def test_a_broken_reply_is_read_or_refused_as_protobuf_does():
    def outcome(read):
        try:
            return read()
        except ValueError:
            return None

    rng = np.random.default_rng(0)
    whole = codec.encode_prediction(make_prediction())
    replies = [whole[:at] for at in range(0, len(whole), 3)]
    replies += [whole + pb.PredictResponse(delta=pb.Tensor(shape=[1])).SerializeToString(), whole + whole]
    for _ in range(1000):
        changed = bytearray(whole)
        changed[rng.integers(len(whole))] ^= 1 << rng.integers(8)
        replies.append(bytes(changed))
    read = 0
    for reply in replies:
        ours = outcome(lambda: codec.read_prediction(reply))  # noqa: B023  # called here and now
        plain = outcome(lambda: codec.decode_prediction(codec.parse(pb.PredictResponse, reply)))  # noqa: B023
        assert (ours is None) == (plain is None), reply
        if ours is not None:
            assert_equal(ours, plain)
            read += 1
    assert 200 < read < len(replies)


def test_what_was_not_asked_stays_absent():
    bare = make_prediction(
        **dict.fromkeys(("variance", "lower", "upper", "expression", "cells", "ood_score")),
        **{"top_genes": (), "interval_level": 0.0, "timings_ms": {}},
    )
    back = codec.decode_prediction(codec.parse(pb.PredictResponse, codec.encode_prediction(bare)))
    assert back.variance is back.lower is back.upper is back.expression is back.cells is back.ood_score is None
    assert (back.top_genes, back.interval_level) == ((), 0.0)


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        pytest.param(lambda m: m.ClearField("delta"), "delta: every reply holds the mean delta", id="no-delta"),
        pytest.param(lambda m: m.variance.shape.append(1), "variance.shape: 2 axes", id="axes"),
        pytest.param(lambda m: setattr(m.lower, "dtype", pb.Tensor.FLOAT32), "lower.dtype: one of FLOAT64", id="dtype"),
        pytest.param(
            lambda m: m.conditions[1].ClearField("ood_score"), "conditions: every one has an ood_score", id="score"
        ),
        pytest.param(lambda m: m.cells.shape.pop(), "cells.shape: 3 axes", id="cells"),
        pytest.param(lambda m: m.conditions.pop(), "delta: .* 1 conditions; got shape", id="rows"),
        pytest.param(
            lambda m: setattr(m.conditions[1], "controls", 0), r"conditions\[1\].controls: one of stored", id="source"
        ),
        pytest.param(
            lambda m: setattr(m.conditions[0].condition, "context", ""), r"conditions\[0\].context: ", id="context"
        ),
    ],
)
def test_a_reply_that_breaks_the_contract_is_refused(spoil, says):
    message = codec.parse(pb.PredictResponse, codec.encode_prediction(make_prediction()))
    spoil(message)
    with pytest.raises(ValueError, match=f"^{says}"):
        codec.decode_prediction(message)


def test_models_come_back_equal():
    values = {"gene_count": 2, "validation_metrics": {"rmse": 0.1, "mae": 0.2}, "interval_levels": (0.5, 0.9)}
    values["stored_cells"] = {"contexts 1": 100, "contexts 2": 7}
    listed = ("aliases", "genes", "contexts", "perturbations", "inputs")
    values |= {name: (f"{name} 1", f"{name} 2") for name in listed}
    texts = {field.name: field.name for field in dataclasses.fields(ModelInfo) if field.name not in values}
    model = ModelInfo(**values, **texts)
    assert codec.decode_model(through(pb.GetModelResponse, codec.encode_model(model, include_genes=True))) == model
    without = codec.decode_model(through(pb.GetModelResponse, codec.encode_model(model, include_genes=False)))
    assert without == dataclasses.replace(model, genes=())
    short = codec.decode_models(through(pb.ListModelsResponse, codec.encode_models([model, model])))
    assert short == (dataclasses.replace(model, genes=(), contexts=(), perturbations=(), stored_cells={}),) * 2


@pytest.mark.parametrize("data", [b"\xff", b"\x0a\x05ab", b"\x3a\x01\xff"], ids=["tag", "length", "utf8"])
def test_bytes_that_are_no_message_are_refused(data):
    with pytest.raises(
        ValueError, match=f"PredictRequest: the bytes are a protobuf message; these {len(data)} are not"
    ):
        codec.parse(pb.PredictRequest, data)


def test_methods_are_those_of_the_proto():
    service = pb.DESCRIPTOR.services_by_name["PredictionService"]
    ours = {m.name: m for m in (codec.LIST_MODELS, codec.GET_MODEL, codec.PREDICT, codec.PREDICT_STREAM)}
    assert set(ours) == {method.name for method in service.methods}
    for method in service.methods:
        assert ours[method.name].request.DESCRIPTOR is method.input_type
        assert ours[method.name].response.DESCRIPTOR is method.output_type
    assert codec.PREDICT.path == "/perturbcast.prediction.v1.PredictionService/Predict"
