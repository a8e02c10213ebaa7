"""Gene embeddings from gene sets: genes in the same pathways have similar vectors, measured or not.

Every gene of the file has one: its memberships, each set weighted by log(genes / size) so that a set of half the genome
says little, scaled to length 1 and reduced to principal axes (uncentred). Genes of the data are found by name, Ensembl
id or symbol.
"""

from __future__ import annotations

import functools
from pathlib import Path

import numpy as np
import scipy.sparse as sp

from perturbcast.features.singular_vectors import singular_vectors
from perturbcast.features.target_features import TargetFeatures
from perturbcast.stores.gene_sets import read_gmt

__all__ = ["of_gene_sets"]


def of_gene_sets(file: Path, *, components: int) -> TargetFeatures:
    """Features of every gene of a ``.gmt`` file.

    Raises:
        UsageError: there is no such file.
        ValueError: it is no ``.gmt`` file.
    """
    return _axes(tuple(read_gmt(file).values()), components=components)


@functools.lru_cache(maxsize=2)  # every fold of a split asks for the same sets
def _axes(sets: tuple[tuple[str, ...], ...], *, components: int) -> TargetFeatures:
    genes = tuple(dict.fromkeys(gene for members in sets for gene in members))
    place = {gene: i for i, gene in enumerate(genes)}
    weight = [np.log(len(genes) / len(members)) + 1e-3 for members in sets]
    rows = [place[gene] for members in sets for gene in members]
    columns = [j for j, members in enumerate(sets) for _ in members]
    member = sp.csr_matrix((np.array(weight)[columns], (rows, columns)), shape=(len(genes), len(sets)))
    length = np.sqrt(np.asarray(member.multiply(member).sum(axis=1)).ravel())
    member = sp.csr_matrix(sp.diags(1 / length) @ member)
    if min(member.shape) <= 2 * components:
        left, scale, _ = np.linalg.svd(member.toarray(), full_matrices=False)
        keep = min(components, len(scale))
        left, scale = left[:, :keep], scale[:keep]
    else:
        left, scale, _ = singular_vectors(member, components=components)
    return TargetFeatures(names=genes, vectors=left * scale).scaled()
