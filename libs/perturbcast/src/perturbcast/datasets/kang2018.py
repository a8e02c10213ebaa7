"""Kang 2018: PBMC of lupus patients, control and interferon beta, eight cell types; one cytokine across contexts.

The context is the cell type, the perturbation IFN-beta for 6 hours (``time``; 0 in controls, which had none; the
source file keeps it in its column ``dose``). Raw UMI counts of 9,015 genes. Labels of 2,091
cells are published, 666 were transferred inside each condition (see the file's ``label_source``).
"""

from __future__ import annotations

import scipy.sparse as sp

from perturbcast.datasets.source import ImportConfig as Config
from perturbcast.datasets.source import Source, import_source
from perturbcast.schema import PerturbationData
from perturbcast.stores.contract import ColumnMapping

__all__ = ["SOURCE", "Config", "build"]

SOURCE = Source(
    dataset="kang2018",
    study="Kang et al. 2018, Nature Biotechnology: multiplexed droplet scRNA-seq, PBMC of 8 lupus patients, IFN-beta",
    accession="GSE96583",
    licence="public in GEO; no licence text seen for the accession. "
    "Example subsets are shipped by GPL-3 and MIT packages",
    public_file="Union by barcode of data/pbmc_stim.RData (immunogenomics/harmony, commit df19af23) and "
    "data/ifnb1k.rda (hjames1/seuratTools, commit 43d0893c), cell types by barcode.",
    file_name="kang2018_pbmc_ifnb.h5ad",
    sha256="6463a3ea5bf9003509659450dec1ed0f476917254e457d25bcbbd8fbc2181a74",
    perturbation_type="cytokine",
    mapping=ColumnMapping(
        perturbation="perturbation",
        context="cell_type",
        control=("control",),
        covariates={"donor": "donor", "time": "dose"},
        units={"time": "h"},
    ),
)


def build(config: Config) -> tuple[PerturbationData, sp.csr_matrix | None]:
    """Find the file and put it on the data contract."""
    return import_source(SOURCE, config)
