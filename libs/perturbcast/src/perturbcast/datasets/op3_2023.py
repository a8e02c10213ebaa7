"""OP3 2023: rank signatures of 135 drugs in four types of blood cells; the same drugs across contexts, no cells.

A row is one drug in one cell type: the genes ranked by logFC x -log10(adjusted p) of a pseudobulk limma fit, from 1
(most up) to -1 (most down). These are no fold changes; means and directions can be compared, cells cannot. Every
context has a control of zeros. Between cell types the signatures of one drug correlate by 0.19 only (0.07 of two).
"""

from __future__ import annotations

import scipy.sparse as sp

from perturbcast.datasets.source import ImportConfig as Config
from perturbcast.datasets.source import Source, import_source, signature_mapping
from perturbcast.schema import PerturbationData

__all__ = ["SOURCE", "Config", "build"]

SOURCE = Source(
    dataset="op3_2023",
    study="Open Problems perturbation prediction (NeurIPS 2023): PBMC, 24 h of small molecules",
    accession="GSE279945",
    licence="the study is said to be public in GEO. sigrecon, which ships the rankings, says both MIT and GPL-3",
    public_file="data/neurips2023.{b,t,nk,myeloid}.rda of montilab/sigrecon (commit 112228f4). "
    "Full rankings turned into scores from 1 to -1.",
    file_name="op3_2023_pbmc_drug_signatures.h5ad",
    sha256="f7f77240b110bb8c9806f11fe1d24d2809ac04acc93537496a2d95481c0b81d5",
    perturbation_type="drug",
    mapping=signature_mapping(),
)


def build(config: Config) -> tuple[PerturbationData, sp.csr_matrix | None]:
    """Find the file and put it on the data contract."""
    return import_source(SOURCE, config)
