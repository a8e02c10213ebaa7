"""The methods of ``inference.GRPCInferenceService``, for stock Triton and KServe clients."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from importlib.metadata import version
from typing import Any

import grpc

from perturbcast_client.messages import ModelRef, Prediction, PredictRequest
from prediction_service import open_inference
from prediction_service.answers import Answers, parse
from prediction_service.arrival import only_message
from prediction_service.engine import InvalidRequestError, UnknownModelError
from prediction_service.refusals import guarded
from prediction_service.wire import open_inference_pb2 as pb

__all__ = ["METHODS", "OpenInferenceServicer"]

METHODS = tuple(f"/{open_inference.NAME}/{method.name}" for method in open_inference.SERVICE.methods)
SERVER = "perturbcast-prediction"


class OpenInferenceServicer:
    """The methods of ``GRPCInferenceService``; the same queue, batches and limits as ``PredictionService``.

    Args:
        answers: takes requests to replies.
        idle_s: seconds that a call may hold its place before its message comes.
    """

    def __init__(self, answers: Answers, *, idle_s: float) -> None:
        self._answers = answers
        self._idle_s = idle_s

    @property
    def handler(self) -> grpc.GenericRpcHandler[bytes, bytes]:
        """What a ``grpc.aio`` server is given; requests and replies pass as bytes."""
        unary: dict[str, tuple[type[Any], Callable[[Any], Any]]] = {
            "ServerLive": (pb.ServerLiveRequest, lambda _: pb.ServerLiveResponse(live=True)),
            "ServerReady": (pb.ServerReadyRequest, lambda _: pb.ServerReadyResponse(ready=self._ready)),
            "ModelReady": (pb.ModelReadyRequest, self._model_ready),
            "ServerMetadata": (pb.ServerMetadataRequest, self._server_metadata),
            "ModelMetadata": (pb.ModelMetadataRequest, self._model_metadata),
        }
        methods = {
            name: grpc.unary_unary_rpc_method_handler(_answering(kind, answer))
            for name, (kind, answer) in unary.items()
        }
        infer = grpc.stream_unary_rpc_method_handler(self.model_infer)
        return grpc.method_handlers_generic_handler(open_inference.NAME, {**methods, "ModelInfer": infer})

    @property
    def _ready(self) -> bool:
        return not self._answers.queue.draining

    def _model_ready(self, message: pb.ModelReadyRequest) -> pb.ModelReadyResponse:
        try:
            self._answers.engine.describe(_ref(message.name, message.version))
        except UnknownModelError:
            return pb.ModelReadyResponse(ready=False)
        return pb.ModelReadyResponse(ready=self._ready)

    def _server_metadata(self, message: pb.ServerMetadataRequest) -> pb.ServerMetadataResponse:
        return pb.ServerMetadataResponse(name=SERVER, version=version(SERVER))

    def _model_metadata(self, message: pb.ModelMetadataRequest) -> pb.ModelMetadataResponse:
        info = self._answers.engine.describe(_ref(message.name, message.version))
        versions = [model.version for model in self._answers.engine.models() if model.name == info.name]
        return open_inference.model_metadata(info, versions)

    async def model_infer(self, _: AsyncIterator[bytes], context: Any) -> bytes:
        """One request, one reply; a call without a place is refused before its message is taken in."""

        async def answer() -> bytes:
            with self._answers.queue.call(remaining_s=context.time_remaining()):
                data = await only_message(context, kind="ModelInferRequest", idle_s=self._idle_s)
                with self._answers.queue.pace.work():
                    return await self._infer(data)

        return await guarded(answer, context)

    async def _infer(self, data: bytes) -> bytes:
        asked: list[pb.ModelInferRequest] = []

        def decode(data: bytes) -> PredictRequest:
            message = parse(pb.ModelInferRequest, data)
            asked.append(message)
            info = self._answers.engine.describe(_ref(message.model_name, message.model_version))
            return open_inference.decode_request(message, info)

        def encode(prediction: Prediction, _: Any) -> bytes:
            return bytes(open_inference.encode_prediction(asked[0], prediction).SerializeToString())

        return await self._answers.answer(data, decode, encode)


def _ref(name: str, version: str) -> ModelRef:
    try:
        return ModelRef(name, version=version)
    except ValueError as error:
        raise InvalidRequestError(f"model_{error}") from error


def _answering(kind: type[Any], answer: Callable[[Any], Any]) -> Callable[[bytes, Any], Awaitable[bytes]]:
    async def method(data: bytes, context: Any) -> bytes:
        async def reply() -> bytes:
            return bytes(answer(parse(kind, data)).SerializeToString())

        return await guarded(reply, context)

    return method
