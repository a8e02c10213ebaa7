"""Imports that numpy offers to everyone, scipy takes, and nothing here uses.

scipy's own layer for other kinds of arrays begins with ``from numpy import *``. That runs numpy's Fortran compiler
interface and its test support, a tenth of a second that a short stage would pay for nothing.
"""

from __future__ import annotations

import importlib.util
import sys

__all__ = ["postpone"]

UNUSED = ("f2py", "testing")  # of numpy


def postpone() -> None:
    """Import these parts of numpy when they are first looked into; to be called before scipy is imported."""
    import numpy as np

    for name in UNUSED:
        full = f"numpy.{name}"
        found = None if full in sys.modules else importlib.util.find_spec(full)
        if found is None or found.loader is None:
            continue
        found.loader = importlib.util.LazyLoader(found.loader)
        module = importlib.util.module_from_spec(found)
        sys.modules[full] = module
        setattr(np, name, module)
        found.loader.exec_module(module)
