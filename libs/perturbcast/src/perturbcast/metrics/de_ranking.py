"""How surely each gene changed in the truth: an order for metrics on a top set, weights for those on all genes."""

from __future__ import annotations

import numpy as np

from perturbcast.metrics.comparison import Truth

__all__ = ["ALL", "de_weights", "expressed_genes", "ranked_genes", "top_genes"]

ALL = 5000  # scPerturBench's 'all': its number of highly variable genes


def ranked_genes(truth: Truth) -> np.ndarray:
    """Columns [condition, gene] by |t| of the measured delta (Welch), largest first; ties in the order of the file."""
    return truth.shared(
        "ranked genes", lambda: np.argsort(-truth.over_standard_error(truth.delta), axis=1, kind="stable")
    )


def top_genes(truth: Truth, top: int) -> np.ndarray:
    """The ``top`` first columns of ``ranked_genes`` [condition, min(top, G)]."""
    return ranked_genes(truth)[:, :top]


def expressed_genes(truth: Truth, top: int) -> np.ndarray:
    """The ``top`` columns with the highest control mean [condition, min(top, G)]; ties in the order of the file."""
    return np.argsort(-truth.control, axis=1, kind="stable")[:, :top]


def de_weights(truth: Truth) -> np.ndarray:
    """Weights [condition, gene], each row with sum 1; a row of 0 where no gene of the condition changed.

    |t| of the measured delta, brought to 0..1 within the condition by its least and its largest value, squared
    (Mejia et al. 2025, arXiv 2506.22641).
    """
    return truth.shared("differential weights", lambda: _weights(truth.over_standard_error(truth.delta)))


def _weights(size: np.ndarray) -> np.ndarray:
    least, largest = size.min(axis=1, keepdims=True), size.max(axis=1, keepdims=True)
    # genes that all changed alike are weighted alike
    unit = np.divide(size - least, largest - least, out=(size > 0).astype(np.float64), where=largest > least)
    square = unit**2
    total = square.sum(axis=1, keepdims=True)
    return np.divide(square, total, out=np.zeros_like(square), where=total > 0)
