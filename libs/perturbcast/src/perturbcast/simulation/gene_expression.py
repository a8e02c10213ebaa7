"""Steady states of a gene regulatory network with Hill regulation, in contexts of their own.

Production of gene i is P_i = b_i + sum_j |K_ij| H_ij with H = x^n / (h^n + x^n) for activation and 1 - that for
repression; its steady state is P_i / decay (SERGIO; Dibaeinia and Sinha 2020). Instead of integrating the
stochastic equation, cells are spread around the steady state by its linear-noise approximation, variance
q^2 P_i / decay, as a log-normal variable; a regulator's fluctuation reaches its targets.

h_j is the regulator's wild-type mean in the reference network, frozen. Estimated again inside an intervened run
it would follow the regulator, and the children of a knock-down would not move.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
import scipy.sparse as sp

from perturbcast.simulation.causal_graph import CausalGraph
from perturbcast.simulation.interventions import Block, Intervention
from perturbcast.simulation.rewiring import rewired

__all__ = ["Config", "GeneExpression", "Network", "build"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    """Attributes:
    strength: range of the uniform draw of |K|, molecules per unit time.
    repression: share (0 to 1) of edges that repress.
    hill: exponent n.
    decay: molecules lost per molecule and unit time.
    basal: median basal rate of a regulated gene; four times that without regulators.
    basal_spread: sd of the log basal rate over genes.
    noise: q of the linear-noise approximation.
    abundance_spread: sd of the log of transcripts per molecule over genes; sets how unequal genes are.
    context_shift: sd of the log basal rate over contexts.
    context_edges: share (0 to 1) of edges that a context takes from other regulators.
    """

    strength: tuple[float, float] = (1.0, 5.0)
    repression: float = 0.4
    hill: float = 2.0
    decay: float = 0.8
    basal: float = 0.5
    basal_spread: float = 0.4
    noise: float = 0.5
    abundance_spread: float = 1.0
    context_shift: float = 0.5
    context_edges: float = 0.2


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Network:
    """Regulation in one context.

    Attributes:
        graph: regulator -> target.
        strength: [edge] K, negative where the edge represses.
        basal: [gene] basal rate b, positive.
    """

    graph: CausalGraph
    strength: np.ndarray
    basal: np.ndarray

    def __post_init__(self) -> None:
        if not (self.basal > 0).all():
            raise ValueError(
                f"Every basal rate is positive; the smallest is {self.basal.min():g}. A gene without one would be "
                "silent in every cell."
            )

    def signed(self) -> sp.csr_matrix:
        """[target, regulator] K, float32."""
        parent, child = self.graph.edges.T
        shape = (self.graph.n_nodes,) * 2
        return sp.csr_matrix((self.strength.astype(np.float32), (child, parent)), shape=shape)

    def floor(self) -> np.ndarray:
        """[gene] production with H = 0 everywhere: basal rate, plus |K| of every absent repressor."""
        repressed = np.bincount(
            self.graph.edges[:, 1], weights=np.maximum(-self.strength, 0), minlength=self.graph.n_nodes
        )
        return (self.basal + repressed).astype(np.float32)


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class GeneExpression:
    """Networks of all contexts with their common constants.

    Attributes:
        config: constants of the kinetics.
        networks: one per context.
        half: [gene] h, the wild-type mean of each gene in the reference network.
        abundance: [gene] transcripts per molecule.
    """

    config: Config
    networks: tuple[Network, ...]
    half: np.ndarray
    abundance: np.ndarray

    latent_unit = "share of the wild-type mean"
    kinds = ("knock_out", "knock_down", "activation")

    def graph(self, context: int) -> CausalGraph:
        return self.networks[context].graph

    def weights(self, context: int) -> tuple[np.ndarray, np.ndarray]:
        """[edge] K, and its sign."""
        strength = self.networks[context].strength
        return strength, np.sign(strength).astype(np.int8)

    def families(self) -> tuple[str, ...]:
        return ("hill",) * len(self.half)

    def noise(self, n_cells: int, generator: np.random.Generator) -> np.ndarray:
        """[gene, cell] standard normal, float32."""
        return generator.standard_normal((len(self.half), n_cells), dtype=np.float32)

    def latent(
        self, context: int, noise: np.ndarray, blocks: Sequence[Block] = (), *, base: np.ndarray | None = None
    ) -> np.ndarray:
        """Molecules [gene, cell], float32.

        Args:
            context: index of the network.
            noise: [gene, cell] standard normal; zeros give the noise-free steady state.
            blocks: cells and the intervention on them; production of a target is multiplied by its value.
            base: wild-type molecules of the same noise, to compute only what is downstream.
        """
        network = self.networks[context]
        graph, signed, floor = network.graph, network.signed(), network.floor()
        quiet = not noise.any()
        regulator = np.zeros(graph.n_nodes, dtype=bool)
        regulator[graph.edges[:, 0]] = True
        active = np.zeros(noise.shape, dtype=np.float32)  # H of every regulator
        if base is None:
            x, todo = np.empty(noise.shape, dtype=np.float32), np.ones(graph.n_nodes, dtype=bool)
        else:
            x, todo = base.copy(), graph.reached({target for _, done in blocks for target in done.targets})
            unmoved = np.flatnonzero(regulator & ~todo)
            active[unmoved] = self._occupancy(x[unmoved], unmoved)
        for level in graph.levels:
            genes = level[todo[level]]
            if not genes.size:
                continue
            production = signed[genes] @ active
            production += floor[genes, None]
            for columns, done in blocks:
                for target, factor in zip(done.targets, done.values, strict=True):
                    production[genes == target, columns] *= np.float32(factor)
            x[genes] = self._spread(production, None if quiet else noise[genes])
            acting = genes[regulator[genes]]
            active[acting] = self._occupancy(x[acting], acting)
        return x

    def _occupancy(self, x: np.ndarray, genes: np.ndarray) -> np.ndarray:
        """H of activation, [gene, cell]: share of binding sites that the regulator occupies."""
        ratio = x / self.half[genes, None].astype(np.float32)
        power = ratio * ratio if self.config.hill == 2 else ratio ** np.float32(self.config.hill)
        occupancy: np.ndarray = power / (1 + power)
        return occupancy

    def _spread(self, production: np.ndarray, noise: np.ndarray | None) -> np.ndarray:
        """Molecules from production: the mean P / decay, with log-normal variance q^2 P / decay."""
        mean = production
        mean /= np.float32(self.config.decay)
        if noise is None or not self.config.noise:
            return mean
        # Below 1e-6 molecules the mean stands for zero; the floor keeps 0 * exp(...) finite.
        variance = np.log(1 + np.float32(self.config.noise**2) / np.maximum(mean, np.float32(1e-6)))
        exponent = np.sqrt(variance)
        exponent *= noise
        exponent -= variance / 2
        mean *= np.exp(exponent, out=exponent)
        return mean

    def expression(self, latent: np.ndarray) -> np.ndarray:
        """Transcripts [gene, cell] from molecules, up to a factor common to all genes of a cell."""
        expression: np.ndarray = latent * self.abundance[:, None].astype(np.float32)
        return expression

    def effect(self, perturbed: np.ndarray, wild: np.ndarray) -> np.ndarray:
        """[gene] change of the mean over cells, as a share of the wild-type mean."""
        before = wild.mean(axis=1, dtype=np.float64)
        effect: np.ndarray = (perturbed - wild).mean(axis=1, dtype=np.float64) / before
        return effect

    def intervention(self, kind: str, targets: tuple[int, ...], generator: np.random.Generator) -> Intervention:
        """Knock-out (0), knock-down (0.1 to 0.5) or activation (2 to 5) of the targets' production."""
        low, high = {"knock_out": (0.0, 0.0), "knock_down": (0.1, 0.5), "activation": (2.0, 5.0)}[kind]
        values = generator.uniform(low, high, size=len(targets))
        kept = "activation" if kind == "activation" else "knock_down"
        return Intervention(kind=kept, targets=targets, values=tuple(values.tolist()))


def build(graph: CausalGraph, config: Config, *, n_contexts: int, seed: np.random.SeedSequence) -> GeneExpression:
    """Draw a reference network and its contexts.

    Each context has a seed of its own, so that asking for one more leaves the others as they were: an unseen
    context is the next one.
    """
    own, *context_seeds = seed.spawn(1 + n_contexts)
    generator = np.random.default_rng(own)
    genes = graph.n_nodes
    regulated = np.isin(np.arange(genes), graph.edges[:, 1])
    median = np.where(regulated, config.basal, 4 * config.basal)
    basal = median * np.exp(config.basal_spread * generator.standard_normal(genes))

    def strengths(n: int, source: np.random.Generator) -> np.ndarray:
        sign = np.where(source.random(n) < config.repression, -1.0, 1.0)
        strength: np.ndarray = sign * source.uniform(*config.strength, size=n)
        return strength

    strength = strengths(len(graph.edges), generator)
    # With h at the regulator's own mean every edge is half open in the reference network.
    half = (basal + np.bincount(graph.edges[:, 1], weights=abs(strength) / 2, minlength=genes)) / config.decay
    abundance = np.exp(config.abundance_spread * generator.standard_normal(genes))
    networks = []
    for context_seed in context_seeds:
        source = np.random.default_rng(context_seed)
        other = rewired(graph, config.context_edges, source)
        kept = {tuple(edge): k for edge, k in zip(graph.edges.tolist(), strength, strict=True)}
        new = strengths(len(other.edges), source)
        own_strength = np.array([kept.get(tuple(e), k) for e, k in zip(other.edges.tolist(), new, strict=True)])
        shifted = basal * np.exp(config.context_shift * source.standard_normal(genes))
        networks.append(Network(graph=other, strength=own_strength, basal=shifted))
    return GeneExpression(config=config, networks=tuple(networks), half=half, abundance=abundance)
