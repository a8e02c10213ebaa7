"""Families of random directed acyclic graphs, one per module, each with an exact expected density.

A family is named by its *expected edges per node* k: the mean number of edges is k times the number of
nodes at every size. Each module declares ``Config`` and ``sample(config, n_nodes, generator)``.
"""
