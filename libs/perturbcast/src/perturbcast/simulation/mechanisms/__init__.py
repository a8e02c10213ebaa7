"""Families of causal mechanisms, one per module: how a node follows from its parents and its noise.

Each module declares ``Config`` and ``build(config, *, batch, generator)``; ``batch`` holds observational samples
of the node's inputs, what a family must know to fix its scales.
The result is a frozen function (parents [parent, sample], noise [sample]) -> values [sample], the same under every
intervention. Nodes without parents equal their noise.
"""
