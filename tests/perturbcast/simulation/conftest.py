"""Factories of small graphs and screens."""

from __future__ import annotations

import numpy as np
import pytest

from perturbcast.simulation import CausalGraph, ScreenConfig
from perturbcast.simulation.families import graph_family


def _make_graph(family="erdos_renyi", *, nodes=12, k=2.0, seed=0):
    module = graph_family(family)
    return module.sample(module.Config(edges_per_node=k), n_nodes=nodes, generator=np.random.default_rng(seed))


def _make_chain(nodes=4):
    edges = np.array([(i, i + 1) for i in range(nodes - 1)])
    return CausalGraph(n_nodes=nodes, edges=edges, order=np.arange(nodes))


def _make_config(**changes):
    sane = {"nodes": 20, "contexts": 2, "perturbations": 4, "combinations": 1, "cells": 400, "truth_draws": 512}
    return ScreenConfig(**{**sane, **changes})


@pytest.fixture(scope="session")
def make_graph():
    """Factory of random graphs."""
    return _make_graph


@pytest.fixture(scope="session")
def make_chain():
    """Factory of chains 0 -> 1 -> 2 ..."""
    return _make_chain


@pytest.fixture(scope="session")
def make_config():
    """Factory of small screens: 20 genes, 2 contexts, 4 perturbations and a pair, 400 cells."""
    return _make_config
