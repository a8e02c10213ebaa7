"""A structural causal model that can be asked again under do(), with standardisation frozen inside.

Each node is (f(parents, noise) - centre) / scale + offset, computed along the causal order. ``centre`` and
``scale`` come once from an observational batch and stay part of the mechanism (iSCM, Ormaniec et al. 2024): a
model that standardised again inside do() would erase the effect, and standardising the finished data leaves the
causal order readable from the variances explained (R2-sortability; Reisach et al. 2023).

Arrays are [node, sample], so that a node is contiguous. Several interventions share one call: each block of
columns has its own.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from perturbcast.simulation.causal_graph import CausalGraph
from perturbcast.simulation.families import mechanism_family
from perturbcast.simulation.interventions import Block
from perturbcast.simulation.mechanisms import mixture
from perturbcast.simulation.mechanisms.batch import Batch
from perturbcast.simulation.noise import draw_noise

__all__ = ["Mechanism", "StructuralModel", "draw_model", "draw_with_values", "regrafted"]

Mechanism = Callable[[np.ndarray, np.ndarray], np.ndarray]


def _root(parents: np.ndarray, noise: np.ndarray) -> np.ndarray:  # noqa: ARG001 a root has no parents
    return noise


def _intervened(node: int, value: np.ndarray, noise: np.ndarray, blocks: Sequence[Block]) -> np.ndarray:
    touching = [(columns, done) for columns, done in blocks if node in done.targets]
    if touching:
        value = value.copy()
        for columns, done in touching:
            value[columns] = done.apply(node, value[columns], noise[columns])
    return value


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class StructuralModel:
    """Graph and frozen mechanisms.

    Attributes:
        graph: who is computed from whom.
        mechanisms: one function per node; roots equal their noise.
        families: mechanism family of each node ("root" where there are no parents).
        centre, scale: [node] frozen standardisation, in units of the raw mechanism.
        offset: [node] shift in sd units, the baseline of a context.
    """

    graph: CausalGraph
    mechanisms: tuple[Mechanism, ...]
    families: tuple[str, ...]
    centre: np.ndarray
    scale: np.ndarray
    offset: np.ndarray

    def evaluate(
        self, noise: np.ndarray, blocks: Sequence[Block] = (), *, base: np.ndarray | None = None
    ) -> np.ndarray:
        """Values [node, sample] in sd units.

        Args:
            noise: [node, sample] unit-variance noise; share it between calls to compare interventions.
            blocks: columns and the intervention on them; other columns are observational.
            base: the observational values of the same noise, to compute only what is downstream.

        Raises:
            ValueError: a mechanism is an exact joint draw, which exists for its own rows only.
        """
        if any(getattr(mechanism, "needs_joint_rows", False) for mechanism in self.mechanisms):
            raise ValueError(
                "An exact joint draw exists for the rows that it was drawn for; other rows were asked for. "
                "Draw all environments together (draw_with_values), or set exact=False."
            )
        if base is None:
            values, todo = np.empty_like(noise), np.ones(self.graph.n_nodes, dtype=bool)
        else:
            values = base.copy()
            todo = self.graph.reached({target for _, done in blocks for target in done.targets})
        for node in self.graph.order[todo[self.graph.order]]:
            raw = self.mechanisms[node](values[self.graph.parents(node)], noise[node])
            value = (raw - self.centre[node]) / self.scale[node] + self.offset[node]
            values[node] = _intervened(node, value, noise[node], blocks)
        return values

    def linear_weights(self) -> np.ndarray:
        """[parent, child] weights in sd units of an all-linear model; total effects are (I - W)^-1.

        Raises:
            ValueError: a node is not linear.
        """
        matrix = np.zeros((self.graph.n_nodes,) * 2)
        for node, (family, mechanism) in enumerate(zip(self.families, self.mechanisms, strict=True)):
            if family not in ("linear", "root"):
                raise ValueError(f"Exact weights exist for linear nodes; node {node} is {family!r}. Use draws instead.")
            if family == "linear":
                matrix[self.graph.parents(node), node] = mechanism.weights / self.scale[node]  # type: ignore[attr-defined]
        return matrix

    def slopes(self, values: np.ndarray, noise: np.ndarray, *, step: float = 0.25) -> tuple[np.ndarray, np.ndarray]:
        """Mean causal slope of every edge at the given draws, and its standard error.

        Args:
            values, noise: [node, sample] observational draws.
            step: half width of the difference, in sd units.

        Returns:
            [edge] mean change of the child per sd of the parent, all else fixed, and its standard error.
        """
        mean, error = np.empty(len(self.graph.edges)), np.empty(len(self.graph.edges))
        for edge, (parent, child) in enumerate(self.graph.edges):
            parents = self.graph.parents(child)
            moved = (parents == parent)[:, None] * step
            up, down = (self.mechanisms[child](values[parents] + sign * moved, noise[child]) for sign in (1, -1))
            slope = (up - down) / (2 * step * self.scale[child])
            mean[edge], error[edge] = slope.mean(), slope.std() / np.sqrt(slope.size)
        return mean, error


def draw_with_values(
    graph: CausalGraph,
    family: str,
    config: Any,
    *,
    noise: np.ndarray,
    generator: np.random.Generator,
    blocks: Sequence[Block] = (),
    standardise: bool = True,
) -> tuple[StructuralModel, np.ndarray]:
    """Draw a model along the causal order, together with its values at ``noise``.

    Args:
        graph: who is computed from whom.
        family: name of a mechanism family.
        config: its ``Config``.
        noise: [node, sample] unit-variance noise of the batch that fixes centre and scale.
        generator: source of the mechanisms' parameters.
        blocks: columns under intervention; the columns outside them fix centre and scale. An exact joint
            draw needs its interventional rows here.
        standardise: freeze centre and scale inside (iSCM); False leaves raw scales, which grow along the graph.

    Raises:
        UsageError: an unknown family.
        ValueError: a mechanism returned values that are not finite or constant.
    """
    names = [family] * graph.n_nodes
    if isinstance(config, mixture.Config):
        names = mixture.assign(config, graph.n_nodes, generator)
    seen = np.ones(noise.shape[1], dtype=bool)
    for columns, _ in blocks:
        seen[columns] = False
    chosen = slice(None) if seen.all() else seen
    mechanisms: list[Mechanism] = [_root] * graph.n_nodes
    centre, scale = np.zeros(graph.n_nodes), np.ones(graph.n_nodes)
    values = np.empty_like(noise)
    for node in graph.order:
        parents = graph.parents(node)
        if not parents.size:
            names[node] = "root"
        else:
            mechanisms[node] = _built(
                names[node],
                family,
                config,
                batch=Batch(parents=values[parents][:, chosen], noise=noise[node, chosen]),
                generator=generator,
            )
        raw = mechanisms[node](values[parents], noise[node])
        sd = float(raw[chosen].std())
        if not np.isfinite(raw).all() or not sd:
            raise ValueError(
                f"Every node varies and is finite; node {node} of family {names[node]!r} is not. "
                "Lower the density, or take another seed."
            )
        if standardise and parents.size:
            centre[node], scale[node] = raw[chosen].mean(), sd
        value = (raw - centre[node]) / scale[node]
        values[node] = _intervened(node, value, noise[node], blocks)
    model = StructuralModel(
        graph=graph,
        mechanisms=tuple(mechanisms),
        families=tuple(names),
        centre=centre,
        scale=scale,
        offset=np.zeros(graph.n_nodes),
    )
    return model, values


def _built(name: str, family: str, config: Any, *, batch: Batch, generator: np.random.Generator) -> Mechanism:
    """A mechanism of family ``name``; ``config`` belongs to ``family``, which may be a mixture that drew the name."""
    module = mechanism_family(name)
    mechanism: Mechanism = module.build(config if name == family else module.Config(), batch=batch, generator=generator)
    return mechanism


def regrafted(
    model: StructuralModel,
    graph: CausalGraph,
    family: str,
    config: Any,
    *,
    noise: np.ndarray,
    values: np.ndarray,
    offset: np.ndarray,
    generator: np.random.Generator,
) -> StructuralModel:
    """The model on another graph over the same order: nodes with the same parents keep their mechanism.

    New mechanisms are drawn and standardised in the old model's batch, the frame in which all others were.

    Args:
        model: the old model.
        graph: the new graph; nodes without parents are the same.
        family, config: of the new mechanisms.
        noise, values: [node, sample] observational batch of the old model.
        offset: [node] shift in sd units.
        generator: source of the new mechanisms' parameters.
    """
    names, mechanisms = list(model.families), list(model.mechanisms)
    centre, scale = model.centre.copy(), model.scale.copy()
    drawn = [family] * graph.n_nodes
    if isinstance(config, mixture.Config):
        drawn = mixture.assign(config, graph.n_nodes, generator)
    for node in graph.order:
        parents = graph.parents(node)
        if not np.array_equal(parents, model.graph.parents(node)):
            names[node] = drawn[node]
            mechanisms[node] = _built(
                drawn[node],
                family,
                config,
                batch=Batch(parents=values[parents], noise=noise[node]),
                generator=generator,
            )
            raw = mechanisms[node](values[parents], noise[node])
            centre[node], scale[node] = raw.mean(), raw.std()
    return StructuralModel(
        graph=graph,
        mechanisms=tuple(mechanisms),
        families=tuple(names),
        centre=centre,
        scale=scale,
        offset=offset,
    )


def draw_model(
    graph: CausalGraph,
    family: str,
    config: Any,
    *,
    generator: np.random.Generator,
    noise: str = "gaussian",
    batch: int = 4096,
    standardise: bool = True,
) -> StructuralModel:
    """Draw a model whose centre and scale come from ``batch`` observational samples.

    Raises:
        UsageError: an unknown family or noise.
        ValueError: a node that is constant or not finite.
    """
    draws = draw_noise(noise, (graph.n_nodes, batch), generator)
    return draw_with_values(graph, family, config, noise=draws, generator=generator, standardise=standardise)[0]
