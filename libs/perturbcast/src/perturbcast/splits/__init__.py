"""Split rules, one file each, and the frozen, hash-locked files that they become."""

from perturbcast.splits.assemble import assemble, make
from perturbcast.splits.freeze import freeze, load

__all__ = ["assemble", "freeze", "load", "make"]
