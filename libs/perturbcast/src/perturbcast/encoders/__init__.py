"""Encoders of cells, pretrained without labels: one way of pretraining per file; what comes out is an ``Encoder``.

A module declares ``Config`` (the fields of ``Pretraining`` and its own) and ``build(config, *, genes)``, a pretext
task as ``nn/reconstruction`` describes it: torch is imported inside, so that the catalog lists without it.
"""

from perturbcast.encoders.encoder import Encoder
from perturbcast.encoders.encoder_files import load, save
from perturbcast.encoders.pretraining import Pretraining

__all__ = ["Encoder", "Pretraining", "load", "save"]
