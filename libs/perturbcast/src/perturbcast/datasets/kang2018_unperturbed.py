"""Kang 2018, the untreated half: PBMC of 8 donors, eight cell types, no perturbation; for pretraining encoders.

Raw UMI counts of 1,287 genes. 1,301 of the 12,261 cells are also controls of ``kang2018``, under the same barcodes:
they are left out, so that an encoder that is pretrained here has seen no cell of that dataset, whatever its splits
hold out. It has seen others of the same donors and cell types.
"""

from __future__ import annotations

import scipy.sparse as sp

from perturbcast.datasets.source import ImportConfig as Config
from perturbcast.datasets.source import Source, locate
from perturbcast.schema import PerturbationData
from perturbcast.stores.contract import ColumnMapping, to_contract
from perturbcast.stores.h5ad import read_anndata

__all__ = ["SOURCE", "Config", "build"]

SHARED = "also_in_kang2018_pbmc_ifnb"

SOURCE = Source(
    dataset="kang2018_unperturbed",
    study="Kang et al. 2018, Nature Biotechnology: multiplexed droplet scRNA-seq, PBMC of 8 lupus patients, untreated",
    accession="GSE96583",
    licence="public in GEO; no licence text seen for the accession. The example subset is shipped by a GPL-3 package",
    public_file="data/kang_se.rda in the history of HelenaLC/muscat (commit d5acab66).",
    file_name="kang2018_pbmc_unperturbed.h5ad",
    sha256="fa95d03f409db7942fb02ba718919a594ad748e53df372b218df3d94e9021069",
    perturbation_type="none",
    mapping=ColumnMapping(
        perturbation="perturbation", context="cell_type", control=("control",), covariates={"donor": "donor"}
    ),
)


def build(config: Config) -> tuple[PerturbationData, sp.csr_matrix | None]:
    """Find the file, leave out the cells of ``kang2018``, and put the others on the data contract."""
    found = read_anndata(locate(SOURCE))
    shared = found.obs[SHARED].to_numpy(dtype=bool)
    steps = {"left_out": f"{int(shared.sum())} cells that dataset kang2018 holds too ({SHARED})"}
    return to_contract(
        found[~shared].copy(),
        SOURCE.mapping,
        dataset=SOURCE.dataset,
        source=SOURCE.record() | steps,
        min_cells=config.min_cells,
        allow_unperturbed=True,
    )
