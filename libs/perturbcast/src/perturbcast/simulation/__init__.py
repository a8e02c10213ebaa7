"""Simulated data with known truth: structural causal models and gene networks under do().

``simulate(ScreenConfig())`` is a dataset on the data contract; ``draw_task`` and ``SeedRegistry`` feed causal
discovery. Families of graphs and mechanisms are plugins in ``graphs/`` and ``mechanisms/``.
"""

from perturbcast.simulation.causal_graph import CausalGraph
from perturbcast.simulation.dataset import simulate
from perturbcast.simulation.description import Description, describe, plot
from perturbcast.simulation.fixed_sets import FixedSet, collisions, fixed_set, write_fixed_set
from perturbcast.simulation.interventions import Intervention, draw_intervention
from perturbcast.simulation.screen import Screen, ScreenConfig, design, families
from perturbcast.simulation.seed_registry import SeedRegistry, TrainingStream
from perturbcast.simulation.structural_model import StructuralModel, draw_model, draw_with_values
from perturbcast.simulation.tasks import Task, TaskFamily, draw_graph, draw_task
from perturbcast.simulation.truth import adjacency, compute_truth

__all__ = [
    "CausalGraph",
    "Description",
    "FixedSet",
    "Intervention",
    "Screen",
    "ScreenConfig",
    "SeedRegistry",
    "StructuralModel",
    "Task",
    "TaskFamily",
    "TrainingStream",
    "adjacency",
    "collisions",
    "compute_truth",
    "describe",
    "design",
    "draw_graph",
    "draw_intervention",
    "draw_model",
    "draw_task",
    "draw_with_values",
    "families",
    "fixed_set",
    "plot",
    "simulate",
    "write_fixed_set",
]
