"""Wraps a gRPC method's handler, whatever kind of method it is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import grpc

__all__ = ["wrapped"]


def wrapped(handler: Any, wrap: Callable[[Any], Any]) -> Any:
    """The handler with ``wrap`` of its function; of the kinds that this service has."""
    if handler.request_streaming and handler.response_streaming:
        return grpc.stream_stream_rpc_method_handler(wrap(handler.stream_stream))
    if handler.request_streaming:
        return grpc.stream_unary_rpc_method_handler(wrap(handler.stream_unary))
    return grpc.unary_unary_rpc_method_handler(wrap(handler.unary_unary))
