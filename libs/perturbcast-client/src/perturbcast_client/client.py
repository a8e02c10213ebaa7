"""Asks a prediction service over a ``grpc.Channel``.

``connect(address)`` is the only place that opens a channel; whoever brings one (with TLS, interceptors, a proxy)
gives it to ``Client``. Every call has a deadline.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeVar

import grpc

from perturbcast_client import calls, codec
from perturbcast_client import channel as channels
from perturbcast_client.calls import Asked, Call, Caller, Model
from perturbcast_client.channel import Connecting
from perturbcast_client.messages import Condition, ModelInfo, Prediction, PredictRequest

if TYPE_CHECKING:
    from typing_extensions import Unpack  # for the type checker; a bare environment has none

__all__ = ["Client", "connect"]

T = TypeVar("T")


def connect(address: str, **options: Unpack[Connecting]) -> Client:
    """A client of the service at ``address`` (``host:port``); closing it closes the channel.

    No connection is made before the first call; that one raises ``UnavailableError`` where no server answers.

    Args:
        address: ``host:port``.
        tls: how the connection is encrypted; None for plain text.
        token: bearer token, where the server asks for one.
        timeout_s: deadline of a call, its retries included, seconds (60).
        stream_timeout_s: deadline of a whole ``predict_stream``, seconds (3600).
        attempts: how often a call that finds the server unavailable or full is sent, 1 to 5 (5).
        max_message_bytes: largest request and reply; the server has a limit of its own (64 MiB).

    Raises:
        ValueError: a token would travel in plain text to another machine, or ``attempts`` is out of range.
        OSError: a TLS file cannot be read.
    """
    return Client(**channels.opened(grpc, address, **options))


class Client(Caller[grpc.Channel]):
    """Calls of ``perturbcast.prediction.v1.PredictionService``; safe to share between threads.

    Every method raises a ``ServiceError`` for what the service refuses and ``ValueError`` for what it would refuse
    whatever its models are, before anything is sent.

    Arguments are those of ``Caller``: an open channel, which ``close`` closes, and how it is called.
    """

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the channel; calls in flight are cancelled."""
        self._channel.close()

    def list_models(self, *, timeout_s: float | None = None) -> tuple[ModelInfo, ...]:
        """The models that the server answers for, without their genes, contexts and perturbations."""
        return self._call(calls.list_models(), timeout_s)

    def get_model(self, model: Model, *, include_genes: bool = False, timeout_s: float | None = None) -> ModelInfo:
        """One model in full.

        Args:
            model: its name, or a ``ModelRef`` that pins a version or an alias.
            include_genes: also return the names of the genes, the columns of every prediction.
            timeout_s: deadline, seconds; None takes the client's.

        Raises:
            UnknownModelError: no such model; the message lists the known ones.
        """
        return self._call(calls.get_model(model, include_genes=include_genes), timeout_s)

    def predict(
        self,
        model: Model,
        conditions: Sequence[Condition],
        *,
        timeout_s: float | None = None,
        **asked: Unpack[Asked],
    ) -> Prediction:
        """Predict conditions, one row each, in the order given; all of them or none.

        Args:
            model: its name, or a ``ModelRef``.
            conditions: at least one; repeats are allowed.
            controls: context -> control cells [cell, gene] in the model's scale, an array or a scipy.sparse matrix;
                float64 travels as it is, all else as float32, sparse as CSR. A context without an entry uses the
                controls stored with the model.
            genes: columns of ``controls``: unique, any order, at least the model's genes.
            genes_sha256: instead of ``genes`` where the columns are the model's; also without controls, to refuse an
                answer by a model with other genes.
            wanted: what to return beside the mean delta; None for nothing else.
            seed: of the sampled cells, where some are wanted.
            request_id: echoed, and in the server's log.
            timeout_s: deadline, seconds; None takes the client's.

        Raises:
            UnknownModelError: no such model.
            InvalidRequestError: the request does not fit the model (genes, interval level).
            UnansweredError: a context without controls, a target that the model cannot represent.
            ResourceExhaustedError: too many conditions or cells, too large a reply, or a full queue.
        """
        return self._call(calls.predict(model, conditions, asked), timeout_s)

    def predict_stream(
        self,
        model: Model,
        conditions: Sequence[Condition],
        *,
        chunk_size: int = 256,
        timeout_s: float | None = None,
        **asked: Unpack[Asked],
    ) -> Iterator[Prediction]:
        """Predict many conditions over one call: one ``Prediction`` per chunk, in order, as they are consumed.

        gRPC's flow control holds the server back while the caller does not consume. The other arguments are those of
        ``predict``; each chunk carries the controls of its own contexts.

        Args:
            chunk_size: conditions per message.
            timeout_s: deadline of the whole stream, seconds; None takes the client's.

        Raises:
            ValueError: ``chunk_size`` is not positive, or the request is malformed; at once, not on iteration.
            ServiceError: as ``predict``, on iteration. A stream whose first reply has come is not sent again:
                predictions yielded before it stand, and the caller asks for the rest.
        """
        request = calls.stream_request(model, conditions, asked, chunk_size=chunk_size)
        return self._stream(request, chunk_size, timeout_s)

    def _call(self, call: Call[T], timeout_s: float | None) -> T:
        send = self._sending(call, timeout_s)
        with calls.refusals():
            reply = send()
        return call.result(reply)

    def _stream(self, request: PredictRequest, chunk_size: int, timeout_s: float | None) -> Iterator[Prediction]:
        call: Any = self._opening(request, chunk_size, timeout_s)()
        try:
            with calls.refusals():
                for reply in call:
                    yield calls.decoded(codec.PREDICT_STREAM, reply, codec.read_prediction)
        finally:
            call.cancel()  # a caller that stops early leaves no work behind; no effect on a finished call
