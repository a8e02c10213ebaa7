"""A simulated perturbation screen before any cell is drawn: genes, contexts, perturbations and what they do."""

from __future__ import annotations

import dataclasses
import difflib
import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from perturbcast import catalog
from perturbcast.errors import UsageError
from perturbcast.simulation import continuous, gene_expression, observation
from perturbcast.simulation.causal_graph import CausalGraph
from perturbcast.simulation.families import graph_family
from perturbcast.simulation.interventions import Block, Intervention
from perturbcast.simulation.seeding import Part, stream

__all__ = ["Perturbation", "Screen", "ScreenConfig", "World", "design", "families"]

GENE_EXPRESSION = "gene_expression"


class World(Protocol):
    """What a family of simulated cells offers; arrays are [gene, cell]."""

    @property
    def latent_unit(self) -> str: ...
    @property
    def kinds(self) -> tuple[str, ...]: ...

    def graph(self, context: int) -> CausalGraph: ...
    def weights(self, context: int) -> tuple[np.ndarray, np.ndarray]: ...
    def families(self) -> tuple[str, ...]: ...
    def noise(self, n_cells: int, generator: np.random.Generator) -> np.ndarray: ...
    def latent(
        self, context: int, noise: np.ndarray, blocks: Sequence[Block] = (), *, base: np.ndarray | None = None
    ) -> np.ndarray: ...
    def expression(self, latent: np.ndarray) -> np.ndarray: ...
    def effect(self, perturbed: np.ndarray, wild: np.ndarray) -> np.ndarray: ...
    def intervention(self, kind: str, targets: tuple[int, ...], generator: np.random.Generator) -> Intervention: ...


def families() -> list[str]:
    """Names of all families of screens: gene_expression and every mechanism family."""
    return [GENE_EXPRESSION, *catalog.names("simulation.mechanisms")]


@dataclasses.dataclass(frozen=True, kw_only=True)
class ScreenConfig:
    """What to simulate.

    Attributes:
        family: gene_expression (Hill regulation), or a mechanism family behind counts.
        graph: family of the gene graph.
        nodes: number of genes.
        edges_per_node: expected regulations divided by genes.
        contexts: number of contexts; each has a seed of its own.
        perturbations: number of single-gene perturbations, each measured in every context.
        combinations: number of pairs of them, each measured in every context.
        cells: number of cells, controls included, spread evenly over contexts and conditions.
        control_share: share (0 to 1) of a context's cells that are controls.
        intervention: what a perturbation does; knock_out, knock_down or activation for gene_expression, hard,
            shift, knock_down, activation or noise_only for the others. "" is knock_down, or hard.
        targets: genes to perturb by name; empty draws them, in proportion to the genes that each regulates.
        mechanism: parameters of the family's ``Config`` that differ from its defaults.
        noise: shape of the nodes' noise (mechanism families).
        context_shift: baseline difference between contexts: sd of log basal rates, or sd units of a node.
        context_edges: share (0 to 1) of regulations that a context takes from other genes.
        predictable_share: share (0 to 1) of the squared log effect that follows from the graph; the rest is
            drawn for each condition alone, so that at 0 nothing particular to a held-out condition can be
            learned (a small downward shift that is common to all genes and conditions remains).
        systematic_shift: sd over genes of a log shift shared by all perturbed cells.
        shuffle_labels: permute the perturbation labels of perturbed cells within each context.
        library_size: median counts per cell.
        library_spread: sd of the log library size.
        overdispersion: alpha of the negative binomial.
        dropout: probability (0 up to 1) that an entry is emptied.
        batches: number of batches.
        batch_spread: sd over batches of each gene's log factor.
        truth_draws: latent draws per context and round behind the true delta, the same ones for every perturbation;
            rounds are added until the truth is closer than 1e5 cells.
        seed: decides every draw.
    """

    family: str = GENE_EXPRESSION
    graph: str = "scale_free_transposed"
    nodes: int = 60
    edges_per_node: float = 2.0
    contexts: int = 4
    perturbations: int = 20
    combinations: int = 6
    cells: int = 4320
    control_share: float = 0.2
    intervention: str = ""
    targets: tuple[str, ...] = ()
    mechanism: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    noise: str = "gaussian"
    context_shift: float = 0.5
    context_edges: float = 0.2
    predictable_share: float = 1.0
    systematic_shift: float = 0.0
    shuffle_labels: bool = False
    library_size: float = 5000.0
    library_spread: float = 0.3
    overdispersion: float = 0.15
    dropout: float = 0.0
    batches: int = 1
    batch_spread: float = 0.2
    truth_draws: int = 4096
    seed: int = 0

    def __post_init__(self) -> None:
        if self.family not in families():
            near = difflib.get_close_matches(self.family, families(), n=1)
            raise UsageError(
                f"A family of simulated cells is one of {', '.join(families())}; {self.family!r} is not. "
                f"{f'Did you mean {near[0]!r}?' if near else 'Take one of them.'}"
            )
        if self.contexts < 1 or self.perturbations < 1 or self.combinations < 0:
            raise UsageError(
                "A screen has at least one context and one perturbation; contexts, perturbations, combinations are "
                f"{self.contexts}, {self.perturbations}, {self.combinations}. Ask for more."
            )
        if self.perturbations > self.nodes:
            raise UsageError(
                f"Each perturbation has a gene of its own; {self.perturbations} perturbations of {self.nodes} genes "
                "were asked for. Ask for more nodes or fewer perturbations."
            )
        pairs = math.comb(self.perturbations, 2)
        if self.combinations > pairs:
            raise UsageError(
                f"Combinations are pairs of the {self.perturbations} perturbations, {pairs} at most; "
                f"{self.combinations} were asked for. Ask for fewer, or for more perturbations."
            )
        for name in ("control_share", "context_edges", "predictable_share"):
            share = getattr(self, name)
            if not 0 <= share <= 1 or (name == "control_share" and share in (0, 1)):
                raise UsageError(f"{name} is a share between 0 and 1; it is {share:g}.")
        least = self.contexts * (1 + self.perturbations + self.combinations)
        if self.cells < least:
            raise UsageError(
                f"Every condition and every control group holds a cell, here {least} in all "
                f"({self.contexts} contexts x (1 + {self.perturbations} + {self.combinations})); {self.cells} cells "
                "were asked for. Ask for more cells."
            )
        if self.truth_draws < 4 or self.truth_draws % 2:
            raise UsageError(f"The truth needs an even number of draws, 4 or more; truth_draws is {self.truth_draws}.")
        if self.targets and len(self.targets) != self.perturbations:
            raise UsageError(
                f"Named targets are all the perturbations; {len(self.targets)} names for {self.perturbations} "
                "perturbations. Name each once, and ask for as many."
            )
        self.observation()

    def observation(self) -> observation.Config:
        """How cells are sequenced."""
        return observation.Config(
            **{field.name: getattr(self, field.name) for field in dataclasses.fields(observation.Config)}
        )


@dataclasses.dataclass(frozen=True, kw_only=True)
class Perturbation:
    """One label of the screen: canonical name and the intervention behind it."""

    label: str
    intervention: Intervention


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Screen:
    """The drawn screen.

    Attributes:
        config: what was asked for.
        world: cells of the family, in every context.
        genes: gene names.
        contexts: context names.
        perturbations: singles in order of genes, then pairs.
        own_effects: [context, perturbation, gene] log effects that follow from nothing; None where unused.
        systematic: [gene] log shift of all perturbed cells.
    """

    config: ScreenConfig
    world: World
    genes: tuple[str, ...]
    contexts: tuple[str, ...]
    perturbations: tuple[Perturbation, ...]
    own_effects: np.ndarray | None
    systematic: np.ndarray

    def acting(self, blocks: Sequence[tuple[slice, int]]) -> list[Block]:
        """Columns with the intervention on them, from columns with the index of a perturbation."""
        return [(columns, self.perturbations[p].intervention) for columns, p in blocks]

    def expression(
        self,
        context: int,
        latent: np.ndarray,
        blocks: Sequence[tuple[slice, int]] = (),
        *,
        wild: np.ndarray,
    ) -> np.ndarray:
        """Expression [gene, cell] of cells under ``blocks`` (columns, perturbation), switches applied.

        Args:
            context: index of the context.
            latent: latent state under the interventions.
            blocks: columns and the index of the perturbation on them.
            wild: latent state of the same noise without interventions; read where effects are partly drawn.
        """
        expression = self.world.expression(latent)
        if self.own_effects is not None:
            before = self.world.expression(wild)
            share = self.config.predictable_share
            for columns, p in blocks:
                mixed = expression[:, columns] ** np.float32(math.sqrt(share))
                mixed *= before[:, columns] ** np.float32(1 - math.sqrt(share))
                drawn = np.exp(math.sqrt(1 - share) * self.own_effects[context, p])
                expression[:, columns] = mixed * drawn[:, None].astype(np.float32)
        if self.config.systematic_shift:
            for columns, _ in blocks:
                expression[:, columns] *= np.exp(self.systematic)[:, None].astype(np.float32)
        return expression


def _world(config: ScreenConfig, graph: CausalGraph) -> World:
    seed = stream(config.seed, Part.WORLD)
    shared = {"context_shift": config.context_shift, "context_edges": config.context_edges}
    if config.family == GENE_EXPRESSION:
        fields = {field.name for field in dataclasses.fields(gene_expression.Config)}
        unknown = sorted(set(config.mechanism) - fields)
        if unknown:
            raise UsageError(
                f"{GENE_EXPRESSION!r} takes the parameters {', '.join(sorted(fields))}; {', '.join(unknown)} unknown."
            )
        kinetics = gene_expression.Config(**{**shared, **config.mechanism})
        return gene_expression.build(graph, kinetics, n_contexts=config.contexts, seed=seed)
    return continuous.build(
        graph,
        continuous.Config(noise=config.noise, **shared),
        family=config.family,
        mechanism=catalog.configure("simulation.mechanisms", config.family, config.mechanism),
        n_contexts=config.contexts,
        seed=seed,
    )


def _targets(config: ScreenConfig, graph: CausalGraph, genes: tuple[str, ...]) -> list[int]:
    if config.targets:
        index = {gene: i for i, gene in enumerate(genes)}
        absent = [gene for gene in config.targets if gene not in index]
        if absent or len(set(config.targets)) < len(config.targets):
            wrong = f"{', '.join(absent)} is not among them" if absent else "one is named twice"
            raise UsageError(
                f"Perturbations name genes of the screen, {genes[0]} to {genes[-1]}, once each; {wrong}. "
                "Name other genes, or ask for more nodes."
            )
        return sorted(index[gene] for gene in config.targets)
    generator = np.random.default_rng(stream(config.seed, Part.TARGETS))
    # Real screens take regulators. The small constant lets genes that regulate nothing in once those are used up.
    odds = np.bincount(graph.edges[:, 0], minlength=graph.n_nodes) + 1e-6
    return sorted(generator.choice(graph.n_nodes, config.perturbations, replace=False, p=odds / odds.sum()).tolist())


def _own_effects(config: ScreenConfig, world: World, perturbations: Sequence[Perturbation]) -> np.ndarray:
    """[context, perturbation, gene]: the sizes of the graph's own effects, dealt to genes at random."""
    effects = np.empty((config.contexts, len(perturbations), config.nodes))
    for context in range(config.contexts):
        noise = world.noise(128, np.random.default_rng(stream(config.seed, Part.UNPREDICTABLE, context)))
        wild = world.latent(context, noise)
        before = np.log(world.expression(wild)).mean(axis=1)
        for p, perturbation in enumerate(perturbations):
            latent = world.latent(context, noise, [(slice(None), perturbation.intervention)], base=wild)
            after = np.log(np.maximum(world.expression(latent), 1e-9)).mean(axis=1)
            source = np.random.default_rng(stream(config.seed, Part.UNPREDICTABLE, context, p))
            effects[context, p] = source.permutation(np.clip(after - before, -3, 3))
    return effects


def design(config: ScreenConfig) -> Screen:
    """Draw graph, contexts and perturbations.

    Raises:
        UsageError: what was asked for cannot be (density, targets, intervention, parameters of the family).
    """
    family = graph_family(config.graph)
    graph: CausalGraph = family.sample(
        family.Config(edges_per_node=config.edges_per_node),
        n_nodes=config.nodes,
        generator=np.random.default_rng(stream(config.seed, Part.GRAPH)),
    )
    world = _world(config, graph)
    digits = max(2, len(str(config.nodes)))
    genes = tuple(f"GENE{i:0{digits}d}" for i in range(1, config.nodes + 1))
    kind = config.intervention or ("knock_down" if config.family == GENE_EXPRESSION else "hard")
    if kind not in world.kinds:
        raise UsageError(
            f"Perturbations of {config.family!r} are one of {', '.join(world.kinds)}; {kind!r} is not. "
            "Take one of them with intervention."
        )
    singles = {
        target: world.intervention(kind, (target,), np.random.default_rng(stream(config.seed, Part.STRENGTH, target)))
        for target in _targets(config, graph, genes)
    }
    perturbations = [Perturbation(label=genes[target], intervention=done) for target, done in singles.items()]
    pairs = list(itertools.combinations(singles, 2))
    generator = np.random.default_rng(stream(config.seed, Part.COMBINATIONS))
    for i in sorted(generator.choice(len(pairs), size=config.combinations, replace=False)) if pairs else ():
        a, b = pairs[i]
        both = dataclasses.replace(singles[a], targets=(a, b), values=(*singles[a].values, *singles[b].values))
        perturbations.append(Perturbation(label=f"{genes[a]}+{genes[b]}", intervention=both))
    shift = np.random.default_rng(stream(config.seed, Part.SYSTEMATIC)).standard_normal(config.nodes)
    return Screen(
        config=config,
        world=world,
        genes=genes,
        contexts=tuple(
            f"context_{chr(ord('A') + i)}" if config.contexts <= 26 else f"context_{i:03d}"
            for i in range(config.contexts)
        ),
        perturbations=tuple(perturbations),
        own_effects=_own_effects(config, world, perturbations) if config.predictable_share < 1 else None,
        systematic=config.systematic_shift * shift,
    )
