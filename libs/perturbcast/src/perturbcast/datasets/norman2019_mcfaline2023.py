"""Norman 2019 with McFaline-Figueroa 2023: CRISPR activation in K562, interference in three glioblastoma lines.

18 single perturbations and 15 pairs in K562 (of 5 pairs both singles are measured), 9 singles in A172, T98G and U87MG
that are also in K562. Mind the direction: K562 is activated (CRISPRa), the others are repressed (CRISPRi). 500 highly
variable genes, log1p-normalised as published; counts do not exist in the file.
"""

from __future__ import annotations

import scipy.sparse as sp

from perturbcast.datasets.source import ImportConfig as Config
from perturbcast.datasets.source import Source, import_source
from perturbcast.schema import PerturbationData
from perturbcast.stores.contract import ColumnMapping

__all__ = ["SOURCE", "Config", "build"]

SOURCE = Source(
    dataset="norman2019_mcfaline2023",
    study="Norman et al. 2019, Science (K562 CRISPRa) and McFaline-Figueroa et al. 2024, sci-Plex-GxE (CRISPRi)",
    accession="GSE133344, GSE225775",
    licence="public in GEO; no licence text seen for the accessions. "
    "The subset is shipped by PerturBench (BSD-3-Clause)",
    public_file="src/perturbench/data/resources/devel.h5ad of altoslabs/perturbench (commit d357dfae), "
    "obs columns renamed.",
    file_name="norman2019_mcfaline2023_crispr.h5ad",
    sha256="84669b95779337b6fd6167a4c5125ca03c4536b1aa8c6dea0bf29e0f247c2512",
    perturbation_type={"K562": "CRISPRa", "A172": "CRISPRi", "T98G": "CRISPRi", "U87MG": "CRISPRi"},
    mapping=ColumnMapping(
        perturbation="perturbation",
        context="cell_line",
        control=("control",),
        kind="log1p",
        scale="log1p of library-size normalised counts, as published by PerturBench",
    ),
)


def build(config: Config) -> tuple[PerturbationData, sp.csr_matrix | None]:
    """Find the file and put it on the data contract."""
    return import_source(SOURCE, config)
