"""Split rules, one file each, and the frozen, hash-locked files that they become."""

from perturbcast.splits.freeze import freeze, load, make

__all__ = ["freeze", "load", "make"]
