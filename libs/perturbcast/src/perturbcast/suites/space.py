"""Configurations by hand: every point of a grid, and seeded random draws."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from perturbcast.errors import UsageError
from perturbcast.suites.sections import Range, Sweep

__all__ = ["drawn", "free", "grid"]

ATTEMPTS = 100  # draws per wanted configuration, where draws repeat


def free(space: Mapping[str, Any]) -> dict[str, list[Any] | Range]:
    """The fields that are not fixed."""
    return {name: value for name, value in space.items() if isinstance(value, list | Range)}


def grid(sweep: Sweep) -> dict[str, list[dict[str, Any]]]:
    """Model -> every combination of its choices, the last field fastest.

    Raises:
        UsageError: a field is a range, or models have grids of several sizes, so that one would be tried more often.
    """
    found = {}
    for model, space in sweep.models.items():
        choices = free(space)
        ranges = [name for name, value in choices.items() if isinstance(value, Range)]
        if ranges:
            raise UsageError(
                f"A grid has points; {', '.join(ranges)} of {model!r} is a range. Give a list, or another method."
            )
        fixed = {name: value for name, value in space.items() if name not in choices}
        points = itertools.product(*(value for value in choices.values() if isinstance(value, list)))
        found[model] = [fixed | dict(zip(choices, point, strict=True)) for point in points]
    sizes = {model: len(points) for model, points in found.items() if len(points) > 1}
    if sweep.trials is not None:
        sizes["trials"] = sweep.trials
    if len(set(sizes.values())) > 1:
        said = ", ".join(f"{model}: {size}" for model, size in sizes.items())
        raise UsageError(
            f"Models of a sweep are tried equally often (a model without choices once); these grids differ: {said}. "
            "Give grids of one size, or method random with trials."
        )
    return found


def drawn(sweep: Sweep) -> dict[str, list[dict[str, Any]]]:
    """Model -> ``trials`` different random configurations, or all there are where there are fewer."""
    found: dict[str, list[dict[str, Any]]] = {}
    for place, (model, space) in enumerate(sweep.models.items()):
        generator = np.random.default_rng([sweep.seed, place])
        draws = (_draw(space, generator) for _ in itertools.count())
        found[model] = list(itertools.islice(_different(draws, limit=ATTEMPTS * (sweep.trials or 1)), sweep.trials))
    return found


def _different(draws: Iterator[dict[str, Any]], *, limit: int) -> Iterator[dict[str, Any]]:
    seen = set()
    for values in itertools.islice(draws, limit):
        key = repr(sorted(values.items()))
        if key not in seen:
            seen.add(key)
            yield values


def _draw(space: Mapping[str, Any], generator: np.random.Generator) -> dict[str, Any]:
    values = {}
    for name, value in space.items():
        if isinstance(value, list):
            values[name] = value[int(generator.integers(len(value)))]
        elif isinstance(value, Range):
            values[name] = _number(value, generator.random())
        else:
            values[name] = value
    return values


def _number(within: Range, share: float) -> float | int:
    """The number at a share (0 to 1) of the way."""
    low, high = within.low, within.high + (1 if within.integer else 0)  # whole numbers are the floors of their cells
    if within.log:
        value = math.exp(math.log(low) + share * (math.log(high) - math.log(low)))
    else:
        value = low + share * (high - low)
    return min(int(value), int(within.high)) if within.integer else value
