"""How far to trust a prediction: intervals fitted on calibration conditions only."""

from perturbcast.calibration.conformal import LEVELS, Calibration, calibrate

__all__ = ["LEVELS", "Calibration", "calibrate"]
