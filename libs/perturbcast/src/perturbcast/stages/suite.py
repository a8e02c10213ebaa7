"""Command ``suite``: many models on many splits under one rule, one table at the end."""

from __future__ import annotations

from perturbcast.stages.suite_commands import commands_of

command = commands_of("suite")
