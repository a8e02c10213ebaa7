"""How far to trust a prediction: intervals fitted on calibration conditions only, and how far train is."""

from perturbcast.calibration.conformal import LEVELS, Calibration, calibrate
from perturbcast.calibration.out_of_distribution import out_of_distribution_score

__all__ = ["LEVELS", "Calibration", "calibrate", "out_of_distribution_score"]
