"""How a process of several in an image ends, as the batch script is told."""

from __future__ import annotations

import subprocess

import pytest


@pytest.mark.parametrize(
    ("command", "code"),
    [
        ("exit 0", 0),
        ("exit 3", 3),
        ("kill -TERM $PPID; sleep 0.1; exit 0", 0),
        ("kill -TERM $PPID; sleep 0.1; kill -BUS $$", 75),
        ("kill -USR1 $PPID; sleep 0.1; exit 1", 75),
        ("kill -USR1 $PPID; sleep 0.1; kill -USR1 $$", 138),
    ],
    ids=["well", "failed", "told and well", "lost its image", "lost a module", "knows no signal"],
)
def test_what_was_told_to_end_and_did_not_end_well_is_run_again(root, command, code):
    done = subprocess.run(["bash", root / "apptainer/slurm/again.sh", "bash", "-c", command], check=False)
    assert done.returncode == code
