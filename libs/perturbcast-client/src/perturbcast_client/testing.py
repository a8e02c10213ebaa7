"""An in-process fake of the prediction service, for tests of code that uses the client.

It speaks the real protocol over a real loopback port and answers with numbers that depend only on perturbation and
context, so that a mixed-up row or a lost condition shows. It knows no biology and checks no limits.

    with FakeServer() as server, connect(server.address) as client:
        client.predict("fake", [Condition.from_label("STAT1", "B cells")])
    assert server.requests[0].conditions[0].perturbation == "STAT1"
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable, Iterator, Sequence
from concurrent import futures
from types import TracebackType

import grpc
import numpy as np
from numpy.typing import NDArray

from perturbcast_client import codec
from perturbcast_client.errors import InvalidRequestError, ServiceError, UnknownModelError, trailing_metadata
from perturbcast_client.messages import (
    Condition,
    ModelInfo,
    ModelRef,
    Prediction,
    PredictRequest,
    SeenInTraining,
    gene_list_hash,
)

__all__ = ["FAKE_MODEL", "FakeServer", "fake_delta", "fake_prediction"]

_GENES = ("ISG15", "STAT1", "CD3D")
FAKE_MODEL = ModelInfo(
    name="fake",
    version="1",
    aliases=("champion",),
    kind="fake",
    dataset="fake",
    fingerprint="0" * 64,
    scale="log1p(counts per 10 000)",
    gene_count=len(_GENES),
    genes_sha256=gene_list_hash(_GENES),
    genes=_GENES,
    contexts=("B cells",),
    perturbations=("IFNB",),
    inputs=("perturbation", "context"),
    interval_levels=(0.9,),
    stored_cells={"B cells": 100},
)


def fake_delta(condition: Condition, genes: Sequence[str]) -> NDArray[np.float64]:
    """The fake's delta [gene] of a condition: standard normal, seeded by perturbation and context alone."""
    seed = hashlib.sha256(f"{condition.perturbation}\0{condition.context}".encode()).digest()
    return np.random.default_rng(list(seed)).standard_normal(len(genes))


def fake_prediction(request: PredictRequest, model: ModelInfo) -> Prediction:
    """The fake's answer: variance 1, intervals of half width 1, expression and cells as delta, and an ood_score of
    0 for what it calls seen, 1 for all else."""
    delta = np.array([fake_delta(condition, model.genes) for condition in request.conditions])
    wanted = request.wanted
    given = {cells.context for cells in request.controls}
    top = np.argsort(-np.abs(delta), axis=1, kind="stable")[:, : wanted.top_genes]
    seen_pairs = {(p, c) for p in model.perturbations for c in model.contexts}

    def pair(condition: Condition) -> tuple[str, str]:
        return condition.perturbation, condition.context

    return Prediction(
        model=model.name,
        version=model.version,
        fingerprint=model.fingerprint,
        genes_sha256=model.genes_sha256,
        conditions=request.conditions,
        delta=delta,
        seen=tuple(
            SeenInTraining(
                perturbation=condition.perturbation in model.perturbations,
                context=condition.context in model.contexts,
                pair=pair(condition) in seen_pairs,
            )
            for condition in request.conditions
        ),
        notes=((),) * len(request.conditions),
        controls=tuple("request" if condition.context in given else "stored" for condition in request.conditions),
        variance=np.ones_like(delta) if wanted.variance else None,
        interval_level=wanted.interval_level,
        lower=delta - 1 if wanted.interval_level else None,
        upper=delta + 1 if wanted.interval_level else None,
        expression=delta if wanted.expression else None,
        top_genes=tuple(tuple((model.genes[j], float(row[j])) for j in order) for row, order in zip(delta, top))
        if wanted.top_genes
        else (),
        ood_score=np.array([0.0 if pair(condition) in seen_pairs else 1.0 for condition in request.conditions]),
        cells=np.repeat(np.maximum(delta, 0).astype(np.float32)[:, None, :], wanted.cells, axis=1)
        if wanted.cells
        else None,
        request_id=request.request_id or "fake-request",
    )


class FakeServer:
    """A prediction service in this process, on a free loopback port, for the length of a ``with`` block.

    Args:
        models: what it says it serves; each with its genes.
        answer: request and model -> prediction; a ``ServiceError`` that it raises goes to the caller with its
            status, message and ``retry_after_s``.

    Attributes:
        address: ``host:port`` inside the block.
        requests: every prediction request so far, in order of arrival.
    """

    def __init__(
        self,
        models: Sequence[ModelInfo] = (FAKE_MODEL,),
        *,
        answer: Callable[[PredictRequest, ModelInfo], Prediction] = fake_prediction,
    ) -> None:
        self.address = ""
        self.requests: list[PredictRequest] = []
        self._models = tuple(models)
        self._answer = answer

    def __enter__(self) -> FakeServer:
        self._server = grpc.server(
            futures.ThreadPoolExecutor(4), options=[("grpc.max_receive_message_length", codec.MAX_MESSAGE_BYTES)]
        )
        handlers = {
            codec.LIST_MODELS.name: grpc.unary_unary_rpc_method_handler(self._list_models),
            codec.GET_MODEL.name: grpc.unary_unary_rpc_method_handler(self._get_model),
            codec.PREDICT.name: grpc.unary_unary_rpc_method_handler(self._predict),
            codec.PREDICT_STREAM.name: grpc.stream_stream_rpc_method_handler(self._predict_stream),
        }
        self._server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(codec.SERVICE, handlers),))
        self.address = f"127.0.0.1:{self._server.add_insecure_port('127.0.0.1:0')}"
        self._server.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.stop(grace=None).wait()

    def _list_models(self, data: bytes, context: grpc.ServicerContext) -> bytes:
        return codec.encode_models(self._models).SerializeToString()

    def _get_model(self, data: bytes, context: grpc.ServicerContext) -> bytes:
        with _aborting(context):
            ref, include_genes = codec.decode_get_model(codec.parse(codec.GET_MODEL.request, data))
            model = self._find(ref)
        return codec.encode_model(model, include_genes=include_genes).SerializeToString()

    def _predict_stream(self, messages: Iterator[bytes], context: grpc.ServicerContext) -> Iterator[bytes]:
        for data in messages:
            yield self._predict(data, context)

    def _predict(self, data: bytes, context: grpc.ServicerContext) -> bytes:
        with _aborting(context):
            try:
                request = codec.decode_request(codec.parse(codec.PREDICT.request, data))
            except ValueError as error:
                raise InvalidRequestError(grpc.StatusCode.INVALID_ARGUMENT, str(error)) from error
            self.requests.append(request)
            prediction = self._answer(request, self._find(request.model))
        return codec.encode_prediction(prediction)

    def _find(self, ref: ModelRef) -> ModelInfo:
        for model in self._models:
            pinned = (not ref.version or ref.version == model.version) and (not ref.alias or ref.alias in model.aliases)
            if ref.name == model.name and pinned:
                return model
        known = ", ".join(f"{model.name}/{model.version}" for model in self._models)
        raise UnknownModelError(
            grpc.StatusCode.NOT_FOUND, f"model: a model is one that is served; {ref} is not. Known: {known}."
        )


@contextlib.contextmanager
def _aborting(context: grpc.ServicerContext) -> Iterator[None]:
    try:
        yield
    except ServiceError as error:
        context.set_trailing_metadata(
            trailing_metadata(error.status, error.retry_after_s, remaining_s=context.time_remaining())
        )
        context.abort(error.status, error.message)
