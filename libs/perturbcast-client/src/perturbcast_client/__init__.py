"""Ask a Perturbcast prediction service: numpy in, numpy out, over gRPC.

``connect(address)`` gives a ``Client``; its methods take and return the frozen dataclasses listed here, and
every refusal is a ``ServiceError`` with the status and the message of the service.
"""

from perturbcast_client.channel import Tls
from perturbcast_client.client import Client, connect
from perturbcast_client.errors import (
    DeadlineError,
    DefectError,
    InvalidRequestError,
    ResourceExhaustedError,
    ServiceError,
    UnansweredError,
    UnauthenticatedError,
    UnavailableError,
    UnknownModelError,
)
from perturbcast_client.messages import (
    Condition,
    ControlCells,
    ModelInfo,
    ModelRef,
    Prediction,
    PredictRequest,
    SeenInTraining,
    Target,
    Wanted,
)

__version__ = "0.1.0"

__all__ = [
    "Client",
    "Condition",
    "ControlCells",
    "DeadlineError",
    "DefectError",
    "InvalidRequestError",
    "ModelInfo",
    "ModelRef",
    "PredictRequest",
    "Prediction",
    "ResourceExhaustedError",
    "SeenInTraining",
    "ServiceError",
    "Target",
    "Tls",
    "UnansweredError",
    "UnauthenticatedError",
    "UnavailableError",
    "UnknownModelError",
    "Wanted",
    "connect",
]
