"""Who may call: TLS and mutual TLS by files, bearer tokens by a file.

A caller without credentials learns nothing but that they are missing: no model, no version, no method.
"""

from __future__ import annotations

import dataclasses
import hashlib
import hmac
import ssl
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import grpc

__all__ = ["Security", "TokenCheck", "read_tokens"]

SHORTEST_TOKEN = 16  # characters; 'openssl rand -hex 32' gives 64
OPEN = "/grpc.health.v1.Health/"  # a load balancer has no token


@dataclasses.dataclass(frozen=True, kw_only=True)
class Security:
    """Files that a server proves itself with and knows its callers by.

    Attributes:
        certificate: PEM chain of the server; with ``key`` it turns TLS on.
        key: PEM private key of ``certificate``.
        client_ca: PEM certificates that sign clients; with it only clients with a certificate get through (mutual TLS).
        token_file: bearer tokens, one per line; ``#`` begins a comment line.
    """

    certificate: Path | None = None
    key: Path | None = None
    client_ca: Path | None = None
    token_file: Path | None = None

    def __post_init__(self) -> None:
        if (self.certificate is None) != (self.key is None):
            given = "a certificate" if self.certificate else "a key"
            raise ValueError(f"TLS takes a certificate and its key; only {given} was given. Give both files.")
        if self.client_ca and not self.certificate:
            raise ValueError(
                f"Mutual TLS begins with TLS; {self.client_ca} came without a certificate of the server. "
                "Give certificate and key too."
            )

    @property
    def encrypts(self) -> bool:
        """Whether the connection is TLS."""
        return self.certificate is not None

    @property
    def knows_callers(self) -> bool:
        """Whether a caller has to prove who it is, by token or by certificate."""
        return self.client_ca is not None or self.token_file is not None

    def credentials(self) -> grpc.ServerCredentials | None:
        """What a secure port is bound with; None for plain text.

        Raises:
            ValueError: a file cannot be read, is not PEM, or key and certificate do not belong together.
        """
        if self.certificate is None or self.key is None:
            return None
        try:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)  # gRPC itself would start and fail every handshake
            context.load_cert_chain(self.certificate, self.key)
            if self.client_ca:
                context.load_verify_locations(self.client_ca)
            chain = (self.key.read_bytes(), self.certificate.read_bytes())
            client_ca = self.client_ca.read_bytes() if self.client_ca else None
        except OSError as error:  # ssl.SSLError is one
            files = ", ".join(str(path) for path in (self.certificate, self.key, self.client_ca) if path)
            raise ValueError(
                f"TLS files are PEM, readable, and belong together; {files}: {error}. Check each with 'openssl x509'."
            ) from error
        return grpc.ssl_server_credentials([chain], client_ca, require_client_auth=client_ca is not None)

    def interceptors(self) -> Sequence[grpc.aio.ServerInterceptor]:
        """What a server checks calls with; none where tokens are not in use."""
        return () if self.token_file is None else (TokenCheck(read_tokens(self.token_file)),)


def read_tokens(path: Path) -> tuple[str, ...]:
    """The tokens of a file.

    Raises:
        ValueError: it cannot be read, holds no token, or one that is too short or not plain ASCII.
    """
    try:
        lines = [line.strip() for line in path.read_text(encoding="utf-8").splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"A token file is text, one token per line; {path} cannot be read: {error}.") from error
    tokens = tuple(line for line in lines if line and not line.startswith("#"))
    if not tokens:
        raise ValueError(f"A token file holds at least one token; {path} holds none. Add 'openssl rand -hex 32'.")
    for number, token in enumerate(tokens, start=1):
        if len(token) < SHORTEST_TOKEN or not token.isascii() or " " in token:
            raise ValueError(
                f"A token has at least {SHORTEST_TOKEN} ASCII characters without blanks; number {number} of {path} "
                f"has {len(token)} characters or others. Take 'openssl rand -hex 32'."
            )
    return tokens


class TokenCheck(grpc.aio.ServerInterceptor):
    """Refuses every call but health that does not bring one of the tokens, before its message is read.

    Args:
        tokens: each opens the service.
    """

    def __init__(self, tokens: Sequence[str]) -> None:
        self._digests = [_digest(f"Bearer {token}") for token in tokens]

    def knows(self, authorization: str | bytes) -> bool:
        """Whether the value of ``authorization`` holds a token; takes as long for a wrong one as for a right one."""
        digest = _digest(authorization)
        # digests have one length, and every token is compared whatever the others gave
        return sum(hmac.compare_digest(digest, known) for known in self._digests) > 0

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Any]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Any:
        """The method's own handler, or one that refuses."""
        details = handler_call_details
        given = [value for name, value in details.invocation_metadata if name == "authorization"]
        if details.method.startswith(OPEN) or (len(given) == 1 and self.knows(given[0])):
            return await continuation(details)
        return REFUSAL


async def _refuse(_messages: Any, context: Any) -> None:
    await context.abort(
        grpc.StatusCode.UNAUTHENTICATED,
        "authorization: every call but health brings the metadata 'authorization: Bearer TOKEN' with a token that this "
        "server knows; this one did not. Ask whoever runs the service for a token.",
    )


# a stream of both sides fits every method and reads nothing
REFUSAL = grpc.stream_stream_rpc_method_handler(_refuse)


def _digest(value: str | bytes) -> bytes:
    return hashlib.sha256(value if isinstance(value, bytes) else value.encode()).digest()
