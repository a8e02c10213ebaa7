"""JSON and named arrays as bytes: what travels between the prediction service and the handler; no pickles.

Length of the JSON in 4 bytes (little-endian), the JSON, the arrays one after the other, float64 or bool, row-major,
little-endian. The JSON is ``{"body": ..., "arrays": [[name, dtype, shape], ...]}``. Packed into the archive beside the
handler, so it imports numpy alone.
"""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Mapping
from typing import Any

import numpy as np

__all__ = ["pack", "unpack"]

DTYPES = {"float64": np.dtype("<f8"), "bool": np.dtype("?")}


def pack(body: Any, arrays: Mapping[str, np.ndarray]) -> bytes:
    """One message."""
    listed = [[name, array.dtype.name, array.shape] for name, array in arrays.items()]
    head = json.dumps({"body": body, "arrays": listed}).encode()
    data = [array.astype(DTYPES[array.dtype.name], copy=False).tobytes() for array in arrays.values()]
    return b"".join([struct.pack("<I", len(head)), head, *data])


def unpack(message: bytes) -> tuple[Any, dict[str, np.ndarray]]:
    """Body and arrays of a message.

    Raises:
        ValueError: the bytes are no message.
    """
    bytes_ = bytes(message)
    if len(bytes_) < 4 or len(bytes_) < 4 + (length := struct.unpack_from("<I", bytes_)[0]):
        raise ValueError(f"A message is its length, JSON and arrays; these {len(bytes_)} bytes end before.")
    head = json.loads(bytes_[4 : 4 + length])
    arrays, at = {}, 4 + length
    for name, dtype, shape in head["arrays"]:
        size = math.prod(shape) * DTYPES[dtype].itemsize
        if at + size > len(bytes_):
            raise ValueError(f"An array is as long as its shape; {name!r} {shape} ends before. Send all of it.")
        arrays[name] = np.frombuffer(bytes_, DTYPES[dtype], math.prod(shape), at).reshape(shape)
        at += size
    return head["body"], arrays
