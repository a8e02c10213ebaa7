"""What answering imports is in this image: every model and the registry. The %test of the image."""

import importlib

from perturbcast import catalog

for module in ("prediction_service.server", "perturbcast.tracking", "perturbcast.training"):
    importlib.import_module(module)
for name in catalog.names("models"):
    catalog.load("models", name)
