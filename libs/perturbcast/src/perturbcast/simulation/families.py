"""Graph and mechanism families by name, looked up once per process.

The catalog reads the installed entry points at each call, which takes longer than drawing a small model.
"""

from __future__ import annotations

import functools
from types import ModuleType

from perturbcast import catalog

__all__ = ["graph_family", "mechanism_family"]


@functools.cache
def graph_family(name: str) -> ModuleType:
    """The module of a graph family.

    Raises:
        UsageError: no family has the name; the known ones are listed.
    """
    return catalog.load("simulation.graphs", name)


@functools.cache
def mechanism_family(name: str) -> ModuleType:
    """The module of a mechanism family.

    Raises:
        UsageError: no family has the name; the known ones are listed.
    """
    return catalog.load("simulation.mechanisms", name)
