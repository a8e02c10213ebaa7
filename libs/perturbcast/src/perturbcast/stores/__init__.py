"""On-disk stores and what is read from them: cells, and condition means."""

from perturbcast.stores.pseudobulk import Effects, control_means, effects

__all__ = ["Effects", "control_means", "effects"]
