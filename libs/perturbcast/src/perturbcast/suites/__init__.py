"""Many runs under one rule: models x splits x seeds, chosen on validation, the finalists alone opened on test.

A suite runs named models; a sweep draws models from a search space. Both are folders that a killed process, another
process or a cluster's task goes on from: every run has a directory and a record of its own.
"""

from perturbcast.suites.folder import Run, SuiteFolder
from perturbcast.suites.ledger import failure, forget, record_of
from perturbcast.suites.scorecard import Scorecard, choose, finalists, losses
from perturbcast.suites.sections import Budget, Range, Section, Sweep, Training
from perturbcast.suites.space import drawn, free, grid
from perturbcast.suites.trials import Trial, make_trial

__all__ = [
    "Budget",
    "Range",
    "Run",
    "Scorecard",
    "Section",
    "SuiteFolder",
    "Sweep",
    "Training",
    "Trial",
    "choose",
    "drawn",
    "failure",
    "finalists",
    "forget",
    "free",
    "grid",
    "losses",
    "make_trial",
    "record_of",
]
