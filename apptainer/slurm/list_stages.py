"""Prints the stages of dvc.yaml, expanded, as JSON: name, command, inputs, outputs and the stages that run before.

A program of its own, run by the Python that holds DVC: the platform never imports dvc, which may live in an
environment of its own ('dvc stage list' cuts long lines, and 'dvc repro --dry' names no files).
"""

from __future__ import annotations

import json
import sys

from dvc.repo import Repo


def main() -> None:
    """Write to standard output."""
    with Repo() as repo:
        graph = repo.index.graph
        stages = [
            {
                "name": stage.addressing,
                "command": stage.cmd,
                "inputs": sorted({str(dep.def_path) for dep in stage.deps}),
                "outputs": [str(out.def_path) for out in stage.outs],
                "after": sorted(other.addressing for other in graph.successors(stage)),
            }
            for stage in repo.index.stages
            if stage.cmd
        ]
    json.dump(sorted(stages, key=lambda stage: str(stage["name"])), sys.stdout, indent=1)


if __name__ == "__main__":
    main()
