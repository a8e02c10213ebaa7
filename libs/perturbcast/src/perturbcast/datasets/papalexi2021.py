"""Papalexi 2021: ECCITE-seq in THP-1 cells, 25 knock-outs of the interferon and PD-L1 pathway; one context.

20,729 cells in three replicates (the batch; each holds controls), 303 genes. The library size is that of the whole
transcriptome, because the file holds a gene panel. RNA only: the protein part is not in the file.
"""

from __future__ import annotations

import scipy.sparse as sp

from perturbcast.datasets.source import ImportConfig as Config
from perturbcast.datasets.source import Source, import_source
from perturbcast.schema import PerturbationData
from perturbcast.stores.contract import ColumnMapping

__all__ = ["SOURCE", "Config", "build"]

SOURCE = Source(
    dataset="papalexi2021",
    study="Papalexi et al. 2021, Nature Genetics: ECCITE-seq, CRISPR knock-out in THP-1",
    accession="GSE153056",
    licence="public in GEO; no licence text seen for the accession. "
    "The example subset is shipped by sceptre (MIT then)",
    public_file="data/lowmoi_example_data.rda of Katsevich-Lab/sceptredata (commit ec722d5d), four more genes from "
    "Katsevich-Lab/sceptre (commit 8da86f33).",
    file_name="papalexi2021_thp1_crisprko.h5ad",
    sha256="612868cd9607ecb92e3fb3e94ed8fc80164fbf4afdc4f5fe6d544f5d27b0e752",
    perturbation_type="CRISPRko",
    mapping=ColumnMapping(
        perturbation="perturbation",
        context="cell_line",
        control=("control",),
        covariates={"batch": "replicate", "guide": "guide"},
        library_size="n_umis_all_genes",
    ),
)


def build(config: Config) -> tuple[PerturbationData, sp.csr_matrix | None]:
    """Find the file and put it on the data contract."""
    return import_source(SOURCE, config)
