"""Command ``sweep``: a suite whose models are drawn from a search space, by grid, at random or by Optuna's TPE."""

from __future__ import annotations

from perturbcast.stages.suite_commands import commands_of

command = commands_of("sweep")
