"""Asks a prediction service over a ``grpc.Channel``.

``connect(address)`` is the only place that opens a channel; whoever brings one (with TLS, interceptors, a proxy)
gives it to ``Client``. Every call has a deadline.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from types import TracebackType
from typing import Any, TypeVar

import grpc

from perturbcast_client import channel as channels
from perturbcast_client import codec
from perturbcast_client.calls import (
    Model,
    check_chunk_size,
    check_message_size,
    chunks,
    decoded,
    make_request,
    reference,
)
from perturbcast_client.channel import Tls
from perturbcast_client.errors import from_rpc_error
from perturbcast_client.messages import Condition, ModelInfo, Prediction, PredictRequest, Wanted

__all__ = ["Client", "connect"]

T = TypeVar("T")


def connect(
    address: str,
    *,
    tls: Tls | None = None,
    token: str = "",
    timeout_s: float = 60.0,
    stream_timeout_s: float = 3600.0,
    attempts: int = channels.ATTEMPTS,
    max_message_bytes: int = codec.MAX_MESSAGE_BYTES,
) -> Client:
    """A client of the service at ``address`` (``host:port``); closing it closes the channel.

    No connection is made before the first call; that one raises ``UnavailableError`` where no server answers.

    Args:
        address: ``host:port``.
        tls: how the connection is encrypted; None for plain text.
        token: bearer token, where the server asks for one.
        timeout_s: deadline of a call, its retries included, seconds.
        stream_timeout_s: deadline of a whole ``predict_stream``, seconds.
        attempts: how often a call that finds the server unavailable or full is sent, 1 to 5.
        max_message_bytes: largest request and reply; the server has a limit of its own.

    Raises:
        ValueError: a token would travel in plain text to another machine, or ``attempts`` is out of range.
        OSError: a TLS file cannot be read.
    """
    metadata = channels.authorization(address, token, encrypted=tls is not None)
    options = channels.options(max_message_bytes=max_message_bytes, attempts=attempts)
    channel = (
        grpc.insecure_channel(address, options=options)
        if tls is None
        else grpc.secure_channel(address, tls.credentials(), options=options)
    )
    return Client(
        channel,
        metadata=metadata,
        timeout_s=timeout_s,
        stream_timeout_s=stream_timeout_s,
        max_message_bytes=max_message_bytes,
    )


class Client:
    """Calls of ``perturbcast.prediction.v1.PredictionService``; safe to share between threads.

    Every method raises a ``ServiceError`` for what the service refuses and ``ValueError`` for what it would refuse
    whatever its models are, before anything is sent.

    Args:
        channel: an open channel; ``close`` closes it.
        metadata: sent with every call, such as the authorization.
        timeout_s: deadline of a call, seconds.
        stream_timeout_s: deadline of a whole ``predict_stream``, seconds.
        max_message_bytes: largest request of a call.
    """

    def __init__(
        self,
        channel: grpc.Channel,
        *,
        metadata: Sequence[tuple[str, str]] = (),
        timeout_s: float = 60.0,
        stream_timeout_s: float = 3600.0,
        max_message_bytes: int = codec.MAX_MESSAGE_BYTES,
    ) -> None:
        self._channel = channel
        self._metadata = tuple(metadata)
        self._timeout_s = timeout_s
        self._stream_timeout_s = stream_timeout_s
        self._max_message_bytes = max_message_bytes

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
        return self._call(codec.LIST_MODELS, codec.encode_list_models(), codec.decode_models, timeout_s)

    def get_model(self, model: Model, *, include_genes: bool = False, timeout_s: float | None = None) -> ModelInfo:
        """One model in full.

        Args:
            model: its name, or a ``ModelRef`` that pins a version or an alias.
            include_genes: also return the names of the genes, the columns of every prediction.
            timeout_s: deadline, seconds; None takes the client's.

        Raises:
            UnknownModelError: no such model; the message lists the known ones.
        """
        request = codec.encode_get_model(reference(model), include_genes=include_genes)
        return self._call(codec.GET_MODEL, request, codec.decode_model, timeout_s)

    def predict(
        self,
        model: Model,
        conditions: Sequence[Condition],
        *,
        controls: Mapping[str, Any] | None = None,
        genes: Sequence[str] = (),
        genes_sha256: str = "",
        wanted: Wanted | None = None,
        seed: int = 0,
        request_id: str = "",
        timeout_s: float | None = None,
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
        request = make_request(
            model,
            conditions,
            controls=controls,
            genes=genes,
            genes_sha256=genes_sha256,
            wanted=wanted,
            seed=seed,
            request_id=request_id,
        )
        return self._call(codec.PREDICT, codec.encode_request(request), codec.decode_prediction, timeout_s)

    def predict_stream(
        self,
        model: Model,
        conditions: Sequence[Condition],
        *,
        chunk_size: int = 256,
        controls: Mapping[str, Any] | None = None,
        genes: Sequence[str] = (),
        genes_sha256: str = "",
        wanted: Wanted | None = None,
        seed: int = 0,
        request_id: str = "",
        timeout_s: float | None = None,
    ) -> Iterator[Prediction]:
        """Predict many conditions over one call: one ``Prediction`` per chunk, in order, as they are consumed.

        gRPC's flow control holds the server back while the caller does not consume. The other arguments are those of
        ``predict``; each chunk carries the controls of its own contexts.

        Args:
            chunk_size: conditions per message.
            timeout_s: deadline of the whole stream, seconds; None takes the client's.

        Raises:
            ValueError: ``chunk_size`` is not positive, or the request is malformed; at once, not on iteration.
            ServiceError: as ``predict``, on iteration; predictions yielded before it stand.
        """
        check_chunk_size(chunk_size)
        request = make_request(
            model,
            conditions,
            controls=controls,
            genes=genes,
            genes_sha256=genes_sha256,
            wanted=wanted,
            seed=seed,
            request_id=request_id,
        )
        return self._stream(request, chunk_size, self._stream_timeout_s if timeout_s is None else timeout_s)

    def _call(self, method: codec.Method, request: Any, decode: Callable[[Any], T], timeout_s: float | None) -> T:
        check_message_size(request, self._max_message_bytes)
        send = self._channel.unary_unary(
            method.path, request_serializer=method.request.SerializeToString, response_deserializer=None
        )
        try:
            reply = send(request, timeout=self._timeout_s if timeout_s is None else timeout_s, metadata=self._metadata)
        except grpc.RpcError as error:
            raise from_rpc_error(error) from error
        return decoded(method, reply, decode)

    def _stream(self, request: PredictRequest, chunk_size: int, timeout_s: float) -> Iterator[Prediction]:
        method = codec.PREDICT_STREAM
        send = self._channel.stream_stream(
            method.path, request_serializer=method.request.SerializeToString, response_deserializer=None
        )
        messages = (codec.encode_request(chunk) for chunk in chunks(request, chunk_size))
        call: Any = send(messages, timeout=timeout_s, metadata=self._metadata)
        try:
            for reply in call:
                yield decoded(method, reply, codec.decode_prediction)
        except grpc.RpcError as error:
            raise from_rpc_error(error) from error
        finally:
            call.cancel()  # a caller that stops early leaves no work behind; no effect on a finished call
