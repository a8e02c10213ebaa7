"""Perturbcast models behind TorchServe; the prediction service and ``perturbcast export`` reach it by entry point."""
