"""The git commit that runs and their scores are recorded with."""

from __future__ import annotations

import subprocess

__all__ = ["commit"]


def commit() -> str:
    """The commit that is checked out here; outside a checkout, that there is none."""
    done = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=False)
    return done.stdout.strip() or "not a git checkout"
