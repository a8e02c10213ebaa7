"""Fitting models on one fold, and the directories that they are kept in."""

from perturbcast.training.fit import fit
from perturbcast.training.mapped_model import MappedModel
from perturbcast.training.model_directory import load_model, save_model
from perturbcast.training.trained_model import TrainedModel

__all__ = ["MappedModel", "TrainedModel", "fit", "load_model", "save_model"]
