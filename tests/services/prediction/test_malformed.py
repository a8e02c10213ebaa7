"""Ten thousand malformed messages, to both sides of the codec and over the wire: refused, and nothing else happens.

Hypothesis draws them from the descriptors of the protos and by breaking the bytes of good ones; the profile of the
tests is derandomised, so that every run sends the same.
"""

from __future__ import annotations

import contextlib
import os
import resource
import socket
from concurrent import futures
from pathlib import Path

import grpc
import numpy as np
import pytest
from google.protobuf.descriptor import FieldDescriptor as Field
from hypothesis import given, settings
from hypothesis import strategies as st

from perturbcast.errors import UnanswerableError
from perturbcast_client import Condition, DefectError, calls, codec, connect
from perturbcast_client.testing import FAKE_MODEL, fake_prediction
from perturbcast_client.wire.v1 import prediction_pb2 as pb
from prediction_service import open_inference
from prediction_service.engine import InvalidRequestError, UnknownModelError
from prediction_service.limits import LimitError, Limits
from prediction_service.wire import open_inference_pb2 as oip

IFNB = Condition.from_label("IFNB", "B cells")
GENES = ("ISG15", "STAT1", "CD3D", "LYZ")
INFER = "/inference.GRPCInferenceService/ModelInfer"
# what the servicer maps to a status that is not INTERNAL
REFUSED = (InvalidRequestError, LimitError, UnknownModelError, UnanswerableError)
ALLOWED = {
    grpc.StatusCode.OK,
    grpc.StatusCode.INVALID_ARGUMENT,
    grpc.StatusCode.NOT_FOUND,
    grpc.StatusCode.FAILED_PRECONDITION,
    grpc.StatusCode.RESOURCE_EXHAUSTED,
}
GROWTH_MB = 32  # of the server from its first thousandth message to the last
PEAK_MB = 128  # of this process, in which hypothesis keeps a tree of all that it drew
BATCHES, BATCH = 100, 100  # on the wire


def memory_mb(pid):
    pages = Path(f"/proc/{pid}/statm").read_text().split()[1]
    return int(pages) * os.sysconf("SC_PAGE_SIZE") / 2**20


def make_requests():
    """Messages that are answered, to be broken: method, bytes."""
    tensor = codec.encode_tensor(np.ones((2, 4), dtype=np.float32))
    parts = {
        "indptr": codec.encode_tensor(np.array([0, 1, 2])),
        "indices": codec.encode_tensor(np.array([0, 3])),
        "data": codec.encode_tensor(np.ones(2, dtype=np.float32)),
    }
    condition = pb.Condition(targets=[pb.Target(name="IFNB")], context="B cells")
    base = {"model": pb.ModelRef(name="known"), "conditions": [condition], "genes": GENES}
    dense = pb.PredictRequest(controls=[pb.ControlCells(context="B cells", expression=tensor)], **base)
    sparse = pb.PredictRequest(
        controls=[pb.ControlCells(context="B cells", csr=pb.CsrMatrix(rows=2, columns=4, **parts))],
        wanted=pb.Wanted(cells=3, interval_level=0.9, top_genes=2, expression=True),
        **base,
    )
    infer = oip.ModelInferRequest(model_name="known", raw_input_contents=[b"\4\0\0\0IFNB", b"\7\0\0\0B cells"])
    infer.inputs.add(name="perturbation", datatype="BYTES", shape=[1])
    infer.inputs.add(name="context", datatype="BYTES", shape=[1])
    get = pb.GetModelRequest(model=pb.ModelRef(name="known"))
    made = ((codec.PREDICT.path, dense), (codec.PREDICT.path, sparse), (INFER, infer), (codec.GET_MODEL.path, get))
    return [(method, message.SerializeToString()) for method, message in made]


def make_replies():
    """Replies that a client reads, to be broken: the call that they answer, bytes."""
    asked = {"conditions": [IFNB, Condition.from_label("A+B", "c")]}
    wanted = codec.Wanted(variance=True, interval_level=0.9, expression=True, top_genes=2, cells=2)
    predict = calls.predict("fake", asked["conditions"], {"wanted": wanted})
    prediction = fake_prediction(codec.decode_request(predict.message), FAKE_MODEL)
    return [
        (predict, codec.encode_prediction(prediction)),
        (
            calls.get_model("fake", include_genes=True),
            codec.encode_model(FAKE_MODEL, include_genes=True).SerializeToString(),
        ),
        (calls.list_models(), codec.encode_models([FAKE_MODEL]).SerializeToString()),
    ]


REQUESTS, REPLIES = make_requests(), make_replies()


def edited(message, edits):
    """The message with bytes changed, cut, inserted, doubled or flipped: four bytes of ``edits`` say each."""
    data = bytearray(message)
    for kind, high, low, byte in zip(*[iter(edits)] * 4, strict=False):
        place = 256 * high + low
        at = place % (len(data) + 1)
        if kind % 5 == 0:
            data[at : at + 1] = bytes([byte])
        elif kind % 5 == 1:
            del data[at:]
        elif kind % 5 == 2:
            data[at:at] = bytes([byte]) * (1 + place % 9)
        elif kind % 5 == 3:
            data += data[at:][:4096]
        elif at < len(data):
            data[at] ^= 1 << byte % 8
    return bytes(data)


def broken(bases, drawn):
    """One of the bases, broken; one in sixteen times the drawn bytes themselves."""
    base, message = bases[drawn[0] % len(bases)]
    return base, drawn[1:] if drawn[0] < 16 else edited(message, drawn[1:])


DRAWN = 1 + 3 * 4  # bytes: which base, and up to three edits
EDITS = st.binary(min_size=5, max_size=DRAWN)  # one draw for a message: each further one would cost a millisecond
TEXTS = ("known", "IFNB", "B cells", "champion", *GENES, "", " ", "A+B", "IMPOSSIBLE", "\0", "é", "x" * 200)
NUMBERS = (0, 1, 2, 3, 4, -1, 99, 2**31 - 1, -(2**31), 2**63 - 1, -(2**63))
REALS = (0.0, 0.9, 0.5, -1.0, float("nan"), float("inf"), 1e308)
BYTES = (b"", b"\0" * 4, b"\0" * 16, b"\1" * 32, np.ones(4, "<f4").tobytes(), np.arange(3, dtype="<i8").tobytes())


def values(field):
    """Values of one kind of field, those that are good among them."""
    if field.type == Field.TYPE_MESSAGE:
        return messages(field.message_type._concrete_class)
    if field.type == Field.TYPE_ENUM:
        return st.sampled_from((0, 1, 2, 3, 4, 5, 99))
    if field.type in (Field.TYPE_INT32, Field.TYPE_UINT32):
        return st.sampled_from([n for n in NUMBERS if (-(2**31) if field.type == Field.TYPE_INT32 else 0) <= n < 2**31])
    return {
        Field.TYPE_STRING: st.sampled_from(TEXTS),
        Field.TYPE_BYTES: st.sampled_from(BYTES),
        Field.TYPE_BOOL: st.booleans(),
        Field.TYPE_INT64: st.sampled_from(NUMBERS),
        Field.TYPE_UINT64: st.sampled_from([n for n in NUMBERS if n >= 0]),
        Field.TYPE_DOUBLE: st.sampled_from(REALS),
        Field.TYPE_FLOAT: st.sampled_from(REALS[:6]),
    }[field.type]


def messages(kind):
    """Messages of a kind with any fields, each with any of its values: well-formed bytes, hardly ever good ones."""

    @st.composite
    def draw_one(draw):
        made = kind()
        for field, strategy in fields:
            if draw(st.integers(0, 3)) == 0:
                continue
            if field.message_type is not None and field.message_type.GetOptions().map_entry:
                continue  # broken by the edits of bytes
            if field.is_repeated:
                getattr(made, field.name).extend(draw(st.lists(strategy, max_size=3)))
            elif field.type == Field.TYPE_MESSAGE:
                getattr(made, field.name).CopyFrom(draw(strategy))
            else:
                setattr(made, field.name, draw(strategy))
        return made

    fields = [(field, values(field)) for field in kind.DESCRIPTOR.fields]
    return draw_one()


def test_what_is_broken_below_is_answered_whole(make_engine):
    """Otherwise the refusals could have another cause."""
    answered = [answered_by_the_server(make_engine(), method, data) for method, data in REQUESTS]
    assert len(answered) == 4
    for call, data in REPLIES:
        call.result(data)


def answered_by_the_server(engine, method, data):
    """What the servicers do with the bytes of a message, without gRPC: decoding may raise ValueError, the rest not."""
    try:
        if method == codec.GET_MODEL.path:
            ref, _ = codec.decode_get_model(codec.parse(pb.GetModelRequest, data))
        elif method == INFER:
            message = codec.parse(oip.ModelInferRequest, data)
            info = engine.describe(codec.ModelRef(message.model_name, version=message.model_version))
            request = open_inference.decode_request(message, info)
        else:
            request = codec.decode_request(codec.parse(pb.PredictRequest, data))
    except ValueError as error:
        raise InvalidRequestError(str(error)) from error
    if method == codec.GET_MODEL.path:
        return engine.describe(ref)
    if method == INFER:
        return open_inference.encode_prediction(message, engine.predict(request))
    return codec.encode_prediction(engine.predict(request))


@pytest.fixture(scope="module")
def engine(make_engine):
    return make_engine(limits=Limits(max_conditions=20, max_cells=50, max_reply_bytes=2**20))


@pytest.fixture(scope="module", autouse=True)
def flat():
    """No message makes this process allocate much, not even for a moment."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    yield
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss < before + PEAK_MB * 1024


@settings(max_examples=2500)
@given(drawn=EDITS)
def test_the_server_answers_broken_bytes_or_refuses_them(engine, drawn):
    method, data = broken(REQUESTS, drawn)
    with contextlib.suppress(*REFUSED):
        answered_by_the_server(engine, method, data)


@settings(max_examples=300)
@given(message=st.one_of(messages(pb.PredictRequest), messages(oip.ModelInferRequest)))
def test_the_server_answers_any_message_of_the_right_kind_or_refuses_it(engine, message):
    method = INFER if isinstance(message, oip.ModelInferRequest) else codec.PREDICT.path
    with contextlib.suppress(*REFUSED):
        answered_by_the_server(engine, method, message.SerializeToString())


@settings(max_examples=2000)
@given(drawn=EDITS)
def test_the_client_reads_a_broken_reply_or_calls_it_a_defect(drawn):
    call, data = broken(REPLIES, drawn)
    with contextlib.suppress(DefectError):
        call.result(data)


@settings(max_examples=150)
@given(message=messages(pb.PredictResponse))
def test_the_client_reads_any_prediction_or_calls_it_a_defect(message):
    with contextlib.suppress(DefectError):
        REPLIES[0][0].result(message.SerializeToString())


@pytest.mark.slow
def test_ten_thousand_over_the_wire(start_service):
    service = start_service(config={"max_message_bytes": 2**20})
    statuses, grown = {}, []
    with grpc.insecure_channel(service.address) as channel, futures.ThreadPoolExecutor(8) as pool:
        sends = {method: channel.unary_unary(method) for method, _ in REQUESTS}
        for method, message in REQUESTS:
            sends[method](message, timeout=20)  # each is answered before it is broken

        def status_of(job):
            method, data = job
            try:
                sends[method](data, timeout=20)
            except grpc.RpcError as error:
                return error.code()
            return grpc.StatusCode.OK

        @settings(max_examples=BATCHES)
        @given(drawn=st.binary(min_size=BATCH * DRAWN, max_size=BATCH * DRAWN))
        def send(drawn):
            batch = [broken(REQUESTS, drawn[at : at + DRAWN]) for at in range(0, len(drawn), DRAWN)]
            for status, (_, data) in zip(pool.map(status_of, batch), batch, strict=True):
                assert status in ALLOWED, (status, data)
                statuses[status] = statuses.get(status, 0) + 1
            grown.append(memory_mb(service.process.pid))

        send()
    assert sum(statuses.values()) >= BATCHES * BATCH
    assert statuses[grpc.StatusCode.INVALID_ARGUMENT] > BATCHES * BATCH / 3
    assert grown[-1] < grown[9] + GROWTH_MB
    assert_well(service)


FRAME = st.builds(
    lambda length, kind, flags, stream, payload: (
        length.to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload
    ),
    st.sampled_from((0, 1, 4, 9, 100, 2**14, 2**24 - 1)),
    st.integers(0, 12),
    st.integers(0, 255),
    st.sampled_from((0, 1, 2, 3, 2**31 - 1, 2**32 - 1)),
    st.binary(max_size=40),
)
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
SETTINGS = bytes([0, 0, 0, 4, 0, 0, 0, 0, 0])
RAW = st.one_of(
    st.binary(max_size=200),
    st.builds(lambda frames: PREFACE + SETTINGS + b"".join(frames), st.lists(FRAME, max_size=6)),
    st.builds(lambda cut: (PREFACE + SETTINGS)[:cut], st.integers(0, 33)),
)


def test_bytes_that_are_no_grpc_at_all(start_service):
    service = start_service()
    host, port = service.address.split(":")
    grown = []

    @settings(max_examples=300)
    @given(raw=RAW)
    def send(raw):
        with socket.create_connection((host, int(port)), timeout=10) as one:
            one.sendall(raw)
        grown.append(memory_mb(service.process.pid))

    send()
    assert grown[-1] < grown[59] + GROWTH_MB
    assert_well(service)


def assert_well(service):
    assert service.process.poll() is None
    assert "defect" not in service.log
    with connect(service.address, timeout_s=20) as client:
        assert client.predict("known", [IFNB]).conditions == (IFNB,)
