"""Genes of each condition in the order of how surely they changed in the truth, for metrics on a top set."""

from __future__ import annotations

import numpy as np

from perturbcast.metrics.comparison import Truth

__all__ = ["ALL", "expressed_genes", "ranked_genes", "top_genes"]

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
