"""From the stages of the pipeline to array jobs of a SLURM cluster, and back into one checked commit.

DVC stays outside the jobs: several ``dvc repro`` in one workspace wait for each other's lock. A job runs stage
*commands*, each leaves a record, and one last job checks all records and calls ``dvc commit`` once.
"""

from perturbcast.cluster.diagnosis import diagnose
from perturbcast.cluster.gather import Refused, check, same_checkout
from perturbcast.cluster.plan import Array, Plan, Stage, make_plan, needed, unmade
from perturbcast.cluster.site import Site
from perturbcast.cluster.slurm import Slurm, gather_command, stage_command
from perturbcast.cluster.task import run_task

__all__ = [
    "Array",
    "Plan",
    "Refused",
    "Site",
    "Slurm",
    "Stage",
    "check",
    "diagnose",
    "gather_command",
    "make_plan",
    "needed",
    "run_task",
    "same_checkout",
    "stage_command",
    "unmade",
]
