"""Conditions in shards that are worked on apart, and their partial results put together again.

A shard is a run of neighbours in the list of conditions. Its partial result is arrays with a row per condition, so
that putting together is laying one after the other; nothing is added up, and no rounding depends on how many there are.

Axes: C conditions.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

__all__ = ["Part", "blocks", "joined", "shard_rows"]

BLOCK = 20_000  # cells of the conditions that are held at once; a condition of more is alone


@dataclasses.dataclass(frozen=True, kw_only=True)
class Part:
    """The partial result of one shard.

    Attributes:
        number: of the shard, from 1.
        of: how many shards there are.
        arrays: name -> [condition, ...] of its conditions, the same names in every shard.
        notes: metric id -> what its scores say beside their values.
    """

    number: int
    of: int
    arrays: Mapping[str, np.ndarray]
    notes: Mapping[str, Sequence[str]] = dataclasses.field(default_factory=dict)


def shard_rows(n: int, *, shards: int) -> list[np.ndarray]:
    """Rows of each shard, none empty: there are no more shards than conditions.

    Raises:
        ValueError: fewer than one shard.
    """
    if shards < 1:
        raise ValueError(f"Conditions are divided into 1 shard or more; {shards} were asked for. Give another number.")
    return np.array_split(np.arange(n), min(shards, n)) if n else []


def blocks(sizes: Sequence[int], *, limit: int = BLOCK) -> Iterator[np.ndarray]:
    """Rows of neighbours with at most ``limit`` cells together; one of more is alone.

    Args:
        sizes: cells of each condition.
        limit: cells.
    """
    first = held = 0
    for row, size in enumerate(sizes):
        if row > first and held + size > limit:
            yield np.arange(first, row)
            first, held = row, 0
        held += size
    if first < len(sizes):
        yield np.arange(first, len(sizes))


def joined(parts: Sequence[Part], *, of: int, what: str) -> dict[str, np.ndarray]:
    """Arrays of all conditions, whatever the order of ``parts``.

    Args:
        parts: of every shard, each once.
        of: how many shards there are.
        what: they are of, for the message.

    Raises:
        ValueError: a shard is missing or there twice, or is of another division.
    """
    numbers = sorted(part.number for part in parts)
    wanted = list(range(1, of + 1))
    others = sorted({part.of for part in parts} - {of})
    if numbers != wanted or others:
        missing = sorted(set(wanted) - set(numbers))
        odd = sorted({k for k in numbers if numbers.count(k) > 1 or k not in wanted})
        said = [f"missing: {', '.join(map(str, missing))}"] * bool(missing)
        said += [f"there twice or unknown: {', '.join(map(str, odd))}"] * bool(odd)
        said += [f"of a division into {', '.join(map(str, others))}"] * bool(others)
        raise ValueError(
            f"A result is put together from every one of its {of} shards, each once; of {what} {'; '.join(said)}. "
            "Make these shards with the same --shards."
        )
    ordered = sorted(parts, key=lambda part: part.number)
    return {name: np.concatenate([part.arrays[name] for part in ordered]) for name in ordered[0].arrays}
