"""How much one request may ask for; checked before anything of that size is built."""

from __future__ import annotations

import dataclasses

__all__ = ["LimitError", "Limits"]


class LimitError(ValueError):
    """The request or its reply is larger than this server allows."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Limits:
    """What one request may ask for.

    Attributes:
        max_conditions: conditions.
        max_cells: control cells, over all contexts.
        max_reply_bytes: size of the reply.
    """

    max_conditions: int = 10_000
    max_cells: int = 200_000
    max_reply_bytes: int = 64 * 2**20

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            if getattr(self, field.name) < 1:
                raise ValueError(f"A limit is at least 1; {field.name} is {getattr(self, field.name)}. Raise it.")

    def check_conditions(self, count: int) -> None:
        """Raises LimitError: more conditions than allowed."""
        if count > self.max_conditions:
            raise LimitError(
                f"conditions: a request holds at most {self.max_conditions} conditions on this server; got {count}. "
                "Split it, or send chunks through PredictStream."
            )

    def check_cells(self, count: int) -> None:
        """Raises LimitError: more control cells than allowed."""
        if count > self.max_cells:
            raise LimitError(
                f"controls: a request holds at most {self.max_cells} control cells on this server; got {count}. "
                "Send fewer cells per context, or one context per request."
            )

    def check_reply(self, size: int) -> None:
        """Raises LimitError: a reply of ``size`` bytes is too large."""
        if size > self.max_reply_bytes:
            raise LimitError(
                f"conditions: a reply has at most {self.max_reply_bytes} bytes on this server; this one would have "
                f"{size}. Ask for fewer conditions or tensors, or send chunks through PredictStream."
            )
