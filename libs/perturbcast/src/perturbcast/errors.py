"""The two kinds of refusal that a command tells apart by its exit code.

A bad value raises ``ValueError`` (exit code 1). Where what was *asked for* is wrong (an unknown name, a
column that the file does not have) it raises ``UsageError`` (exit code 2). Both carry one message: the
rule, the offending value, the way out.
"""

__all__ = ["UnanswerableError", "UsageError"]


class UsageError(ValueError):
    """What was asked for does not exist or does not fit; exit code 2."""


class UnanswerableError(ValueError):
    """A well-formed question that this model cannot answer; FAILED_PRECONDITION over gRPC."""
