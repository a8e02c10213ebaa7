"""Writes predictions in the file layouts that other people's harnesses read; needs the extra ``[anndata]``.

``read_screen`` takes the control cells (and measured cells, where there are some) from an .h5ad, ``predicted_cells``
asks the service for them condition by condition, and ``write_cell_eval``, ``write_scperturbench``, ``write_h5ad`` and
``write_npz`` write what came back.
"""

from perturbcast_client.harness.asking import PredictedCells, predicted_cells
from perturbcast_client.harness.layouts import (
    check_file_names,
    write_cell_eval,
    write_h5ad,
    write_npz,
    write_scperturbench,
)
from perturbcast_client.harness.screen import Screen, read_screen

__all__ = [
    "PredictedCells",
    "Screen",
    "check_file_names",
    "predicted_cells",
    "read_screen",
    "write_cell_eval",
    "write_h5ad",
    "write_npz",
    "write_scperturbench",
]
