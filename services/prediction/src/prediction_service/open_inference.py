"""Tensors of the Open Inference Protocol v2 <-> requests and predictions; knows no gRPC.

| input | datatype, shape | means |
|---|---|---|
| ``perturbation`` | BYTES [condition] | label, a combination as ``A+B`` |
| ``context`` | BYTES [condition] | cell type, cell line or donor |
| ``control`` (optional) | FP32 or FP64 [cell, gene] | control cells of the one context, model's gene order |

| output | datatype, shape | means |
|---|---|---|
| ``delta`` (also where none is named), ``variance``, ``expression`` | FP64 [condition, gene] | as ``PredictResponse`` |
| ``lower``, ``upper`` | FP64 [condition, gene] | at the parameter ``interval_level`` of the request, 0.9 without it |
| ``seen`` | BOOL [condition, 3] | perturbation, context and pair seen in training |

Inputs come raw (``raw_input_contents``) or typed (``contents``); outputs go raw. A parameter that would change the
answer and is not known here is refused, and so is ``interval_level`` where neither ``lower`` nor ``upper`` is named;
those in ``HINTS`` change none.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from perturbcast_client.messages import (
    Condition,
    ControlCells,
    ModelInfo,
    ModelRef,
    Prediction,
    PredictRequest,
    Wanted,
)
from prediction_service.wire import open_inference_pb2 as pb

__all__ = ["NAME", "SERVICE", "decode_request", "encode_prediction", "model_metadata"]

SERVICE = pb.DESCRIPTOR.services_by_name["GRPCInferenceService"]
NAME = SERVICE.full_name
PLATFORM = "perturbcast"
LEVEL = 0.9
INPUTS = {"perturbation": ("BYTES",), "context": ("BYTES",), "control": ("FP32", "FP64")}
# what stock clients send of themselves: how Triton queues, how MLServer and the HTTP form encode
HINTS = {"priority", "timeout", "headers", "content_type", "binary_data", "binary_data_output", "binary_data_size"}
OUTPUTS = ("delta", "variance", "lower", "upper", "expression", "seen")
FLOATS: dict[str, tuple[np.dtype[Any], str]] = {
    "FP32": (np.dtype("<f4"), "fp32_contents"),
    "FP64": (np.dtype("<f8"), "fp64_contents"),
}


def model_metadata(info: ModelInfo, versions: list[str]) -> pb.ModelMetadataResponse:
    """Inputs and outputs of a model; -1 is any length."""
    tensor = pb.ModelMetadataResponse.TensorMetadata
    matrix = [-1, info.gene_count]
    return pb.ModelMetadataResponse(
        name=info.name,
        versions=versions,
        platform=PLATFORM,
        inputs=[
            tensor(name="perturbation", datatype="BYTES", shape=[-1]),
            tensor(name="context", datatype="BYTES", shape=[-1]),
            tensor(name="control", datatype="FP32", shape=matrix),
        ],
        outputs=[
            tensor(name=name, datatype="BOOL", shape=[-1, 3])
            if name == "seen"
            else tensor(name=name, datatype="FP64", shape=matrix)
            for name in OUTPUTS
        ],
    )


def decode_request(message: pb.ModelInferRequest, info: ModelInfo) -> PredictRequest:
    """The request in the terms of the engine.

    Raises:
        ValueError: begins with the field.
    """
    _check_parameters(message)
    tensors = _tensors(message)
    for name in ("perturbation", "context"):
        if name not in tensors:
            raise ValueError(f"inputs: every request holds perturbation and context; {name} is missing. Add it.")
    labels, contexts = tensors["perturbation"], tensors["context"]
    if len(labels) != len(contexts):
        raise ValueError(
            f"inputs: perturbation and context are as long as each other; got {len(labels)} and {len(contexts)}. "
            "Send one of each per condition."
        )
    conditions = tuple(Condition.from_label(*pair) for pair in zip(labels, contexts, strict=True))
    controls: tuple[ControlCells, ...] = ()
    if "control" in tensors:
        if len(set(contexts)) != 1:
            raise ValueError(
                f"inputs: control holds the cells of one context; the request asks for {len(set(contexts))}. "
                "Send one request per context."
            )
        controls = (ControlCells(context=contexts[0], expression=tensors["control"]),)
    wanted = _outputs(message)
    return PredictRequest(
        model=ModelRef(message.model_name, version=message.model_version),
        conditions=conditions,
        controls=controls,
        genes_sha256=info.genes_sha256 if controls else "",
        wanted=Wanted(
            variance="variance" in wanted,
            interval_level=_level(message, wanted),
            expression="expression" in wanted,
        ),
        request_id=message.id,
    )


def encode_prediction(message: pb.ModelInferRequest, prediction: Prediction) -> pb.ModelInferResponse:
    """The reply with the outputs that the request names, in its order."""
    seen = np.array([[s.perturbation, s.context, s.pair] for s in prediction.seen], dtype=bool)
    response = pb.ModelInferResponse(
        model_name=prediction.model, model_version=prediction.version, id=prediction.request_id
    )
    response.parameters["fingerprint"].string_param = prediction.fingerprint
    for name in _outputs(message):
        array = seen if name == "seen" else getattr(prediction, name)
        response.outputs.add(name=name, datatype="BOOL" if name == "seen" else "FP64", shape=array.shape)
        response.raw_output_contents.append(array.astype(array.dtype.newbyteorder("<"), copy=False).tobytes())
    return response


def _outputs(message: pb.ModelInferRequest) -> list[str]:
    names = [output.name for output in message.outputs] or ["delta"]
    for name in names:
        if name not in OUTPUTS or names.count(name) > 1:
            raise ValueError(f"outputs: each of {', '.join(OUTPUTS)} at most once; got {name!r}. See ModelMetadata.")
    return names


def _check_parameters(message: pb.ModelInferRequest) -> None:
    places = [("parameters", message.parameters, {"interval_level"})]
    places += [(f"inputs[{i}].parameters", tensor.parameters, set()) for i, tensor in enumerate(message.inputs)]
    places += [(f"outputs[{i}].parameters", tensor.parameters, set()) for i, tensor in enumerate(message.outputs)]
    for field, parameters, known in places:
        unknown = sorted(set(parameters) - known - HINTS)
        if unknown:
            raise ValueError(
                f"{field}: what is known is {', '.join(known) or 'none'}; got {unknown[0]!r}, which changes nothing. "
                "Leave it out."
            )


def _level(message: pb.ModelInferRequest, wanted: Sequence[str]) -> float:
    """Level of ``lower`` and ``upper``; 0 where neither is wanted."""
    bounds = "lower" in wanted or "upper" in wanted
    if "interval_level" not in message.parameters:
        return LEVEL if bounds else 0.0
    if not bounds:
        raise ValueError(
            f"parameters: interval_level is the level of the outputs lower and upper; the request asks for "
            f"{', '.join(wanted)}. Name lower or upper among its outputs, or leave the level out."
        )
    parameter = message.parameters["interval_level"]
    if parameter.WhichOneof("parameter_choice") != "double_param":
        raise ValueError("parameters: interval_level is a double_param; got another type. Send a double.")
    level = float(parameter.double_param)
    if not level:  # which asks for no interval, in requests of the other protocol
        raise ValueError(
            "parameters: interval_level lies between 0 and 1; got 0. Send one, or name no lower and upper."
        )
    return level


def _tensors(message: pb.ModelInferRequest) -> dict[str, Any]:
    raw = message.raw_input_contents
    if raw and (len(raw) != len(message.inputs) or any(tensor.HasField("contents") for tensor in message.inputs)):
        raise ValueError(
            f"raw_input_contents: one entry per input and no contents beside it; got {len(raw)} for "
            f"{len(message.inputs)} inputs. Send all of them raw, or none."
        )
    tensors: dict[str, Any] = {}
    for i, tensor in enumerate(message.inputs):
        try:
            _check(tensor, tensors)
            content = raw[i] if raw else None
            tensors[tensor.name] = _labels(tensor, content) if tensor.datatype == "BYTES" else _floats(tensor, content)
        except ValueError as error:
            raise ValueError(f"inputs[{i}].{error}") from error
    return tensors


def _check(tensor: Any, before: Mapping[str, Any]) -> None:
    if tensor.name not in INPUTS or tensor.name in before:
        raise ValueError(f"name: each of {', '.join(INPUTS)} at most once; got {tensor.name!r}. See ModelMetadata.")
    if tensor.datatype not in INPUTS[tensor.name]:
        allowed = " or ".join(INPUTS[tensor.name])
        raise ValueError(f"datatype: {tensor.name} is {allowed}; got {tensor.datatype!r}. Convert it first.")
    axes = 2 if tensor.name == "control" else 1
    if len(tensor.shape) != axes or any(length < 0 for length in tensor.shape):
        raise ValueError(f"shape: {tensor.name} has {axes} axes; got {list(tensor.shape)}. See ModelMetadata.")


def _floats(tensor: Any, raw: bytes | None) -> NDArray[Any]:
    dtype, field = FLOATS[tensor.datatype]
    rows, columns = tensor.shape
    values: NDArray[Any] | None = None
    if raw is None:
        values = np.asarray(getattr(tensor.contents, field), dtype=dtype)
    elif len(raw) % dtype.itemsize == 0:
        values = np.frombuffer(raw, dtype=dtype)
    if values is None or values.size != rows * columns:
        got = f"{len(raw)} bytes" if raw is not None else f"{len(getattr(tensor.contents, field))} values"
        raise ValueError(f"contents: shape {[rows, columns]} of {tensor.datatype}; got {got}. Send the whole array.")
    native: NDArray[Any] = values.reshape(rows, columns).astype(dtype.newbyteorder("="), copy=False)
    return native


def _labels(tensor: Any, raw: bytes | None) -> list[str]:
    (length,) = tensor.shape
    values = list(tensor.contents.bytes_contents) if raw is None else _split(raw)
    if len(values) != length:
        raise ValueError(f"contents: {length} strings by shape; got {len(values)}. Send one per condition.")
    try:
        return [value.decode() for value in values]
    except UnicodeDecodeError as error:
        raise ValueError(f"contents: strings are UTF-8; {tensor.name} holds others ({error}). Encode them.") from error


def _split(raw: bytes) -> list[bytes]:
    """Strings, each after its length in 4 bytes, little-endian."""
    values, at = [], 0
    while at < len(raw):
        if at + 4 > len(raw):
            raise ValueError("contents: a string comes after its length in 4 bytes; these bytes end in one. Send all.")
        (length,) = struct.unpack_from("<I", raw, at)
        at += 4 + length
        if at > len(raw):
            raise ValueError(f"contents: a string is as long as said, {length}; these bytes end before. Send all.")
        values.append(raw[at - length : at])
    return values
