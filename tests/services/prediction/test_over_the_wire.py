"""Every row of the error table, and answers bit for bit, through a real channel to a second process."""

from __future__ import annotations

import queue
import re
import threading
import time
from concurrent import futures
from pathlib import Path

import grpc
import numpy as np
import pytest
import scipy.sparse as sp
from google.protobuf import json_format
from google.protobuf.descriptor_pool import DescriptorPool
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

from perturbcast import schema
from perturbcast_client import (
    Condition,
    DeadlineError,
    DefectError,
    ModelRef,
    ResourceExhaustedError,
    Target,
    UnansweredError,
    UnknownModelError,
    Wanted,
    codec,
    connect,
)
from perturbcast_client.messages import gene_list_hash
from perturbcast_client.wire.v1 import prediction_pb2 as pb

GENES = ("ISG15", "STAT1", "CD3D", "LYZ")
IFNB = Condition.from_label("IFNB", "B cells")
STANDARD = {"grpc.health.v1.Health", "grpc.reflection.v1alpha.ServerReflection"}
INFER = "/inference.GRPCInferenceService/ModelInfer"


def make_message(**fields):
    """A request that is answered, but for the fields given."""
    condition = pb.Condition(targets=[pb.Target(name="IFNB")], context="B cells")
    return pb.PredictRequest(**{"model": pb.ModelRef(name="known"), "conditions": [condition], **fields})


def make_controls(array=((1, 2, 3, 4),), context="B cells", **tensor):
    """Controls of one context, with the tensor's fields replaced by those given."""
    array = np.asarray(array, dtype=np.float32)
    fields = {"dtype": pb.Tensor.FLOAT32, "shape": array.shape, "data": array.tobytes(), **tensor}
    return [pb.ControlCells(context=context, expression=pb.Tensor(**fields))]


def with_controls(*args, genes=GENES, **tensor):
    return make_message(controls=make_controls(*args, **tensor), genes=genes)


def with_csr(rows=1, columns=4, indptr=(0, 2), indices=(0, 2), data=(1.0, 2.0), genes=GENES, **extra):
    """Controls of one context as CSR."""
    parts = {"indptr": np.array(indptr), "indices": np.array(indices), "data": np.array(data, dtype=np.float32)}
    csr = pb.CsrMatrix(rows=rows, columns=columns, **{name: codec.encode_tensor(a) for name, a in parts.items()})
    return make_message(controls=[pb.ControlCells(context="B cells", csr=csr, **extra)], genes=genes)


def with_condition(*targets, context="B cells"):
    return make_message(conditions=[pb.Condition(targets=[pb.Target(**target) for target in targets], context=context)])


def wait_for_the_model(service):
    until = time.monotonic() + 10
    while not service.journal:
        assert time.monotonic() < until, "no condition reached the model"
        time.sleep(0.01)


@pytest.fixture
def send(service):
    """Sends bytes or a message as they are; the client would refuse most of them before sending."""
    with grpc.insecure_channel(service.address) as channel:

        def send(message, method=codec.PREDICT):
            data = message if isinstance(message, bytes) else message.SerializeToString()
            return channel.unary_unary(method.path)(data, timeout=20)

        yield send


def test_the_reply_is_the_models_answer_to_the_last_bit(client, known):
    pairs = [("IFNB", "B cells"), ("B+A", "NK cells"), ("X", "T cells"), ("IFNB", "B cells")]
    cells = np.random.default_rng(0).random((7, 4), dtype=np.float32)
    answer = client.predict(
        "known",
        [Condition.from_label(*pair) for pair in pairs],
        controls={"T cells": cells[:, ::-1]},
        genes=GENES[::-1],
        wanted=Wanted(variance=True, interval_level=0.9, expression=True, top_genes=1),
        request_id="mine",
    )
    direct = known.predict(
        [schema.Condition(*pair) for pair in pairs], control_means={"T cells": cells.mean(axis=0, dtype=np.float64)}
    )
    assert answer.delta.tobytes() == direct.delta.tobytes()
    assert answer.variance.tobytes() == direct.variance.tobytes()
    assert answer.expression.tobytes() == direct.mean.tobytes()
    assert answer.lower.tobytes() == (direct.delta - direct.intervals[0.9]).tobytes()
    assert answer.upper.tobytes() == (direct.delta + direct.intervals[0.9]).tobytes()
    assert answer.notes == direct.notes
    assert answer.ood_score.tolist() == [4.0, 3.0, 1.0, 4.0]
    assert [[s.perturbation, s.context, s.pair] for s in answer.seen] == direct.seen.tolist()
    assert answer.controls == ("stored", "stored", "request", "stored")
    assert (answer.model, answer.version, answer.fingerprint) == ("known", "3", "f" * 64)
    assert (answer.request_id, answer.genes_sha256) == ("mine", gene_list_hash(GENES))
    assert set(answer.timings_ms) == {"queue", "decode", "model", "encode"}
    assert all(value >= 0 for value in answer.timings_ms.values())


def test_a_request_without_an_id_gets_one(client):
    one, two = client.predict("known", [IFNB]), client.predict("known", [IFNB])
    assert one.request_id != two.request_id
    assert len(one.request_id) == 32


def test_models_are_listed_short_and_described_in_full(client):
    (listed,) = client.list_models()
    assert (listed.name, listed.version, listed.aliases) == ("known", "3", ("champion",))
    assert listed.genes == listed.contexts == listed.perturbations == ()
    full = client.get_model(ModelRef("known", alias="champion"), include_genes=True)
    assert full.genes == GENES
    assert full.contexts == ("B cells", "NK cells")
    assert full.validation_metrics == {"rmse": 0.25}
    assert client.get_model("known").genes == ()


def test_a_stream_answers_chunk_by_chunk_in_order(client, known):
    asked = [Condition.from_label("X" * (1 + i % 7), "B cells") for i in range(250)]
    answers = list(client.predict_stream("known", asked, chunk_size=60))
    assert [len(answer.conditions) for answer in answers] == [60, 60, 60, 60, 10]
    direct = known.predict([schema.Condition(c.perturbation, c.context) for c in asked])
    np.testing.assert_array_equal(np.concatenate([answer.delta for answer in answers]), direct.delta)


def test_a_stream_can_be_a_conversation(service):
    """The next request is sent when the reply before it has come."""
    replies = queue.SimpleQueue()

    def requests():
        for label in "ABC":
            condition = pb.Condition(targets=[pb.Target(name=label)], context="B cells")
            yield make_message(conditions=[condition]).SerializeToString()
            assert replies.get(timeout=20) == label

    with grpc.insecure_channel(service.address) as channel:
        for data in channel.stream_stream(codec.PREDICT_STREAM.path)(requests(), timeout=60):
            replies.put(pb.PredictResponse.FromString(data).conditions[0].condition.targets[0].name)


def test_two_bad_requests_of_a_stream_leave_nothing_unheard_in_the_log(service, client):
    asked = [Condition.from_label("IMPOSSIBLE", "B cells")] * 4
    with pytest.raises(UnansweredError):
        list(client.predict_stream("known", asked, chunk_size=1))
    assert client.predict("known", [IFNB]).conditions == (IFNB,)
    assert "never retrieved" not in service.log


def test_a_stream_ends_at_the_first_request_that_fails(client):
    asked = [IFNB, IFNB, Condition.from_label("IMPOSSIBLE", "B cells"), IFNB]
    answers = client.predict_stream("known", asked, chunk_size=1)
    assert next(answers).conditions == next(answers).conditions == (IFNB,)
    with pytest.raises(UnansweredError, match="got IMPOSSIBLE in B cells"):
        next(answers)


INVALID = [
    pytest.param(b"\xff\xff", "PredictRequest: the bytes are a protobuf message; these 2 are not", id="no-protobuf"),
    pytest.param(b"\x3a\x01\xff", "PredictRequest: the bytes are a protobuf message; these 3 are not", id="not-utf8"),
    pytest.param(pb.PredictRequest(), "conditions|model.name", id="empty"),
    pytest.param(make_message(model=pb.ModelRef()), r"model.name: a name is not empty", id="no-model"),
    pytest.param(make_message(conditions=[]), "conditions: .*at least one condition; got none", id="no-conditions"),
    pytest.param(with_condition(), r"conditions\[0\].targets: .*at least one target", id="no-targets"),
    pytest.param(with_condition({"name": ""}), r"conditions\[0\].targets\[0\].name: .*got ''", id="empty-target"),
    pytest.param(
        with_condition({"name": "A"}, {"name": ""}), r"conditions\[0\].targets\[1\].name: ", id="second-target-empty"
    ),
    pytest.param(
        with_condition({"name": "A"}, {"name": "A"}), r"conditions\[0\].targets: .*repeated: A", id="target-twice"
    ),
    pytest.param(with_condition({"name": "A+B"}), r"targets\[0\].name: .*'A\+B' joins several", id="joined-target"),
    pytest.param(with_condition({"name": "A", "dose": float("nan")}), r"targets\[0\].dose: .*got nan", id="nan-dose"),
    pytest.param(with_condition({"name": "A"}, context=""), r"conditions\[0\].context: .*got ''", id="empty-context"),
    pytest.param(
        make_message(
            conditions=[pb.Condition(targets=[pb.Target(name="A")], context="B cells", covariates={"donor": ""})]
        ),
        r"conditions\[0\].covariates: .*got ''",
        id="empty-covariate",
    ),
    pytest.param(
        with_controls(dtype=pb.Tensor.DTYPE_UNSPECIFIED),
        r"controls\[0\].expression.dtype: one of FLOAT32, FLOAT64; got DTYPE_UNSPECIFIED",
        id="dtype-unspecified",
    ),
    pytest.param(with_controls(dtype=pb.Tensor.INT32), r"expression.dtype: .*got INT32", id="dtype-not-allowed"),
    pytest.param(with_controls(dtype=99), r"expression.dtype: .*got 99", id="dtype-unknown"),
    pytest.param(with_controls(shape=[4]), r"expression.shape: 2 axes .*; got \[4\]", id="one-axis"),
    pytest.param(with_controls(shape=[-1, -4]), r"expression.shape: .*got \[-1, -4\]", id="negative-shape"),
    pytest.param(
        with_controls(shape=[2**40, 2**40]), rf"expression.data: .* is {2**82} bytes; got 16", id="huge-shape"
    ),
    pytest.param(
        with_controls(data=b"\0" * 15), r"expression.data: shape \[1, 4\] of float32 is 16 bytes; got 15", id="bytes"
    ),
    pytest.param(
        with_controls(np.zeros((0, 4))), r"controls\[0\].expression: .*at least one of each", id="no-control-cells"
    ),
    pytest.param(with_controls([[1, np.nan, 3, np.inf]]), r"controls\[0\].expression: .*2 NaN or infinite", id="nan"),
    pytest.param(with_controls([[1, -0.5, 3, 4]]), r"controls\[0\].expression: .*smallest .* is -0.5", id="negative"),
    pytest.param(with_csr(rows=2), r"controls\[0\].csr.indptr: .*one entry more than the 2 cells", id="csr-rows"),
    pytest.param(with_csr(rows=-1), r"csr.indptr: .*more than the -1 cells", id="csr-negative-rows"),
    pytest.param(with_csr(rows=2, indptr=(0, 2, 1)), r"csr.indptr: .*never falls", id="csr-pointers-fall"),
    pytest.param(with_csr(indptr=(1, 2)), r"csr.indptr: it begins with 0", id="csr-first-pointer"),
    pytest.param(with_csr(indptr=(0, 3)), r"csr.indices: as many as data .*, 3; got 2 indices", id="csr-values"),
    pytest.param(with_csr(indices=(0, 4)), r"csr.indices: columns lie between 0 and 3; got 0 to 4", id="csr-column"),
    pytest.param(with_csr(indices=(-1, 2)), r"csr.indices: .*got -1 to 2", id="csr-negative-column"),
    pytest.param(with_csr(indices=(2, 2)), r"csr.indices: columns grow within a row", id="csr-column-twice"),
    pytest.param(with_csr(data=(1, np.nan)), r"controls\[0\].expression: .*1 NaN", id="csr-nan"),
    pytest.param(with_csr(data=(1, -1)), r"controls\[0\].expression: .*smallest .* is -1", id="csr-negative"),
    pytest.param(
        with_csr(columns=2**40, genes=()), r"genes: .*neither genes nor genes_sha256", id="csr-huge-without-genes"
    ),
    pytest.param(with_csr(columns=2**40), rf"controls\[0\].expression: .*{2**40} columns for 4 genes", id="csr-huge"),
    pytest.param(
        with_csr(expression=pb.Tensor(dtype=pb.Tensor.FLOAT32, shape=[0, 0])),
        r"controls\[0\].csr: .*this entry has both",
        id="csr-and-dense",
    ),
    pytest.param(make_message(wanted=pb.Wanted(cells=-1)), "wanted.cells: .*got -1", id="negative-cells"),
    pytest.param(
        with_controls(genes=("A", "B", "A", "B")), r"genes: gene names are unique; repeated: A, B", id="genes-twice"
    ),
    pytest.param(
        with_controls(genes=("A", "B")), r"controls\[0\].expression: .*4 columns for 2 genes", id="columns-and-genes"
    ),
    pytest.param(with_controls(genes=()), "genes: .*neither genes nor genes_sha256", id="controls-without-genes"),
    pytest.param(
        with_controls(genes=("ISG15", "STAT1", "CD3D", "x")),
        "genes: .*1 of 4 are missing, first LYZ",
        id="gene-missing",
    ),
    pytest.param(
        make_message(controls=make_controls(), genes_sha256="0" * 64),
        "genes_sha256: .*got '000",
        id="unknown-gene-list",
    ),
    pytest.param(
        make_message(controls=make_controls(context="T cells"), genes=GENES),
        "controls: .*T cells does not .*asked: B cells",
        id="controls-nobody-asks-for",
    ),
    pytest.param(
        make_message(controls=make_controls() * 2, genes=GENES), "controls: .*repeated: B cells", id="controls-twice"
    ),
    pytest.param(
        make_message(wanted=pb.Wanted(interval_level=0.8)), "wanted.interval_level: .*offered: 0.5, 0.9", id="level"
    ),
    pytest.param(
        make_message(wanted=pb.Wanted(interval_level=float("nan"))), "wanted.interval_level: .*got nan", id="level-nan"
    ),
    pytest.param(make_message(wanted=pb.Wanted(top_genes=-1)), "wanted.top_genes: .*got -1", id="negative-top-genes"),
    pytest.param(make_message(wanted=pb.Wanted(top_genes=5)), "wanted.top_genes: .*got 5", id="too-many-top-genes"),
    pytest.param(make_message(request_id="x" * 129), "request_id: .*got 129", id="long-request-id"),
]


@pytest.mark.parametrize(("message", "says"), INVALID)
def test_a_malformed_request_is_an_invalid_argument_that_names_the_field(send, message, says):
    with pytest.raises(grpc.RpcError) as refused:
        send(message)
    assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    with pytest.raises(ValueError, match=says):
        raise ValueError(refused.value.details())


def test_the_base_of_the_malformed_requests_is_answered(send):
    """Otherwise the refusals above could have another cause."""
    assert pb.PredictResponse.FromString(send(make_message())).conditions
    assert pb.PredictResponse.FromString(send(with_controls())).conditions
    assert pb.PredictResponse.FromString(send(with_csr())).conditions


def test_huge_csr_columns_by_hash_are_refused_before_an_array_is_made(send):
    message = with_csr(columns=2**40, genes=())
    message.genes_sha256 = gene_list_hash(GENES)
    with pytest.raises(grpc.RpcError, match=rf"one column per gene of the model, 4; got {2**40}") as refused:
        send(message)
    assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT


def test_sparse_controls_give_the_answer_of_dense_ones(client):
    cells = np.random.default_rng(0).random((20, 4), dtype=np.float32)
    cells[cells < 0.6] = 0
    asked = {"genes": GENES, "wanted": Wanted(expression=True, cells=5), "seed": 3}
    dense, sparse = (
        client.predict("known", [IFNB], controls={"B cells": x}, **asked) for x in (cells, sp.csr_matrix(cells))
    )
    np.testing.assert_allclose(sparse.expression, dense.expression, rtol=0, atol=1e-12)
    np.testing.assert_array_equal(sparse.cells, dense.cells)
    assert dense.cells.shape == (1, 5, 4)


def test_cells_are_drawn_from_controls_that_the_server_has_stored(client, known):
    """A harness without control cells of a train context gets cells of it; what is stored is said before."""
    assert client.get_model("known").stored_cells == {"B cells": 2}
    answer = client.predict("known", [IFNB], wanted=Wanted(cells=4), seed=1)
    assert (answer.cells.shape, answer.controls) == ((1, 4, 4), ("stored",))
    rows = known.control_cells["B cells"].toarray()
    sent = client.predict("known", [IFNB], controls={"B cells": rows}, genes=GENES, wanted=Wanted(cells=4), seed=1)
    np.testing.assert_array_equal(answer.cells, sent.cells)
    with pytest.raises(UnansweredError, match=r"'NK cells' has none in the request.*mean only"):
        client.predict("known", [Condition.from_label("A", "NK cells")], wanted=Wanted(cells=4))


def test_a_single_request_is_not_behind_a_bulk_stream(start_service):
    """The stream's chunks take 0.7 s each; a request that arrives meanwhile waits for one of them and no more."""
    service = start_service(config={"workers": 1})
    slow = [Condition.from_label("SLOW", "B cells")]
    with connect(service.address, timeout_s=20) as client:
        bulk = threading.Thread(target=lambda: list(client.predict_stream("known", slow * 6, chunk_size=1)))
        bulk.start()
        wait_for_the_model(service)
        client.predict("known", [Condition.from_label("SINGLE", "B cells")])
        assert service.journal.index("SINGLE in B cells") <= 2
        impatient = {"timeout_s": 3.5}  # they wait for a chunk of the stream and not for one another
        client.predict("known", slow, **impatient)
        with futures.ThreadPoolExecutor(2) as pool:
            both = [pool.submit(client.predict, "known", [IFNB], **impatient) for _ in range(2)]
            assert [one.result().conditions for one in both] == [(IFNB,)] * 2
        bulk.join()
    assert len(service.journal) == 10


def test_requests_that_wait_share_a_batch_and_a_bad_one_fails_alone(start_service):
    service = start_service(config={"workers": 1})
    with connect(service.address, timeout_s=20) as client, futures.ThreadPoolExecutor(8) as pool:
        first = pool.submit(client.predict, "known", [Condition.from_label("SLOW", "B cells")])
        wait_for_the_model(service)
        labels = ["A", "IMPOSSIBLE", "B", "BROKEN", "C"]
        asked = [pool.submit(client.predict, "known", [Condition.from_label(label, "B cells")]) for label in labels]
        one, impossible, two, broken, three = [task.exception(timeout=20) or task.result() for task in asked]
        first.result()
    assert [answer.conditions[0].perturbation for answer in (one, two, three)] == ["A", "B", "C"]
    assert isinstance(impossible, UnansweredError)
    assert isinstance(broken, DefectError)


@pytest.mark.parametrize("method", [codec.LIST_MODELS, codec.GET_MODEL], ids=lambda method: method.name)
def test_other_methods_refuse_broken_bytes_too(send, method):
    with pytest.raises(grpc.RpcError, match=f"{method.request.DESCRIPTOR.name}: the bytes are a protobuf") as refused:
        send(b"\xff\xff", method)
    assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT


@pytest.mark.parametrize("ask", ["predict", "get_model"])
def test_an_unknown_model_is_not_found_and_lists_the_known(client, ask):
    ref = ModelRef("known", version="4")
    with pytest.raises(UnknownModelError, match=r"'known/4' is not. Known: known/3@champion"):
        client.predict(ref, [IFNB]) if ask == "predict" else client.get_model(ref)


@pytest.mark.parametrize(
    ("condition", "says"),
    [
        pytest.param(Condition.from_label("A", "T cells"), "'T cells' has none in the request", id="no-controls"),
        pytest.param(Condition((Target("A", dose=0.5),), "B cells"), "no input for dose.* dose 0.5", id="dose"),
        pytest.param(
            Condition((Target("A"),), "B cells", covariates=(("donor", "7"),)), "came with donor=7", id="covariate"
        ),
        pytest.param(Condition.from_label("IMPOSSIBLE", "B cells"), "got IMPOSSIBLE", id="unknown-target"),
    ],
)
def test_what_the_model_cannot_answer_is_a_failed_precondition(client, condition, says):
    with pytest.raises(UnansweredError, match=says) as refused:
        client.predict("known", [condition])
    assert refused.value.status is grpc.StatusCode.FAILED_PRECONDITION


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        pytest.param({"conditions": [IFNB] * 101}, "at most 100 conditions .*; got 101", id="conditions"),
        pytest.param(
            {"conditions": [IFNB], "controls": {"B cells": np.zeros((51, 4))}, "genes": GENES},
            "at most 50 control cells .*; got 51",
            id="cells",
        ),
        pytest.param(
            {"conditions": [IFNB] * 100, "wanted": Wanted(variance=True, interval_level=0.9)},
            "at most 9000 bytes .*; this one would have 12800",
            id="reply",
        ),
        # the tensors fit, the text of the notes does not
        pytest.param(
            {"conditions": [Condition.from_label("X" * 60, "B cells")] * 100},
            "at most 9000 bytes",
            id="reply-as-encoded",
        ),
        pytest.param(
            {"conditions": [IFNB], "controls": {"B cells": np.zeros((300_000, 4))}, "genes": GENES},
            r"larger than max \(\d+ vs. 1048576\).* use predict_stream",
            id="message",
        ),
    ],
)
def test_over_a_limit_is_resource_exhausted_with_the_limit(service, arguments, says):
    # gRPC itself refuses a large message, and does not say that sending it again is of no use
    attempts = 1 if "larger" in says else 5
    with (
        connect(service.address, timeout_s=20, attempts=attempts) as client,
        pytest.raises(ResourceExhaustedError, match=says) as refused,
    ):
        client.predict("known", **arguments)
    assert refused.value.retry_after_s is None, "asking again would not help"


def test_a_defect_gives_an_id_that_is_in_the_log_and_no_trace(service, client):
    with pytest.raises(DefectError, match=r"logged as [0-9a-f]{32}") as refused:
        client.predict("known", [Condition.from_label("BROKEN", "B cells")])
    assert "secret" not in refused.value.message
    identifier = refused.value.message.split("logged as ")[1][:32]
    assert f"defect {identifier}" in service.log
    assert "RuntimeError: a secret of the model" in service.log
    assert client.predict("known", [IFNB]).delta.shape == (1, 4), "the process lives on"


def test_a_full_queue_says_when_to_ask_again(start_service):
    service = start_service(config={"workers": 1, "max_concurrent": 1})
    with (
        connect(service.address, timeout_s=20, attempts=1) as client,
        connect(service.address, timeout_s=20) as patient,
    ):
        slow = threading.Thread(target=client.predict, args=("known", [Condition.from_label("SLOW", "B cells")]))
        slow.start()
        wait_for_the_model(service)
        with pytest.raises(ResourceExhaustedError, match="At most 1 calls") as refused:
            client.predict("known", [IFNB])
        assert refused.value.retry_after_s >= 1
        started = time.monotonic()
        assert patient.predict("known", [IFNB]).conditions == (IFNB,), "sent again without a loop of ours"
        assert time.monotonic() - started > 0.9, "after the time that the server named"
        slow.join()


def test_work_whose_deadline_passed_is_dropped(start_service):
    service = start_service(config={"workers": 1})
    with connect(service.address, timeout_s=20) as client:
        first = threading.Thread(target=client.predict, args=("known", [Condition.from_label("SLOW", "B cells")]))
        first.start()
        wait_for_the_model(service)
        with pytest.raises(DeadlineError):
            client.predict("known", [Condition.from_label("LATE", "B cells")], timeout_s=0.1)
        first.join()
        client.predict("known", [IFNB])
    assert service.journal == ["SLOW in B cells", "IFNB in B cells"]


def test_streams_that_are_left_early_free_their_places(start_service):
    service = start_service(config={"workers": 1, "max_concurrent": 1})
    with connect(service.address, timeout_s=20, attempts=1) as client:
        for _ in range(3):
            answers = client.predict_stream("known", [IFNB] * 1000, chunk_size=1)
            next(answers)
            answers.close()
            for _ in range(100):  # the cancellation travels
                try:
                    client.predict("known", [IFNB])
                    break
                except ResourceExhaustedError:
                    time.sleep(0.05)
            else:
                pytest.fail("the place of a stream that was left is still taken")


def test_silent_calls_lose_their_places(start_service):
    """Bytes of our own: the client's calls always bring their message."""
    service = start_service(config={"workers": 1, "max_concurrent": 3, "idle_s": 0.5})
    quiet = threading.Event()

    def nothing():
        quiet.wait(20)
        yield from ()

    with grpc.insecure_channel(service.address) as channel, connect(service.address, attempts=1) as client:
        stream = channel.stream_stream(codec.PREDICT_STREAM.path, None, None)(nothing())
        single = channel.stream_unary(codec.PREDICT.path, None, None).future(nothing())
        infer = channel.stream_unary(INFER, None, None).future(nothing())
        for refused in (stream, single, infer):
            assert refused.code() is grpc.StatusCode.DEADLINE_EXCEEDED
            assert refused.details().startswith("A call holds one of few places; this one sent no message for 0.5 s.")
        assert client.predict("known", [IFNB]).conditions == (IFNB,), "their places are free"
        # one that sends the next message when it has the answer to this one is not silent meanwhile
        asks = queue.Queue()
        slow = pb.PredictRequest(
            model=pb.ModelRef(name="known"),
            conditions=[pb.Condition(context="B cells", targets=[pb.Target(name="SLOW")])],
        )
        answers = channel.stream_stream(codec.PREDICT_STREAM.path, None, None)(iter(asks.get, None))
        for _ in range(2):
            asks.put(slow.SerializeToString())
            next(answers)
        asks.put(None)
        assert list(answers) == []
        quiet.set()


def test_an_unread_stream_holds_the_server_back(start_service):
    """Of 2 000 replies of 10 KB, only those that flow control lets through (about 5 MB) are computed."""
    service = start_service()
    with connect(service.address) as client:
        answers = client.predict_stream("known", [IFNB] * 200_000, chunk_size=100)
        next(answers)
        settled = -1
        while settled != (settled := len(service.journal)):
            time.sleep(0.5)
        assert settled < 100_000
        answers.close()


def test_health_is_served_for_the_server_and_the_service(service):
    with grpc.insecure_channel(service.address) as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        for name in ("", codec.SERVICE):
            reply = stub.Check(health_pb2.HealthCheckRequest(service=name), timeout=10)
            assert reply.status == health_pb2.HealthCheckResponse.SERVING


def test_reflection_describes_the_services(service):
    """Every method and message, as grpcurl asks for them; and those that the commands in the docs name."""
    with grpc.insecure_channel(service.address) as channel:
        database = ProtoReflectionDescriptorDatabase(channel)
        named = set(database.get_services())
        assert named == {codec.SERVICE, "inference.GRPCInferenceService", *STANDARD}
        pool = DescriptorPool(database)
        methods = {name: {m.name for m in pool.FindServiceByName(name).methods} for name in named - STANDARD}
        request = pool.FindMessageTypeByName("perturbcast.prediction.v1.PredictRequest")
    assert methods[codec.SERVICE] == {"ListModels", "GetModel", "Predict", "PredictStream"}
    assert "ModelInfer" in methods["inference.GRPCInferenceService"]
    assert {field.name for field in request.fields} == {field.name for field in pb.PredictRequest.DESCRIPTOR.fields}
    guide = (Path(__file__).parents[3] / "docs" / "guides" / "harness.md").read_text()
    commands = [line for block in guide.split("```")[1::2] if "grpcurl" in block for line in block.splitlines()]
    text = " ".join(commands)
    (data,) = re.findall(r"-d '(.*?)'", text)
    asked = json_format.Parse(data, pb.PredictRequest())
    assert asked.wanted.top_genes == 5
    for symbol in re.findall(r"perturbcast[.]prediction[.]v1[.][\w/]+", text):
        name, _, method = symbol.partition("/")
        assert method in methods[name] if method else pool.FindMessageTypeByName(name)
