"""One progress bar for every stage: a bar on a terminal, one plain line in a log."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TypeVar

__all__ = ["track"]

Item = TypeVar("Item")


def track(items: Sequence[Item], what: str, *, unit: str = "folds") -> Iterator[Item]:
    """Go through ``items`` and show how far; ``unit`` is what they are."""
    from rich.console import Console  # here, because some stages have nothing to wait for
    from rich.progress import track as rich_track

    console = Console(stderr=True)
    if not console.is_terminal:
        console.print(f"{what}: {len(items)} {unit}", highlight=False, soft_wrap=True)
        yield from items
        return
    yield from rich_track(items, description=what, console=console)
