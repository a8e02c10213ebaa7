"""How a channel to a service is opened: TLS by files, a token, retries by gRPC's own service config.

Retries are gRPC's: a call that ends with UNAVAILABLE or RESOURCE_EXHAUSTED before its first reply is sent again after
0.2, 0.8, 3.2 and 8 seconds (each by up to a fifth more or less), never beyond its deadline. A server that knows better
says so by pushback: how long to wait where its queue is full, never where a request is over a limit or would be late.
"""

from __future__ import annotations

import dataclasses
import ipaddress
import json
from pathlib import Path
from typing import Any, Optional, TypedDict, Union

import grpc

from perturbcast_client import codec

__all__ = ["ATTEMPTS", "Connecting", "Tls", "authorization", "opened", "options"]

ATTEMPTS = 5  # the most that gRPC takes
RETRIED = ("UNAVAILABLE", "RESOURCE_EXHAUSTED")
_File = Union[str, Path]  # not 'str | Path': this one is evaluated, and Python 3.9 lacks it


@dataclasses.dataclass(frozen=True)
class Tls:
    """How the connection is encrypted and both sides prove who they are.

    Attributes:
        ca_file: PEM certificates that sign the server; None takes those of gRPC (public authorities).
        certificate_file, key_file: PEM chain and key of this client, where the server asks for one (mutual TLS).
    """

    ca_file: Optional[_File] = None  # noqa: UP045  # dataclasses evaluates it on Python 3.9
    certificate_file: Optional[_File] = None  # noqa: UP045
    key_file: Optional[_File] = None  # noqa: UP045

    def __post_init__(self) -> None:
        if (self.certificate_file is None) != (self.key_file is None):
            given = "certificate_file" if self.certificate_file else "key_file"
            raise ValueError(f"{given}: a client's certificate comes with its key; only this one was given. Give both.")

    def credentials(self) -> grpc.ChannelCredentials:
        """What a secure channel is opened with.

        Raises:
            OSError: a file cannot be read.
        """
        ca, key, certificate = (
            None if path is None else Path(path).read_bytes()
            for path in (self.ca_file, self.key_file, self.certificate_file)
        )
        return grpc.ssl_channel_credentials(ca, key, certificate)


class Connecting(TypedDict, total=False):
    """How a client connects; ``perturbcast_client.connect`` says what each means."""

    tls: Tls | None
    token: str
    timeout_s: float
    stream_timeout_s: float
    attempts: int
    max_message_bytes: int


def opened(
    api: Any,
    address: str,
    *,
    tls: Tls | None = None,
    token: str = "",
    attempts: int = ATTEMPTS,
    max_message_bytes: int = codec.MAX_MESSAGE_BYTES,
    **times: float,
) -> dict[str, Any]:
    """What a client of ``address`` is built from: an open channel and how it is called.

    Args:
        api: ``grpc`` or ``grpc.aio``; the rest is ``Connecting``.

    Raises:
        ValueError: there is no address, a token is none or would travel in plain text to another machine, or
            ``attempts`` is out of range.
        OSError: a TLS file cannot be read.
    """
    if not address:
        raise ValueError("address: a service has one, host:port; got ''. Name it.")
    metadata = authorization(address, token, encrypted=tls is not None)
    chosen = options(max_message_bytes=max_message_bytes, attempts=attempts)
    channel = (
        api.insecure_channel(address, options=chosen)
        if tls is None
        else api.secure_channel(address, tls.credentials(), options=chosen)
    )
    return {"channel": channel, "metadata": metadata, "max_message_bytes": max_message_bytes, **times}


def options(*, max_message_bytes: int = codec.MAX_MESSAGE_BYTES, attempts: int = ATTEMPTS) -> list[tuple[str, Any]]:
    """Channel options: size limits, and a service config that sends a failed call again.

    Args:
        max_message_bytes: largest request and reply.
        attempts: how often a call is sent at most, 1 to 5.

    Raises:
        ValueError: ``attempts`` is out of range.
    """
    if not 1 <= attempts <= ATTEMPTS:
        raise ValueError(f"attempts: a call is sent 1 to {ATTEMPTS} times; got {attempts}. 1 turns retries off.")
    method: dict[str, Any] = {"name": [{"service": codec.SERVICE}]}
    if attempts > 1:
        method["retryPolicy"] = {
            "maxAttempts": attempts,
            "initialBackoff": "0.2s",
            "maxBackoff": "8s",  # in all 12 s: a server that was killed is back by then
            "backoffMultiplier": 4,
            "retryableStatusCodes": list(RETRIED),
        }
    return [
        ("grpc.max_send_message_length", max_message_bytes),
        ("grpc.max_receive_message_length", max_message_bytes),
        ("grpc.service_config", json.dumps({"methodConfig": [method]})),
        ("grpc.enable_retries", int(attempts > 1)),
        ("grpc.per_rpc_retry_buffer_size", max_message_bytes),  # a larger request would not be sent again
        ("grpc.initial_reconnect_backoff_ms", 100),
        ("grpc.min_reconnect_backoff_ms", 100),
        ("grpc.max_reconnect_backoff_ms", 2000),
    ]


def authorization(address: str, token: str, *, encrypted: bool) -> tuple[tuple[str, str], ...]:
    """The metadata that carries a bearer token; none without one.

    Raises:
        ValueError: it is no token, or it would leave this machine in plain text.
    """
    if not token:
        return ()
    if not (token.isascii() and token.isprintable()) or " " in token:
        raise ValueError(
            "token: a token is printable ASCII without blanks; this one is not. Look whether its file holds one alone."
        )
    if not encrypted and not _is_loopback(address):
        raise ValueError(
            f"token: a token leaves this machine over TLS only; {address!r} was to be reached in plain text. "
            "Give tls=Tls(ca_file=...)."
        )
    return (("authorization", f"Bearer {token}"),)


def _is_loopback(address: str) -> bool:
    host = address.rsplit(":", 1)[0].strip("[]")
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or address.startswith("unix:")
