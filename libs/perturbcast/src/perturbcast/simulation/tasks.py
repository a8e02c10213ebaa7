"""Tasks for amortised causal discovery: a graph and data from it, observational and under interventions."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping
from typing import Any

import numpy as np

from perturbcast import catalog
from perturbcast.errors import UsageError
from perturbcast.simulation import gene_expression
from perturbcast.simulation.causal_graph import CausalGraph
from perturbcast.simulation.families import graph_family
from perturbcast.simulation.interventions import Block, Intervention, draw_intervention
from perturbcast.simulation.noise import draw_noise
from perturbcast.simulation.structural_model import draw_model, draw_with_values

__all__ = ["Task", "TaskFamily", "draw_graph", "draw_task"]

GENE_EXPRESSION = "gene_expression"


@dataclasses.dataclass(frozen=True, kw_only=True)
class TaskFamily:
    """Everything that a family of tasks is, in full, so that its JSON is its definition.

    Attributes:
        mechanism: gene_expression, or a mechanism family.
        mechanism_parameters: fields of its ``Config`` that differ from the defaults.
        graph: graph family.
        graph_parameters: fields of its ``Config`` besides the density.
        nodes: number of nodes.
        edges_per_node: expected edges divided by nodes.
        noise: shape of the noise (mechanism families).
        observations: observational samples.
        environments: interventional environments.
        rows: samples of each environment.
        intervention: kind of intervention.
        targets: nodes intervened on at once.
        batch: observational samples that freeze the standardisation.
    """

    mechanism: str
    mechanism_parameters: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    graph: str = "erdos_renyi"
    graph_parameters: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    nodes: int = 20
    edges_per_node: float = 2.0
    noise: str = "gaussian"
    observations: int = 500
    environments: int = 0
    rows: int = 20
    intervention: str = "hard"
    targets: int = 1
    batch: int = 4096

    def __post_init__(self) -> None:
        if min(self.observations, self.rows, self.batch) < 2 or self.environments < 0:
            raise UsageError(
                "A task has at least 2 samples of each kind; observations, rows, batch, environments are "
                f"{self.observations}, {self.rows}, {self.batch}, {self.environments}. Ask for more."
            )
        if not 1 <= self.targets <= self.nodes:
            raise UsageError(
                f"An intervention has 1 to {self.nodes} targets, one per node; {self.targets} were asked for. "
                "Ask for fewer, or for more nodes."
            )

    @functools.cached_property
    def config(self) -> Any:
        """The mechanism's ``Config``; read once, because checking it takes longer than a small task.

        Raises:
            UsageError: an unknown mechanism, or parameters that it does not take.
        """
        return catalog.configure("simulation.mechanisms", self.mechanism, self.mechanism_parameters)


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Task:
    """One draw of a family.

    Attributes:
        graph: the answer.
        families: mechanism family of each node.
        observational: [sample, node] float32; sd units, or molecules for gene_expression.
        interventional: [sample, node] float32, environments one after the other.
        interventions: of each environment, with targets and values.
    """

    graph: CausalGraph
    families: tuple[str, ...]
    observational: np.ndarray
    interventional: np.ndarray
    interventions: tuple[Intervention, ...]


def draw_graph(family: TaskFamily, seed: np.random.SeedSequence) -> CausalGraph:
    """The graph of the task that ``draw_task`` makes from the same seed, without its data.

    Raises:
        UsageError: an unknown graph family, or a density that it cannot have.
    """
    module = graph_family(family.graph)
    config = module.Config(edges_per_node=family.edges_per_node, **family.graph_parameters)
    graph: CausalGraph = module.sample(config, n_nodes=family.nodes, generator=np.random.default_rng(seed))
    return graph


def draw_task(family: TaskFamily, seed: np.random.SeedSequence) -> Task:
    """Draw graph, mechanisms and data; the same seed gives the same bytes.

    Raises:
        UsageError: an unknown family, noise or intervention, or a density that cannot be.
    """
    graph = draw_graph(family, seed)
    # spawn() counts on the object that it is called on; a fresh one makes this call repeatable.
    children = np.random.SeedSequence(seed.entropy, spawn_key=seed.spawn_key).spawn(2)
    generator = np.random.default_rng(children[0])
    chosen = [
        tuple(sorted(generator.choice(family.nodes, family.targets, replace=False).tolist()))
        for _ in range(family.environments)
    ]
    n, rows = family.observations, family.rows
    total = n + rows * family.environments

    def blocks(interventions: list[Intervention]) -> list[Block]:
        return [(slice(n + i * rows, n + (i + 1) * rows), done) for i, done in enumerate(interventions)]

    if family.mechanism == GENE_EXPRESSION:
        kinetics = gene_expression.Config(context_shift=0.0, context_edges=0.0, **family.mechanism_parameters)
        world = gene_expression.build(graph, kinetics, n_contexts=1, seed=children[1])
        done = [world.intervention(family.intervention, targets, generator) for targets in chosen]
        values, families = world.latent(0, world.noise(total, generator), blocks(done)), world.families()
    else:
        config = family.config
        done = [draw_intervention(family.intervention, targets, generator) for targets in chosen]
        noise = draw_noise(family.noise, (family.nodes, total), generator)
        if getattr(config, "exact", False):
            model, values = draw_with_values(
                graph, family.mechanism, config, noise=noise, generator=generator, blocks=blocks(done)
            )
        else:
            model = draw_model(
                graph, family.mechanism, config, generator=generator, noise=family.noise, batch=family.batch
            )
            values = model.evaluate(noise, blocks(done))
        families = model.families
    table = np.ascontiguousarray(values.T, dtype=np.float32)
    return Task(
        graph=graph,
        families=families,
        observational=table[:n],
        interventional=table[n:],
        interventions=tuple(done),
    )
