"""Draws the cells of a screen, in chunks whose bytes do not depend on how many workers draw them."""

from __future__ import annotations

import dataclasses
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pandas as pd
import scipy.sparse as sp

from perturbcast.schema import CONTROL
from perturbcast.simulation.observation import batch_factors, draw_counts, log1p_cp10k, observe, poisson_rates
from perturbcast.simulation.screen import Screen
from perturbcast.simulation.seeding import Part, stream

__all__ = ["Cells", "condition_sizes", "draw_cells", "draw_condition"]

CHUNK = 2048  # cells per chunk; part of the data's definition, since each chunk has a seed


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Cells:
    """Drawn cells.

    Attributes:
        counts: [cell, gene] CSR int32.
        x: [cell, gene] CSR float32 log1p CP10k, sharing its indices with ``counts``.
        obs: ``perturbation``, ``is_control``, ``context``, and ``batch`` where there are several.
    """

    counts: sp.csr_matrix
    x: sp.csr_matrix
    obs: pd.DataFrame


def condition_sizes(screen: Screen) -> np.ndarray:
    """[context, 1 + perturbation] number of cells; column 0 holds the controls."""
    config, n = screen.config, len(screen.perturbations)
    per_context = [len(part) for part in np.array_split(np.arange(config.cells), config.contexts)]
    sizes = np.empty((config.contexts, 1 + n), dtype=np.int64)
    for context, total in enumerate(per_context):
        sizes[context, 0] = min(max(1, round(config.control_share * total)), total - n)
        sizes[context, 1:] = [len(part) for part in np.array_split(np.arange(total - sizes[context, 0]), n)]
    return sizes


def _draw(
    screen: Screen, context: int, blocks: list[tuple[slice, int]], n: int, seed: np.random.SeedSequence, first: int
) -> tuple[sp.csr_matrix, sp.csr_matrix, np.ndarray]:
    config = screen.config.observation()
    generator = np.random.default_rng(seed)
    noise = screen.world.noise(n, generator)
    latent = screen.world.latent(context, noise, screen.acting(blocks))
    wild = screen.world.latent(context, noise) if screen.own_effects is not None else latent
    expression = screen.expression(context, latent, blocks, wild=wild)
    factors = batch_factors(config, len(screen.genes), stream(screen.config.seed, Part.BATCHES))
    batch = np.arange(first, first + n) % config.batches
    rates = poisson_rates(expression, observe(config, factors, batch, generator))
    counts = draw_counts(rates, generator)
    return counts, log1p_cp10k(counts), batch


def draw_condition(screen: Screen, context: int, perturbation: int | None, *, n: int, seed: int) -> sp.csr_matrix:
    """Fresh cells of one condition, X [cell, gene]; ``None`` gives controls.

    Their seed is their own: they repeat no cell of the dataset and take no part in the truth.
    """
    blocks = [] if perturbation is None else [(slice(None), perturbation)]
    parts = [
        _draw(screen, context, blocks, min(CHUNK, n - start), np.random.SeedSequence([seed, start]), start)[1]
        for start in range(0, n, CHUNK)
    ]
    return sp.csr_matrix(sp.vstack(parts, format="csr"))


def draw_cells(screen: Screen, *, workers: int = 1) -> Cells:
    """All cells of the screen, ordered by context, controls first, then perturbation.

    Args:
        screen: from ``design``.
        workers: threads; the result is the same for any number.
    """
    sizes = condition_sizes(screen)
    tasks = []
    for context, row in enumerate(sizes):
        ends = np.cumsum(row)
        for chunk, start in enumerate(range(0, int(ends[-1]), CHUNK)):
            stop = min(start + CHUNK, int(ends[-1]))
            blocks = [
                (slice(max(int(end - size), start) - start, min(int(end), stop) - start), p)
                for p, (size, end) in enumerate(zip(row[1:], ends[1:], strict=True))
                if end > start and end - size < stop
            ]
            seed = stream(screen.config.seed, Part.CELLS, context, chunk)
            tasks.append((context, blocks, stop - start, seed, start))
    with ThreadPoolExecutor(workers) as pool:
        drawn = list(pool.map(lambda task: _draw(screen, *task), tasks))
    batch = np.concatenate([part[2] for part in drawn])
    counts = _stack([part[0] for part in drawn])
    data: np.ndarray = np.concatenate([part[1].data for part in drawn])
    x = sp.csr_matrix((data, counts.indices, counts.indptr), shape=counts.shape)
    return Cells(counts=counts, x=x, obs=_labels(screen, sizes, batch))


def _stack(parts: list[sp.csr_matrix]) -> sp.csr_matrix:
    """The parts below each other as int32 counts; scipy's vstack would hold one more copy of everything."""
    lengths = np.concatenate([np.diff(part.indptr) for part in parts])
    indptr: np.ndarray = np.zeros(len(lengths) + 1, dtype=np.int32 if lengths.sum(dtype=np.int64) < 2**31 else np.int64)
    np.cumsum(lengths, out=indptr[1:])
    counts: np.ndarray = np.concatenate([part.data.astype(np.int32) for part in parts])
    indices: np.ndarray = np.concatenate([part.indices.astype(indptr.dtype, copy=False) for part in parts])
    return sp.csr_matrix((counts, indices, indptr), shape=(len(lengths), parts[0].shape[1]))


def _labels(screen: Screen, sizes: np.ndarray, batch: np.ndarray) -> pd.DataFrame:
    names = np.array([CONTROL] + [perturbation.label for perturbation in screen.perturbations])
    context = np.repeat(screen.contexts, sizes.sum(axis=1))
    code = np.concatenate([np.repeat(np.arange(len(names)), row) for row in sizes])
    if screen.config.shuffle_labels:
        for i, name in enumerate(screen.contexts):
            perturbed = np.flatnonzero((context == name) & (code > 0))
            generator = np.random.default_rng(stream(screen.config.seed, Part.LABELS, i))
            code[perturbed] = code[generator.permutation(perturbed)]
    digits = len(str(len(code)))
    obs = pd.DataFrame(
        {"perturbation": names[code], "is_control": code == 0, "context": context},
        index=pd.Index([f"cell_{i:0{digits}d}" for i in range(len(code))], name="barcode"),
    )
    if screen.config.batches > 1:
        obs["batch"] = np.char.add("batch_", batch.astype(str))
    return obs
