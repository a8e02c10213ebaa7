"""How far to trust a prediction: intervals fitted on calibration conditions only, and how far train is."""

from perturbcast.calibration.conformal import LEVELS, Calibration, calibrate
from perturbcast.calibration.out_of_distribution import Support

__all__ = ["LEVELS", "Calibration", "Support", "calibrate"]
