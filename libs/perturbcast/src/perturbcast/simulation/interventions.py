"""What can be done to a node: set it, move it, damp it, drive it, cut it off; alone or several at once."""

from __future__ import annotations

import dataclasses

import numpy as np

from perturbcast.errors import UsageError

__all__ = ["KINDS", "Block", "Intervention", "draw_intervention"]

KINDS = ("hard", "shift", "knock_down", "activation", "noise_only")
# Strengths, uniform: sd units for hard and shift, a factor for the others. None reaches 0, because
# do(mean) is the least informative intervention.
RANGES = {"hard": (1.0, 3.0), "shift": (1.0, 3.0), "knock_down": (0.1, 0.5), "activation": (2.0, 5.0)}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Intervention:
    """do() on one or several nodes; the mechanisms of all others stay as they are.

    With x the value that the mechanism would give and e the node's own noise, in sd units:
    ``hard``: v; ``shift``: x + v; ``knock_down`` (0 <= v < 1) and ``activation`` (v > 1): v x;
    ``noise_only``: v e (cut off from its parents).

    Attributes:
        kind: one of ``KINDS``.
        targets: nodes, ascending and unique.
        values: v of each target.
    """

    kind: str
    targets: tuple[int, ...]
    values: tuple[float, ...]

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise UsageError(f"An intervention is one of {', '.join(KINDS)}; {self.kind!r} is not. Take one of them.")
        if not self.targets or list(self.targets) != sorted(set(self.targets)):
            raise ValueError(f"Targets are unique and ascending, at least one; they came as {self.targets}.")
        if len(self.values) != len(self.targets) or not np.isfinite(self.values).all():
            raise ValueError(f"Each of the targets {self.targets} has one finite value; they came as {self.values}.")
        low, high = {"knock_down": (0.0, 1.0), "activation": (1.0, np.inf)}.get(self.kind, (-np.inf, np.inf))
        if not all(low <= value <= high for value in self.values):
            raise ValueError(
                f"The factors of {self.kind!r} lie in {low:g} to {high:g}; they came as {self.values}. "
                "Use 'shift' or 'hard' for values in sd units."
            )

    def apply(self, node: int, mechanism: np.ndarray, noise: np.ndarray) -> np.ndarray:
        """Values [sample] of a targeted node from what its mechanism and its noise give."""
        value = self.values[self.targets.index(node)]
        if self.kind == "hard":
            return np.full_like(mechanism, value)
        if self.kind == "shift":
            return mechanism + value
        return value * (noise if self.kind == "noise_only" else mechanism)


# Columns of a batch [node, sample] that are under one intervention.
Block = tuple[slice, Intervention]


def draw_intervention(kind: str, targets: tuple[int, ...], generator: np.random.Generator) -> Intervention:
    """An intervention of random strength (and, for hard and shift, random direction)."""
    if kind == "noise_only":
        return Intervention(kind=kind, targets=targets, values=(1.0,) * len(targets))
    if kind not in RANGES:
        raise UsageError(f"An intervention is one of {', '.join(KINDS)}; {kind!r} is not. Take one of them.")
    values = generator.uniform(*RANGES[kind], size=len(targets))
    if kind in ("hard", "shift"):
        values *= generator.choice((-1.0, 1.0), size=len(targets))
    return Intervention(kind=kind, targets=targets, values=tuple(values.tolist()))
