"""On-disk stores and what is read from them: cells, minibatches of cells, and condition means."""

from perturbcast.stores.cell_file import CellFile
from perturbcast.stores.cell_reader import CellBatch, CellReader, part_rows
from perturbcast.stores.pseudobulk import Effects, control_means, effects

__all__ = ["CellBatch", "CellFile", "CellReader", "Effects", "control_means", "effects", "part_rows"]
