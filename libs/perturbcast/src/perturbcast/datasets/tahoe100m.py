"""Tahoe-100M: rank signatures of 109 drugs in ten cancer cell lines; the same drugs across contexts, no cells.

A row is one drug in one line: the genes ranked by logFC x -log10(adjusted p), from 1 (most up) to -1 (most down). These
are no fold changes; means and directions can be compared, cells cannot. Every context has a control of zeros. Of the
4,000 genes ranked most often, those are kept that every signature holds; the few signatures that lack more than 1 % of
the genes are dropped. Between lines the signatures of one drug correlate by 0.56 (0.24 of two).
"""

from __future__ import annotations

import scipy.sparse as sp

from perturbcast.datasets.source import ImportConfig as Config
from perturbcast.datasets.source import Source, import_source, signature_mapping
from perturbcast.schema import PerturbationData

__all__ = ["SOURCE", "Config", "build"]

SOURCE = Source(
    dataset="tahoe100m",
    study="Tahoe-100M (Vevo and Arc Institute 2025): small molecules in cancer cell lines",
    accession="none known",
    licence="the study is said to be CC0 1.0. sigrecon, which ships the rankings, says both MIT and GPL-3",
    public_file="data/tahoe.*.rda of montilab/sigrecon (commit 112228f4). "
    "Full rankings turned into scores from 1 to -1.",
    file_name="tahoe100m_drug_signatures.h5ad",
    sha256="ac90a0e52f5b5ac20d45371b374be86940a7cac061109b54473f0c10c3aea7d9",
    perturbation_type="drug",
    mapping=signature_mapping(missing="missing"),
)


def build(config: Config) -> tuple[PerturbationData, sp.csr_matrix | None]:
    """Find the file and put it on the data contract."""
    return import_source(SOURCE, config)
