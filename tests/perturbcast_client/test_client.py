"""The client over a real loopback channel, against the fake server that it ships."""

from __future__ import annotations

import contextlib
import dataclasses
import threading

import grpc
import numpy as np
import pytest

import perturbcast_client
from perturbcast_client import (
    Client,
    Condition,
    DeadlineError,
    DefectError,
    InvalidRequestError,
    ModelRef,
    PredictRequest,
    ResourceExhaustedError,
    ServiceError,
    UnansweredError,
    UnauthenticatedError,
    UnavailableError,
    UnknownModelError,
    Wanted,
    codec,
    connect,
)
from perturbcast_client.errors import from_rpc_error
from perturbcast_client.messages import gene_list_hash
from perturbcast_client.testing import FAKE_MODEL, FakeServer, fake_delta, fake_prediction

GENES = FAKE_MODEL.genes
ASKED = [Condition.from_label("IFNB", "B cells"), Condition.from_label("B+A", "T cells")]


@pytest.fixture
def server():
    with FakeServer() as server:
        yield server


@pytest.fixture
def client(server):
    with connect(server.address, timeout_s=10) as client:
        yield client


def refusing(status, **fields):
    def answer(request, model):
        raise ServiceError(status, "the rule; the value. The way out.", **fields)

    return answer


@pytest.fixture
def asking():
    """A client of a fake server with its own answer."""
    with contextlib.ExitStack() as stack:

        def make(answer, **options):
            server = stack.enter_context(FakeServer(answer=answer))
            return stack.enter_context(connect(server.address, **options))

        yield make


def test_a_prediction_is_what_the_server_answered(client, server):
    wanted = Wanted(variance=True, interval_level=0.9, expression=True, top_genes=2)
    answer = client.predict("fake", ASKED, wanted=wanted, request_id="mine")
    expected = fake_prediction(server.requests[0], FAKE_MODEL)
    for name in ("delta", "variance", "lower", "upper", "expression"):
        assert getattr(answer, name).tobytes() == getattr(expected, name).tobytes(), name
    assert answer.conditions == tuple(ASKED)
    assert answer.top_genes == expected.top_genes
    assert answer.request_id == "mine"
    assert [s.pair for s in answer.seen] == [True, False]


def test_arrays_of_an_answer_cannot_be_changed_by_mistake(client):
    with pytest.raises(ValueError, match="read-only"):
        client.predict("fake", ASKED).delta[0, 0] = 1


def test_the_server_sees_what_was_asked(client, server):
    cells = np.arange(6).reshape(2, 3)
    client.predict(
        ModelRef("fake", version="1"), ASKED, controls={"T cells": cells}, genes=np.array(GENES), wanted=Wanted()
    )
    (request,) = server.requests
    assert request.model == ModelRef("fake", version="1")
    assert request.genes == GENES
    np.testing.assert_array_equal(request.controls[0].expression, cells.astype(np.float32), strict=True)
    assert request.controls[0].context == "T cells"


def test_float64_controls_travel_as_they_are(client, server):
    cells = np.array([[0.1, 0.2, 0.3]])
    client.predict("fake", ASKED, controls={"T cells": cells}, genes_sha256=gene_list_hash(GENES))
    np.testing.assert_array_equal(server.requests[0].controls[0].expression, cells, strict=True)


def test_a_stream_sends_each_chunk_with_its_own_controls(client, server):
    asked = [Condition.from_label(f"G{i}", context) for context in ("B cells", "T cells") for i in range(5)]
    answers = list(
        client.predict_stream(
            "fake",
            asked,
            chunk_size=4,
            controls={"T cells": np.ones((2, 3))},
            genes=GENES,
            genes_sha256=gene_list_hash(GENES),
        )
    )
    assert [len(answer.conditions) for answer in answers] == [4, 4, 2]
    np.testing.assert_array_equal(
        np.concatenate([answer.delta for answer in answers]), [fake_delta(condition, GENES) for condition in asked]
    )
    assert [[cells.context for cells in request.controls] for request in server.requests] == [
        [],
        ["T cells"],
        ["T cells"],
    ]
    assert [request.genes for request in server.requests] == [(), GENES, GENES]
    assert server.requests[0].genes_sha256 == ""


def test_a_stream_sends_the_hash_alone_with_every_chunk(client, server):
    list(client.predict_stream("fake", ASKED, chunk_size=1, genes_sha256="ab"))
    assert [request.genes_sha256 for request in server.requests] == ["ab", "ab"]


def test_a_malformed_stream_is_refused_before_it_starts(client, server):
    with pytest.raises(ValueError, match=r"chunk_size: .*got 0"):
        client.predict_stream("fake", ASKED, chunk_size=0)
    with pytest.raises(ValueError, match=r"controls: .*NK cells does not .*asked: B cells, T cells"):
        client.predict_stream("fake", ASKED, controls={"NK cells": np.ones((1, 3))}, genes=GENES)
    assert server.requests == []


def test_a_stream_that_is_left_early_is_cancelled_at_once():
    class Call:
        cancelled = False

        def __iter__(self):
            while True:
                request = PredictRequest(ModelRef("fake"), (ASKED[0],))
                yield codec.encode_prediction(fake_prediction(request, FAKE_MODEL))

        def cancel(self):
            self.cancelled = True

    call = Call()

    class Channel:
        def stream_stream(self, path, request_serializer, response_deserializer):
            return lambda requests, timeout, metadata: call

    answers = Client(Channel()).predict_stream("fake", ASKED)
    assert next(answers).conditions == (ASKED[0],)
    assert not call.cancelled
    answers.close()
    assert call.cancelled, "not only when the garbage collector finds it"


def test_models(client):
    (listed,) = client.list_models()
    assert listed == dataclasses.replace(FAKE_MODEL, genes=(), contexts=(), perturbations=(), stored_cells={})
    assert client.get_model("fake", include_genes=True) == FAKE_MODEL
    assert client.get_model(ModelRef("fake", alias="champion")).genes == ()


def test_more_than_grpcs_own_four_megabytes_travel(client):
    cells = np.ones((500_000, 3), dtype=np.float32)
    assert client.predict("fake", ASKED, controls={"T cells": cells}, genes=GENES).controls == ("stored", "request")


@pytest.mark.parametrize(
    ("status", "kind", "builtin"),
    [
        (grpc.StatusCode.NOT_FOUND, UnknownModelError, LookupError),
        (grpc.StatusCode.INVALID_ARGUMENT, InvalidRequestError, ValueError),
        (grpc.StatusCode.FAILED_PRECONDITION, UnansweredError, ServiceError),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, ResourceExhaustedError, ServiceError),
        (grpc.StatusCode.DEADLINE_EXCEEDED, DeadlineError, TimeoutError),
        (grpc.StatusCode.UNAVAILABLE, UnavailableError, ConnectionError),
        (grpc.StatusCode.INTERNAL, DefectError, ServiceError),
        (grpc.StatusCode.UNAUTHENTICATED, UnauthenticatedError, PermissionError),
        (grpc.StatusCode.ABORTED, ServiceError, ServiceError),
    ],
    ids=lambda value: value.name if isinstance(value, grpc.StatusCode) else value.__name__,
)
@pytest.mark.parametrize("call", ["predict", "predict_stream"])
def test_refusals_carry_status_and_message(asking, status, kind, builtin, call):
    client = asking(refusing(status), attempts=1)
    with pytest.raises(builtin) as refused:
        client.predict("fake", ASKED) if call == "predict" else list(client.predict_stream("fake", ASKED))
    assert type(refused.value) is kind
    assert refused.value.status is status
    assert "the rule; the value. The way out." in refused.value.message
    assert refused.value.retry_after_s is None


def test_a_retry_after_that_is_no_number_is_left_out():
    """HTTP allows a date there, and a proxy may put one."""
    trailing = grpc.aio.Metadata(("retry-after", "Wed, 25 Nov 2026 04:20:00 GMT"))
    error = from_rpc_error(
        grpc.aio.AioRpcError(grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.aio.Metadata(), trailing, "full")
    )
    assert (error.status, error.retry_after_s) == (grpc.StatusCode.RESOURCE_EXHAUSTED, None)


def test_retry_after_is_read_from_the_trailing_metadata(asking):
    client = asking(refusing(grpc.StatusCode.RESOURCE_EXHAUSTED, retry_after_s=7), attempts=1)
    with pytest.raises(ResourceExhaustedError) as refused:
        client.predict("fake", ASKED)
    assert refused.value.retry_after_s == 7.0


def test_a_call_that_could_only_be_sent_again_after_its_deadline_is_refused_at_once(asking):
    """gRPC would wait for the time that the server names, and then tell of the deadline."""
    client = asking(refusing(grpc.StatusCode.RESOURCE_EXHAUSTED, retry_after_s=2))
    with pytest.raises(ResourceExhaustedError) as refused:
        client.predict("fake", ASKED, timeout_s=1.5)
    assert refused.value.retry_after_s == 2.0


def failing_first(times, status, **fields):
    """An answer that refuses the first calls, and counts them."""
    calls = []

    def answer(request, model):
        calls.append(request)
        if len(calls) <= times:
            raise ServiceError(status, "not now", **fields)
        return fake_prediction(request, model)

    return answer, calls


@pytest.mark.parametrize("call", ["predict", "predict_stream"])
@pytest.mark.parametrize(
    ("status", "fields"),
    [
        (grpc.StatusCode.UNAVAILABLE, {}),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, {"retry_after_s": 0.05}),
    ],
    ids=["unavailable", "full-queue"],
)
def test_a_call_is_sent_again_when_that_can_help(asking, status, fields, call):
    answer, calls = failing_first(2, status, **fields)
    client = asking(answer)
    got = client.predict("fake", ASKED) if call == "predict" else next(client.predict_stream("fake", ASKED))
    assert got.conditions == tuple(ASKED)
    assert len(calls) == 3


@pytest.mark.parametrize(
    "status",
    [
        grpc.StatusCode.RESOURCE_EXHAUSTED,  # over a limit
        grpc.StatusCode.INTERNAL,
        grpc.StatusCode.INVALID_ARGUMENT,
        grpc.StatusCode.FAILED_PRECONDITION,
        grpc.StatusCode.UNAUTHENTICATED,
    ],
    ids=lambda status: status.name,
)
def test_a_call_is_not_sent_again_when_that_cannot_help(asking, status):
    answer, calls = failing_first(1, status)
    with pytest.raises(ServiceError, match="not now"):
        asking(answer).predict("fake", ASKED)
    assert len(calls) == 1


def test_retries_can_be_turned_off_and_have_an_end(asking):
    for attempts in (1, 3):
        answer, calls = failing_first(9, grpc.StatusCode.UNAVAILABLE)
        with pytest.raises(UnavailableError):
            asking(answer, attempts=attempts).predict("fake", ASKED)
        assert len(calls) == attempts
    for attempts in (0, 6):
        with pytest.raises(ValueError, match=f"attempts: a call is sent 1 to 5 times; got {attempts}"):
            connect("127.0.0.1:1", attempts=attempts)


def test_retries_end_with_the_deadline(asking):
    answer, calls = failing_first(9, grpc.StatusCode.UNAVAILABLE)
    with pytest.raises(DeadlineError):
        asking(answer).predict("fake", ASKED, timeout_s=0.3)
    assert 1 <= len(calls) < 5


def test_an_unknown_model_is_named_with_the_known(client):
    with pytest.raises(UnknownModelError, match=r"NOT_FOUND: model: .*other is not. Known: fake/1"):
        client.get_model("other")


def test_no_server_is_said_plainly(server):
    address = server.address
    server.__exit__(None, None, None)
    with (
        connect(address, attempts=1) as client,
        pytest.raises(UnavailableError, match=r"is not available .*Check that one runs"),
    ):
        client.list_models()


@pytest.mark.parametrize("where", ["client", "call"])
def test_every_call_has_a_deadline(asking, where):
    release = threading.Event()

    def answer(request, model):
        release.wait(10)
        return fake_prediction(request, model)

    client = asking(answer, **({"timeout_s": 0.2, "stream_timeout_s": 0.2} if where == "client" else {}))
    given = {} if where == "client" else {"timeout_s": 0.2}
    with pytest.raises(DeadlineError):
        client.predict("fake", ASKED, **given)
    with pytest.raises(DeadlineError):
        list(client.predict_stream("fake", ASKED, **given))
    release.set()


@pytest.mark.parametrize("seconds", [0, -1, float("nan")], ids=str)
def test_a_deadline_lies_ahead(asking, seconds):
    client = asking(fake_prediction)
    says = f"timeout_s: a deadline lies ahead; got {seconds}"
    with pytest.raises(ValueError, match=says):
        client.predict("fake", ASKED, timeout_s=seconds)
    with pytest.raises(ValueError, match=says):
        list(client.predict_stream("fake", ASKED, timeout_s=seconds))
    with pytest.raises(ValueError, match=f"stream_{says}"):
        asking(fake_prediction, stream_timeout_s=seconds)


def test_a_reply_that_breaks_the_contract_is_a_defect_of_the_server(asking):
    def flattened(request, model):
        bare = fake_prediction(request, model)
        object.__setattr__(bare, "delta", bare.delta[0])  # past the check of the constructor
        return bare

    with pytest.raises(DefectError, match=r"reply to Predict breaks the contract: delta.shape: 2 axes"):
        asking(flattened).predict("fake", ASKED)


def test_a_channel_of_ones_own_is_taken(server):
    with grpc.insecure_channel(server.address) as channel:
        assert Client(channel).predict("fake", ASKED).conditions == tuple(ASKED)


def test_the_public_names_exist():
    for name in perturbcast_client.__all__:
        assert getattr(perturbcast_client, name).__doc__, name


def test_a_message_over_the_clients_own_limit_is_refused_at_once(server):
    asked = {"controls": {"B cells": np.zeros((1000, 3))}, "genes": GENES}
    with connect(server.address, max_message_bytes=10_000) as client:
        with pytest.raises(ResourceExhaustedError, match=r"at most 10000 bytes .*; this one has 24\d\d\d"):
            client.predict("fake", ASKED[:1], **asked)
        assert server.requests == [], "it was not sent, nor sent again"
        client.predict("fake", ASKED)
