"""How far to trust a prediction: calibrated intervals, cells drawn from them, and how far train is."""

from perturbcast.calibration.conformal import LEVELS, Calibration, calibrate
from perturbcast.calibration.out_of_distribution import Support
from perturbcast.calibration.sampled_cells import calibrated_variance, generator_of, sample_cells

__all__ = ["LEVELS", "Calibration", "Support", "calibrate", "calibrated_variance", "generator_of", "sample_cells"]
