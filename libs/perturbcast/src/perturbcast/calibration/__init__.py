"""How far to trust a prediction: intervals from calibration conditions only, how far train is, and sampled cells."""

from perturbcast.calibration.conformal import LEVELS, Calibration, calibrate
from perturbcast.calibration.out_of_distribution import Support
from perturbcast.calibration.sampled_cells import calibrated_variance, generator_of, sample_cells

__all__ = ["LEVELS", "Calibration", "Support", "calibrate", "calibrated_variance", "generator_of", "sample_cells"]
