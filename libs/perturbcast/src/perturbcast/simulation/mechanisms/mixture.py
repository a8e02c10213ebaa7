"""Several families in one model: drawn for each node, or once for the whole graph, by given proportions."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np

from perturbcast.errors import UsageError
from perturbcast.simulation.families import mechanism_family
from perturbcast.simulation.mechanisms.batch import Batch


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    """Attributes:
    families: names of mechanism families.
    proportions: weight of each family, not negative; None for equal ones.
    per: "node" draws a family for each node, "graph" one for all.
    """

    families: tuple[str, ...] = ("linear", "mlp", "gp", "gpcde", "pnl", "heteroscedastic")
    proportions: tuple[float, ...] | None = None
    per: str = "node"

    def __post_init__(self) -> None:
        weights = self.weights
        if len(weights) != len(self.families) or min(weights, default=0) < 0 or not sum(weights):
            raise UsageError(
                f"A mixture gives every family a weight that is not negative; {self.families} got "
                f"{self.proportions}. Give one proportion per family, or none for equal ones."
            )
        if "mixture" in self.families:
            raise UsageError("A mixture is made of plain families; it names 'mixture' itself. Leave that name out.")
        if self.per not in ("node", "graph"):
            raise UsageError(f"A mixture is drawn per 'node' or per 'graph'; {self.per!r} is neither.")

    @property
    def weights(self) -> tuple[float, ...]:
        return self.proportions or (1.0,) * len(self.families)


def assign(config: Config, n_nodes: int, generator: np.random.Generator) -> list[str]:
    """Family name of each node."""
    weights = np.array(config.weights) / sum(config.weights)
    drawn = generator.choice(config.families, size=n_nodes if config.per == "node" else 1, p=weights)
    return [str(name) for name in np.broadcast_to(drawn, n_nodes)]


def build(
    config: Config, *, batch: Batch, generator: np.random.Generator
) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
    """A mechanism for one node of a family drawn for it alone."""
    module = mechanism_family(assign(config, 1, generator)[0])
    mechanism: Callable[[np.ndarray, np.ndarray], np.ndarray] = module.build(
        module.Config(), batch=batch, generator=generator
    )
    return mechanism
