"""A structural model behind counts: node values, in sd units, are log expression around each gene's own level.

log expression = level_g + spread * x_g. So every mechanism family gives counts and log1p CP10k in the same units
as the gene-expression family. A context has its own baselines (offsets inside the model, so that nonlinear
effects change with them), and nodes whose regulators are exchanged get a mechanism of their own.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from perturbcast.simulation.causal_graph import CausalGraph
from perturbcast.simulation.interventions import Block, Intervention, draw_intervention
from perturbcast.simulation.noise import draw_noise
from perturbcast.simulation.rewiring import rewired
from perturbcast.simulation.structural_model import StructuralModel, draw_with_values, regrafted

__all__ = ["Config", "ContinuousExpression", "build"]

BATCH = 4096  # observational samples that freeze centre and scale


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    """Attributes:
    noise: shape of the nodes' noise.
    spread: log expression per sd of a node.
    level_spread: sd over genes of the mean log expression.
    context_shift: sd over contexts of a node's baseline, in sd units.
    context_edges: share (0 to 1) of edges that a context takes from other parents.
    """

    noise: str = "gaussian"
    spread: float = 0.5
    level_spread: float = 1.0
    context_shift: float = 0.5
    context_edges: float = 0.2


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class ContinuousExpression:
    """Structural models of all contexts over the same genes.

    Attributes:
        config: noise and scales.
        models: one per context; nodes with the same parents share their mechanism.
        level: [gene] mean log expression.
        slopes: per context [edge] mean slope and its standard error, in sd units.
    """

    config: Config
    models: tuple[StructuralModel, ...]
    level: np.ndarray
    slopes: tuple[tuple[np.ndarray, np.ndarray], ...]

    latent_unit = "sd"
    kinds = ("hard", "shift", "knock_down", "activation", "noise_only")

    def graph(self, context: int) -> CausalGraph:
        return self.models[context].graph

    def weights(self, context: int) -> tuple[np.ndarray, np.ndarray]:
        """[edge] mean slope in sd units, and its sign: 0 where it is within 3 standard errors of none."""
        mean, error = self.slopes[context]
        return mean, np.where(abs(mean) > 3 * error, np.sign(mean), 0).astype(np.int8)

    def families(self) -> tuple[str, ...]:
        """Mechanism family of each gene in the first context."""
        return self.models[0].families

    def noise(self, n_cells: int, generator: np.random.Generator) -> np.ndarray:
        """[gene, cell] unit-variance noise."""
        return draw_noise(self.config.noise, (len(self.level), n_cells), generator)

    def latent(
        self, context: int, noise: np.ndarray, blocks: Sequence[Block] = (), *, base: np.ndarray | None = None
    ) -> np.ndarray:
        """Node values [gene, cell] in sd units; arguments as of ``StructuralModel.evaluate``."""
        return self.models[context].evaluate(noise, blocks, base=base)

    def expression(self, latent: np.ndarray) -> np.ndarray:
        """Transcripts [gene, cell], up to a factor common to all genes of a cell, float32."""
        # Heavy-tailed nodes are bounded where exp() would make one gene the whole cell.
        log = self.level[:, None] + self.config.spread * np.clip(latent, -10, 10)
        expression: np.ndarray = np.exp(log.astype(np.float32))
        return expression

    def effect(self, perturbed: np.ndarray, wild: np.ndarray) -> np.ndarray:
        """[gene] change of the mean over cells, in sd units."""
        effect: np.ndarray = (perturbed - wild).mean(axis=1)
        return effect

    def intervention(self, kind: str, targets: tuple[int, ...], generator: np.random.Generator) -> Intervention:
        """An intervention of random strength and direction."""
        return draw_intervention(kind, targets, generator)


def build(
    graph: CausalGraph,
    config: Config,
    *,
    family: str,
    mechanism: Any,
    n_contexts: int,
    seed: np.random.SeedSequence,
) -> ContinuousExpression:
    """Draw a reference model and its contexts, each from a seed of its own.

    Args:
        graph: of the reference context.
        config: noise and scales.
        family, mechanism: name of a mechanism family and its ``Config``.
        n_contexts: number of contexts.
        seed: source of everything drawn.

    Raises:
        UsageError: an unknown family or noise.
    """
    own, *context_seeds = seed.spawn(1 + n_contexts)
    generator = np.random.default_rng(own)
    batch = draw_noise(config.noise, (graph.n_nodes, BATCH), generator)
    reference, values = draw_with_values(graph, family, mechanism, noise=batch, generator=generator)
    level = config.level_spread * generator.standard_normal(graph.n_nodes)
    models, slopes = [], []
    for context_seed in context_seeds:
        source = np.random.default_rng(context_seed)
        model = regrafted(
            reference,
            rewired(graph, config.context_edges, source),
            family,
            mechanism,
            noise=batch,
            values=values,
            offset=config.context_shift * source.standard_normal(graph.n_nodes),
            generator=source,
        )
        noise = draw_noise(config.noise, (graph.n_nodes, 1024), source)
        models.append(model)
        slopes.append(model.slopes(model.evaluate(noise), noise))
    return ContinuousExpression(config=config, models=tuple(models), level=level, slopes=tuple(slopes))
