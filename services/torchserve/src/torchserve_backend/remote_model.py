"""A trained model whose predictions are made by TorchServe; everything else of it is read here."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import grpc
import numpy as np

from perturbcast.errors import UnanswerableError
from perturbcast.schema import Condition, Prediction
from perturbcast.training import TrainedModel
from torchserve_backend.packing import pack, unpack
from torchserve_backend.wire import torchserve_pb2 as pb

__all__ = ["BackendUnavailableError", "RemoteModel"]

PREDICTIONS = "/org.pytorch.serve.grpc.inference.InferenceAPIsService/Predictions"
TIMEOUT_S = 60.0


class BackendUnavailableError(ConnectionError):
    """TorchServe does not answer; it is started again, so asking again helps."""


class RemoteModel:
    """Answers as ``model`` would, through TorchServe; what is not a prediction comes from ``model`` itself.

    Args:
        model: the same model, read from its directory.
        name: what TorchServe calls it.
        channel: to TorchServe's inference port.
        token: gives the token of the process that runs now.
    """

    def __init__(self, model: TrainedModel, *, name: str, channel: grpc.Channel, token: Any) -> None:
        self._model = model
        self._name = name
        self._token = token
        self._send = channel.unary_unary(
            PREDICTIONS,
            request_serializer=pb.PredictionsRequest.SerializeToString,
            response_deserializer=pb.PredictionResponse.FromString,
        )

    def __getattr__(self, name: str) -> Any:
        return getattr(self._model, name)

    def predict(
        self,
        conditions: Sequence[Condition],
        *,
        control_means: Mapping[str, np.ndarray] | None = None,
        levels: Collection[float] | None = None,
    ) -> Prediction:
        """As ``TrainedModel.predict``.

        Raises:
            BackendUnavailableError: TorchServe does not answer.
            UnanswerableError: as ``TrainedModel.predict``.
        """
        body = {
            "fingerprint": self._model.fingerprint,
            "conditions": [[c.perturbation, c.context] for c in conditions],
            "levels": None if levels is None else sorted(levels),
        }
        message = pack(body, {name: np.asarray(mean, np.float64) for name, mean in (control_means or {}).items()})
        request = pb.PredictionsRequest(model_name=self._name, input={"message": message})
        try:
            metadata = (("protocol", "gRPC"), ("authorization", f"Bearer {self._token()}"))
            reply = self._send(request, timeout=TIMEOUT_S, metadata=metadata)
        except (grpc.RpcError, OSError) as error:
            raise BackendUnavailableError(
                "The model's backend is up within seconds of having gone; it does not answer now. Ask again."
            ) from error
        answer, arrays = unpack(reply.prediction)
        if "unanswerable" in answer:
            raise UnanswerableError(answer["unanswerable"])
        if "defect" in answer:
            raise RuntimeError(f"TorchServe met a defect: {answer['defect']}")
        return Prediction(
            conditions=tuple(conditions),
            genes=self._model.genes,
            delta=arrays["delta"],
            variance=arrays["variance"],
            control=arrays["control"],
            intervals={level: arrays[f"interval {level!r}"] for level in answer["levels"]},
            seen=arrays["seen"],
            notes=tuple(tuple(notes) for notes in answer["notes"]),
            model=self._model.fingerprint,
            ood_score=arrays.get("ood_score"),
            kind=self._model.kind,
            seed=self._model.seed,
        )
