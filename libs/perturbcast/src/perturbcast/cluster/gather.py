"""Checks that every task of a job did what was planned, before anything is committed."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from perturbcast.cluster.plan import Plan, Stage
from perturbcast.cluster.task import content, head, record_file

__all__ = ["Refused", "check", "same_checkout"]


class Refused(ValueError):
    """A job cannot be committed as it is."""


def same_checkout(plan: Plan) -> None:
    """The workspace is what was submitted.

    Raises:
        Refused: another commit is checked out, or params.yaml changed.
    """
    commit, params = head(), content(["params.yaml"])["params.yaml"]
    if (commit, params) != (plan.commit, plan.params):
        raise Refused(
            f"A job belongs to the commit and the params.yaml that were submitted ({plan.commit[:12]}, "
            f"{plan.params[:12]}); the checkout has {commit[:12]}, {params[:12]}. "
            "Check that commit out again, or submit anew."
        )


def check(plan: Plan, job: Path) -> dict[str, str]:
    """What is wrong with each stage of a job; empty where every record fits the plan and the workspace.

    A stage behind one that is not right is not right either.
    """
    now = content(sorted({path for stage in plan.stages for path in (*stage.inputs, *stage.outputs)}))
    wrong: dict[str, str] = {}
    for stage in plan.stages:
        finding = _finding(plan, stage, job, now)
        before = [name for name in stage.after if name in wrong]
        if finding or before:
            wrong[stage.name] = finding or f"waits for {', '.join(before)}"
    return wrong


def _finding(plan: Plan, stage: Stage, job: Path, now: Mapping[str, str]) -> str:
    file = record_file(job, stage.name)
    if not file.is_file():
        return "left no run.json: it did not run to its end"
    record = json.loads(file.read_text())
    if record["exit_code"]:
        return f"ended with exit code {record['exit_code']}"
    if (record["commit"], record["params"], record["command"]) != (plan.commit, plan.params, stage.command):
        return "ran another commit, other parameters or another command"
    for verb, kind, paths in (("read", "inputs", stage.inputs), ("wrote", "outputs", stage.outputs)):
        other = [path for path in paths if not now[path] or record[kind].get(path) != now[path]]
        if other:
            return f"{verb} {', '.join(other)} with other content than there is now"
    return ""
