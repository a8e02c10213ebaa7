"""Perturbcast: predict how cells respond to perturbations, and know how far to trust the answer."""

__version__ = "0.1.0"
