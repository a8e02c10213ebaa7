"""Outputs appear whole or not at all: written under a temporary name beside, then renamed."""

from __future__ import annotations

import contextlib
import errno
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

__all__ = ["replacing", "said_when_full", "write_bytes", "write_json"]

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@contextlib.contextmanager
def said_when_full(path: Path) -> Iterator[None]:
    """Says what there was no room for, around what writes ``path``."""
    try:
        yield
    except OSError as error:
        if error.errno not in FULL:
            raise
        raise OSError(
            f"Outputs are written whole; there was no room for {path} ({error.strerror}), and what stood there before "
            "is unchanged. Make room and run the same command again."
        ) from error


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary path beside ``path`` to write to; it takes the name of ``path`` when the block ends well.

    The temporary name keeps the suffix, which numpy and anndata look at. After an error nothing remains.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.stem}.partial{path.suffix}")
    try:
        with said_when_full(path):
            yield beside
            beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file whole."""
    with replacing(path) as beside:
        beside.write_bytes(content)


def write_json(path: Path, value: Any) -> None:
    """Write JSON in one way (sorted keys, a final newline), so that equal values give equal bytes.

    Raises:
        ValueError: the value holds NaN or infinity, which JSON cannot say.
    """
    text = json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False, allow_nan=False)
    write_bytes(path, (text + "\n").encode())
