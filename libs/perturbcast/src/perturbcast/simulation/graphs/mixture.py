"""Each graph is drawn from one of several families, by given proportions, all at the same density."""

from __future__ import annotations

import dataclasses

import numpy as np

from perturbcast.errors import UsageError
from perturbcast.simulation.causal_graph import CausalGraph
from perturbcast.simulation.families import graph_family


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    """Attributes:
    edges_per_node: expected edges divided by nodes, of every family.
    families: names of graph families.
    proportions: weight of each family, not negative; None for equal ones.
    """

    edges_per_node: float = 2.0
    families: tuple[str, ...] = ("erdos_renyi", "scale_free", "scale_free_transposed", "watts_strogatz")
    proportions: tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        weights = self.weights
        if len(weights) != len(self.families) or min(weights, default=0) < 0 or not sum(weights):
            raise UsageError(
                f"A mixture gives every family a weight that is not negative; {self.families} got "
                f"{self.proportions}. Give one proportion per family, or none for equal ones."
            )
        if "mixture" in self.families:
            raise UsageError("A mixture is made of plain families; it names 'mixture' itself. Leave that name out.")

    @property
    def weights(self) -> tuple[float, ...]:
        return self.proportions or (1.0,) * len(self.families)


def sample(config: Config, n_nodes: int, generator: np.random.Generator) -> CausalGraph:
    """One graph of one of the families.

    Raises:
        UsageError: an unknown family, or a density that the drawn family cannot have.
    """
    weights = np.array(config.weights) / sum(config.weights)
    module = graph_family(str(generator.choice(config.families, p=weights)))
    graph: CausalGraph = module.sample(
        module.Config(edges_per_node=config.edges_per_node), n_nodes=n_nodes, generator=generator
    )
    return graph
