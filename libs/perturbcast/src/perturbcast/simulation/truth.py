"""The true effect of every condition, in the units of X, kept with the data.

For each context the latent noise, the overdispersion, the library sizes, batches and dropout of cells are drawn
once and shared by all perturbations and the control (common random numbers, in antithetic pairs); the Poisson
counts and the normalisation by the observed total are integrated (``expected_expression``). Rounds of
``truth_draws`` are added until the mean standard error of every condition is below ``CLOSE``, which the difference
of two means of 1e5 cells does not reach, or until 1e5 draws are made. What is left is stored as ``delta_se``.

Layout of ``uns["truth"]``, arrays unless said otherwise:
``delta``, ``delta_se`` [context, perturbation, gene] in log1p CP10k; ``control_mean``, ``control_se``
[context, gene], less exact, since nothing cancels in a mean;
``total_effect`` [context, perturbation, gene], the change of the latent mean along the graph before any switch,
in ``latent_unit``; ``contexts``, ``perturbations``, ``genes``, ``families`` names; ``order`` [gene] causal order;
``edges`` with ``context``, ``parent``, ``child``, ``sign``, ``weight`` [edge]; ``config`` JSON; ``seed``.
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from perturbcast.simulation.cells import condition_sizes
from perturbcast.simulation.expected_expression import expected_log1p_cp10k
from perturbcast.simulation.observation import Observation, batch_factors, observe, poisson_rates
from perturbcast.simulation.screen import Screen
from perturbcast.simulation.seeding import Part, stream

__all__ = ["FORMAT", "adjacency", "compute_truth"]

FORMAT = "perturbcast.truth/1"
CLOSE = 0.002  # log1p CP10k
MOST_DRAWS = 100_000


class _Mean:
    """Running mean over rounds of draws whose halves are antithetic, with the standard error of pairs."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.pairs = 0
        self.total, self.squares = np.zeros(shape), np.zeros(shape)

    def add(self, row: int | slice, draws: np.ndarray) -> None:
        """Add draws [gene, draw] to one row; the caller counts the pairs."""
        half = draws.shape[1] // 2
        pairs = (draws[:, :half] + draws[:, half:]) / 2
        self.total[row] += pairs.sum(axis=1, dtype=np.float64)
        self.squares[row] += np.einsum("gd,gd->g", pairs, pairs, dtype=np.float64)

    @property
    def mean(self) -> np.ndarray:
        return self.total / self.pairs

    @property
    def error(self) -> np.ndarray:
        variance = np.maximum(self.squares / self.pairs - self.mean**2, 0) * self.pairs / (self.pairs - 1)
        error: np.ndarray = np.sqrt(variance / self.pairs)
        return error


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class _Draws:
    """What all conditions of a context share: latent noise, wild-type state, observation, expected controls."""

    noise: np.ndarray
    wild: np.ndarray
    observation: Observation
    control: np.ndarray


def _draws(screen: Screen, context: int, round_: int) -> _Draws:
    config, n = screen.config, screen.config.truth_draws
    generator = np.random.default_rng(stream(config.seed, Part.TRUTH, context, round_))
    half = screen.world.noise(n // 2, generator)
    noise = np.concatenate([half, -half], axis=1)
    factors = batch_factors(config.observation(), len(screen.genes), stream(config.seed, Part.BATCHES))
    observation = observe(config.observation(), factors, np.arange(n) % config.batches, generator)
    wild = screen.world.latent(context, noise)
    control = expected_log1p_cp10k(poisson_rates(screen.expression(context, wild, wild=wild), observation))
    return _Draws(noise=noise, wild=wild, observation=observation, control=control)


def _condition(screen: Screen, context: int, p: int, draws: _Draws) -> tuple[np.ndarray, np.ndarray]:
    blocks = [(slice(None), p)]
    latent = screen.world.latent(context, draws.noise, screen.acting(blocks), base=draws.wild)
    expression = screen.expression(context, latent, blocks, wild=draws.wild)
    expected = expected_log1p_cp10k(poisson_rates(expression, draws.observation))
    expected -= draws.control
    return expected, screen.world.effect(latent, draws.wild)


def _rounds(screen: Screen, context: int, pool: ThreadPoolExecutor) -> tuple[_Mean, _Mean, np.ndarray]:
    """Deltas [perturbation, gene], controls [1, gene] and latent effects [perturbation, gene] of one context."""
    n, genes, draws_each = len(screen.perturbations), len(screen.genes), screen.config.truth_draws
    effects, controls, latent = _Mean((n, genes)), _Mean((1, genes)), np.zeros((n, genes))
    for round_ in range(math.ceil(MOST_DRAWS / draws_each)):
        draws = _draws(screen, context, round_)
        controls.add(0, draws.control)

        def one(p: int, draws: _Draws = draws) -> np.ndarray:
            expected, effect = _condition(screen, context, p, draws)
            effects.add(p, expected)  # rows are disjoint, so that threads do not meet
            return effect

        latent += (np.stack(list(pool.map(one, range(n)))) - latent) / (round_ + 1)
        for mean in (effects, controls):
            mean.pairs += draws_each // 2
        if effects.error.mean(axis=1).max() <= CLOSE:
            break
    return effects, controls, latent


def compute_truth(screen: Screen, *, workers: int = 1) -> dict[str, Any]:
    """``uns["truth"]`` of the screen.

    Args:
        screen: from ``design``.
        workers: threads; the result is the same for any number.
    """
    world, n = screen.world, len(screen.perturbations)
    shape = (len(screen.contexts), n, len(screen.genes))
    delta, error, total = (np.empty(shape, dtype=np.float32) for _ in range(3))
    control, control_error = (np.empty((shape[0], shape[2]), dtype=np.float32) for _ in range(2))
    edges: dict[str, list[np.ndarray]] = {name: [] for name in ("context", "parent", "child", "sign", "weight")}
    with ThreadPoolExecutor(workers) as pool:
        for context in range(shape[0]):
            effects, controls, latent = _rounds(screen, context, pool)
            delta[context], error[context], total[context] = effects.mean, effects.error, latent
            control[context], control_error[context] = controls.mean[0], controls.error[0]
            graph, (weight, sign) = world.graph(context), world.weights(context)
            edges["context"].append(np.full(len(graph.edges), context, dtype=np.int32))
            edges["parent"].append(graph.edges[:, 0].astype(np.int32))
            edges["child"].append(graph.edges[:, 1].astype(np.int32))
            edges["sign"].append(sign)
            edges["weight"].append(weight.astype(np.float32))
    if screen.config.shuffle_labels:
        # A shuffled label names a random cell of the context: its mean is that of all perturbed cells.
        size = condition_sizes(screen)[:, 1:, None] / condition_sizes(screen)[:, 1:].sum(axis=1)[:, None, None]
        delta[:] = (size * delta).sum(axis=1, keepdims=True)
        error[:] = np.sqrt((size**2 * error**2).sum(axis=1, keepdims=True))
    return {
        "format": FORMAT,
        "genes": np.array(screen.genes),
        "contexts": np.array(screen.contexts),
        "perturbations": np.array([perturbation.label for perturbation in screen.perturbations]),
        "delta": delta,
        "delta_se": error,
        "control_mean": control,
        "control_se": control_error,
        "total_effect": total,
        "latent_unit": world.latent_unit,
        "order": world.graph(0).order.astype(np.int32),
        "edges": {name: np.concatenate(parts) for name, parts in edges.items()},
        "families": np.array(world.families()),
        "config": json.dumps(dataclasses.asdict(screen.config), sort_keys=True, default=dict),
        "seed": screen.config.seed,
    }


def adjacency(truth: Mapping[str, Any], context: int = 0) -> np.ndarray:
    """[parent, child] float64 weights of one context, zero where there is no edge."""
    edges = {name: np.asarray(values) for name, values in truth["edges"].items()}
    here = edges["context"] == context
    matrix = np.zeros((len(truth["genes"]),) * 2)
    matrix[edges["parent"][here], edges["child"][here]] = edges["weight"][here]
    return matrix
