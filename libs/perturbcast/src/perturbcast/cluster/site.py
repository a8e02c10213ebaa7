"""What is particular to a cluster: partition, account, limits, image, binds. Nothing of it stands in the code."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Annotated

import pydantic

__all__ = ["Resources", "Site"]

Word = Annotated[str, pydantic.StringConstraints(pattern=r"^[^\s,]+$")]
Clock = Annotated[str, pydantic.StringConstraints(pattern=r"^(\d+-)?\d{1,2}:\d{2}:\d{2}$|^\d+$")]
Memory = Annotated[str, pydantic.StringConstraints(pattern=r"^\d+[KMGT]?$")]


class _Strict(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="forbid", frozen=True)


class Resources(_Strict):
    """What one task asks for; a field left out is not asked for, and the cluster's default holds.

    Attributes:
        partition: where it runs.
        account: who pays.
        qos: quality of service.
        time: limit, ``HH:MM:SS``, ``D-HH:MM:SS`` or minutes.
        cpus: processor cores of a process; thread counts follow it.
        memory: as ``8G``, of one machine.
        nodes: machines; more than one for a model that learns by gradient.
        processes: on each machine, which train one model together; None for one per GPU, or one.
        gpus: on each machine.
        constraint: node features.
    """

    partition: Word | None = None
    account: Word | None = None
    qos: Word | None = None
    time: Clock | None = None
    cpus: int = pydantic.Field(default=1, ge=1)
    memory: Memory | None = None
    nodes: int = pydantic.Field(default=1, ge=1)
    processes: int | None = pydantic.Field(default=None, ge=1)
    gpus: int = pydantic.Field(default=0, ge=0)
    constraint: str | None = None

    @property
    def processes_per_node(self) -> int:
        return self.processes or max(self.gpus, 1)


class Site(_Strict):
    """A site file.

    Attributes:
        defaults: of every task.
        stages: stage name -> fields that differ for it, for example ``train: {gpus: 1}``.
        image: Apptainer image (``.sif``) that holds perturbcast; None runs the environment that submits.
        binds: folders to mount in the image, ``/path`` or ``/path:/inside``.
        modules: names for ``module load``, before anything runs.
        environment: variables of every task.
        at_once: tasks of an array that run at the same time; None leaves it to the cluster.
        grace: seconds before the time limit or a preemption at which a task is told to save itself.
        requeue: a task that was preempted, or that saved itself at its limit, goes back to the queue.
    """

    defaults: Resources = Resources()
    stages: dict[str, dict[str, object]] = {}
    image: str | None = None
    binds: tuple[str, ...] = ()
    modules: tuple[str, ...] = ()
    environment: dict[str, str] = {}
    at_once: int | None = pydantic.Field(default=None, ge=1)
    grace: int = pydantic.Field(default=120, ge=1)
    requeue: bool = True

    @pydantic.model_validator(mode="after")
    def _fits(self) -> Site:
        for stage in self.stages:
            self.resources(stage)
        odd = sorted(name for name in self.environment if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name))
        if odd:
            raise ValueError(f"environment names variables of a shell; {', '.join(odd)} cannot be one")
        return self

    def resources(self, stage: str) -> Resources:
        """What a task of ``stage`` (the name before ``@``) asks for."""
        return Resources.model_validate(self.defaults.model_dump() | self.stages.get(stage, {}))

    def shell(self, *, programs: Path) -> str:
        """Variables for the batch scripts, quoted for a shell.

        A file, since ``sbatch --export`` splits its value on commas.

        Args:
            programs: folder of the environment that submits; without an image its commands are those that tasks run.
        """
        lines = [f"image={shlex.quote(self.image or '')}"]
        lines += [] if self.image else [f"export PATH={shlex.quote(str(programs))}:$PATH"]
        lines += [f"{name}=({' '.join(map(shlex.quote, value))})" for name, value in self._lists().items()]
        lines += [f"export {name}={shlex.quote(value)}" for name, value in sorted(self.environment.items())]
        return "\n".join(lines) + "\n"

    def _lists(self) -> dict[str, tuple[str, ...]]:
        return {"binds": self.binds, "modules": self.modules}
