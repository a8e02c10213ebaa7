"""Gasperini 2019: high-MOI CRISPR interference in K562, 10 promoters and 17 enhancers; one context, two batches.

A cell carries many guides. Here ``control`` means none of this panel's targeting guides: cells whose only panel guides
are non-targeting are controls too, and a non-targeting guide beside a targeting one is dropped from the label
(``A+non-targeting`` is ``A``). Each cell, controls included, also carries guides outside the panel (median 55), so
effects are diluted. Promoter labels (``MRPL9_TSS``) become the gene, enhancer labels keep their coordinate name.
"""

from __future__ import annotations

import scipy.sparse as sp

from perturbcast.datasets.source import ImportConfig as Config
from perturbcast.datasets.source import Source, import_source
from perturbcast.schema import PerturbationData
from perturbcast.stores.contract import ColumnMapping

__all__ = ["SOURCE", "Config", "build"]

PROMOTERS = ("CITED2", "COX4I1", "DIMT1", "LARP1", "MRPL9", "NDUFB5", "PRKAR2B", "SLC25A37", "TAF12", "VAPA")

SOURCE = Source(
    dataset="gasperini2019",
    study="Gasperini et al. 2019, Cell: at-scale enhancer screen, CRISPRi in K562 at high MOI",
    accession="GSE120861",
    licence="public in GEO; no licence text seen for the accession. The example subset is shipped by sceptre (GPL-3)",
    public_file="response and gRNA matrices of Katsevich-Lab/sceptre (commits 80fcd0e1 and e4aa37f5); "
    "guides called at 5 UMIs.",
    file_name="gasperini2019_k562_highmoi.h5ad",
    sha256="26417f8461a456b81d663a902ec394cfa161f62bf734344256152a4ce7200f23",
    perturbation_type="CRISPRi",
    mapping=ColumnMapping(
        perturbation="perturbation",
        context="cell_line",
        control=("control",),
        rename={f"{gene}_TSS": gene for gene in PROMOTERS},
        inert=("non-targeting",),
        covariates={"batch": "replicate"},
        library_size="n_umis_all_genes",
    ),
)


def build(config: Config) -> tuple[PerturbationData, sp.csr_matrix | None]:
    """Find the file and put it on the data contract."""
    return import_source(SOURCE, config)
