"""Messages of the wire package perturbcast.prediction.v1."""
