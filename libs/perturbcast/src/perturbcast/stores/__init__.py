"""On-disk stores and what is read from them: cells, and condition means. Minibatches: ``cell_reader``."""

from perturbcast.stores.cell_file import CellFile
from perturbcast.stores.pseudobulk import Effects, control_means, effects

__all__ = ["CellFile", "Effects", "control_means", "effects"]
