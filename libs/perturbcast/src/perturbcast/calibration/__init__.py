"""How far to trust a prediction: intervals fitted on calibration conditions only, and cells drawn from them."""

from perturbcast.calibration.conformal import LEVELS, Calibration, calibrate
from perturbcast.calibration.sampled_cells import calibrated_variance, generator_of, sample_cells

__all__ = ["LEVELS", "Calibration", "calibrate", "calibrated_variance", "generator_of", "sample_cells"]
