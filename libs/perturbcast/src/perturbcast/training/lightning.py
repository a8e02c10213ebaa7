"""Trains a network under Lightning: devices and processes, clipping, schedule, early stopping, checkpoints, resume.

What is minimised, how rows are ordered and when it stops is the task's (``nn/descent``); here is where it runs. One
Lightning epoch is the whole run. Each process computes the validation metric itself, on equal weights, so that all
stop at the same step and end with the same best weights. SIGTERM and SIGUSR1 (which SLURM sends before it stops a
job) save a checkpoint after the step in progress and end the run with ``Interrupted``.
"""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import signal
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import FrameType
from typing import Any

import torch

from perturbcast.errors import UsageError
from perturbcast.nn.descent import Best, Settings, Task, check_finite, optimiser, seed_step
from perturbcast.nn.stream import Stream

try:
    import pytorch_lightning as pl
    from pytorch_lightning.utilities.exceptions import MisconfigurationException
except ModuleNotFoundError as error:
    raise UsageError(
        "Training a network needs pytorch-lightning; it is not installed here. "
        "Run 'pip install -c constraints.txt -e libs/perturbcast[train]' (the extra 'train')."
    ) from error

from perturbcast.training.checkpoints import OURS, WholeCheckpoints, read, signature

__all__ = ["Interrupted", "Learner", "check_cards"]

SIGNALS = (signal.SIGTERM, signal.SIGUSR1)
LOGGERS = ("pytorch_lightning", "lightning_fabric")


def check_cards(accelerator: str, devices: int) -> None:
    """The cards that a training asks for are here.

    Raises:
        UsageError: they are not, or torch does not see them.
    """
    cards = torch.accelerator.device_count() if torch.accelerator.is_available() else 0
    if accelerator == "gpu" and cards < devices:
        raise UsageError(
            f"A training on cards has one per process; torch {torch.__version__} sees {cards} here, and {devices} are "
            "asked for. Give fewer --devices or --accelerator cpu, or install torch for this machine's cards."
        )


class Interrupted(Exception):
    """A signal asked the run to stop; a checkpoint was saved and the same command goes on from it."""


@dataclasses.dataclass(kw_only=True)
class Learner:
    """Trains tasks, one after the other; give its ``__call__`` to ``fit``.

    Attributes:
        folder: where checkpoints of runs in progress lie, one per network.
        accelerator: ``cpu``, ``gpu`` or ``auto``; ``devices``, ``num_nodes`` and ``precision`` as Lightning takes them.
        checkpoint_every: steps between checkpoints; 0 for signals and the end only.
        progress: show a bar with loss and validation metric.
        history: (step, loss over all processes) of the last task.
        looks: (step, validation metric) of the last task.
        is_first: this is the process that writes files.
        resumed: step that each task went on from, where there was a checkpoint.
    """

    folder: Path
    accelerator: str = "cpu"
    devices: int = 1
    num_nodes: int = 1
    precision: str = "32-true"
    checkpoint_every: int = 0
    progress: bool = False
    history: list[tuple[int, float]] = dataclasses.field(default_factory=list)
    looks: list[tuple[int, float]] = dataclasses.field(default_factory=list)
    is_first: bool = True
    resumed: list[int] = dataclasses.field(default_factory=list)

    def __post_init__(self) -> None:
        check_cards(self.accelerator, self.devices)

    def __call__(self, task: Task) -> None:
        """Train in place, or go on from the checkpoint of this run; the network is left with its best weights.

        Raises:
            Interrupted: a signal arrived.
            ValueError: a loss is not finite, or there is a checkpoint of another run.
        """
        path = self.folder / f"{task.seed}.ckpt"
        before = read(path, task) if path.is_file() else None
        module = _Descent(task, path=path, every=self.checkpoint_every)
        if before is not None:
            self.resumed.append(len(before[OURS]["history"]))
        if before is not None and before[OURS]["finished"]:
            module.load_state_dict(before["state_dict"], strict=True)
            module.on_load_checkpoint(before)
            self.history, self.looks = module.history, module.looks
        else:
            self._run(module, resume=None if before is None else path)
        module.best.restore(task.network)
        task.network.eval().cpu()

    def _run(self, module: _Descent, *, resume: Path | None) -> None:
        settings = module.task.settings
        with torch.random.fork_rng(), _quiet():
            trainer = self._trainer(settings)
            trainer.fit(module, ckpt_path=resume, weights_only=True)
            self.history, self.looks, self.is_first = module.history, module.looks, trainer.is_global_zero
            if module.signalled:
                raise Interrupted(
                    f"Stopped by a signal after step {module.steps_done} of {settings.steps}; {module.path} is saved. "
                    "The same command goes on from there."
                )
            module.finished = True
            trainer.save_checkpoint(module.path)

    def _trainer(self, settings: Settings) -> pl.Trainer:
        try:
            return pl.Trainer(
                accelerator=self.accelerator,
                devices=self.devices,
                num_nodes=self.num_nodes,
                precision=self.precision,  # type: ignore[arg-type]  # Lightning checks the word and lists the others
                # a graph whose gates are closed leaves its layers without a gradient
                strategy="ddp_find_unused_parameters_true" if self.devices * self.num_nodes > 1 else "auto",
                max_steps=settings.steps,
                max_epochs=1,
                gradient_clip_val=settings.clip,
                plugins=[WholeCheckpoints()],
                enable_progress_bar=self.progress,
                enable_checkpointing=False,
                enable_model_summary=False,
                logger=False,
                use_distributed_sampler=False,
                num_sanity_val_steps=0,
            )
        except MisconfigurationException as error:
            raise UsageError(
                f"Lightning trains where its options fit the machine; it says: {error} Change --accelerator, "
                "--devices, --num-nodes or --precision."
            ) from error


class _Descent(pl.LightningModule):
    """The task as Lightning sees it."""

    def __init__(self, task: Task, *, path: Path, every: int) -> None:
        super().__init__()
        self.network = task.network
        self.task, self.path, self.every = task, path, every
        self.best = Best(task.settings.patience)
        self.history: list[tuple[int, float]] = []
        self.looks: list[tuple[int, float]] = []
        self.steps_done = 0
        # told: a signal arrived here; signalled: every process stops after this step, and it is saved
        self.told = self.signalled = self.finished = False

    def configure_optimizers(self) -> Any:
        adam, schedule = optimiser(self.network, self.task.settings)
        return {"optimizer": adam, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def train_dataloader(self) -> Stream:
        settings = self.task.settings
        return self.task.rows.stream(
            seed=self.task.seed,
            size=settings.batch,
            steps=settings.steps,
            rank=self.trainer.global_rank,
            ranks=self.trainer.world_size,
        )

    def on_train_start(self) -> None:
        for number in SIGNALS:  # after Lightning's own, which raise in the middle of a step
            signal.signal(number, self._note)
        if self.task.score is not None and self.global_step == 0:
            self._look()

    def transfer_batch_to_device(self, batch: Any, device: torch.device, dataloader_idx: int) -> Any:
        return {name: tensor.to(device) for name, tensor in batch.items()}  # Lightning looks into every kind of batch

    def training_step(self, batch: Mapping[str, torch.Tensor], batch_idx: int) -> torch.Tensor:
        if batch_idx == self.steps_done:
            seed_step(self.task.seed, self.steps_done + 1, rank=self.trainer.global_rank)
        loss = self.task.loss(self.network, batch)
        check_finite(loss, self.steps_done + 1)
        return loss

    def on_train_batch_end(self, outputs: Any, batch: Any, batch_idx: int) -> None:
        self.steps_done = step = self.global_step
        loss = self.trainer.strategy.reduce(outputs["loss"].detach(), reduce_op="mean")
        self.history.append((step, float(loss)))
        if self.trainer.progress_bar_callback is not None:
            self.log("loss", loss, prog_bar=True)
        if self.task.score is not None and step % self.task.settings.every == 0:
            self._look()
        told = self.told  # a signal that arrives while the processes agree counts at the next step
        if self.trainer.world_size > 1:
            told = self.trainer.strategy.reduce_boolean_decision(told, all=False)
        self.signalled = told
        if self.signalled or self.best.is_over:
            self.trainer.should_stop = True
        if self.signalled or (self.every and step % self.every == 0):
            self.trainer.save_checkpoint(self.path)

    def _look(self) -> None:
        assert self.task.score is not None
        loss, value = self.task.score(self.network)
        self.best.look(loss, self.global_step, self.network)
        self.looks.append((self.global_step, value))
        if self.global_step:
            self.log(self.task.metric, value, prog_bar=True)

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.told = True

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint[OURS] = {
            "signature": signature(self.task),
            "best": self.best.state_dict(),
            "history": self.history,
            "looks": self.looks,
            "finished": self.finished,
        }

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        self.best.load_state_dict(checkpoint[OURS]["best"])
        self.history = [(int(step), float(loss)) for step, loss in checkpoint[OURS]["history"]]
        self.looks = [(int(step), float(value)) for step, value in checkpoint[OURS]["looks"]]
        self.steps_done = self.history[-1][0] if self.history else 0


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Lightning's hints about loggers, workers and cards are not for a user who chose them here."""
    handlers = {number: signal.getsignal(number) for number in SIGNALS}
    loggers = {logging.getLogger(name): logging.getLogger(name).level for name in LOGGERS}
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*LeafSpec", category=FutureWarning)  # Lightning 2.6 on torch 2.13
        warnings.filterwarnings("ignore", category=UserWarning, module="pytorch_lightning")
        warnings.filterwarnings("ignore", category=UserWarning, module="lightning_fabric")
        try:
            yield
        finally:
            for number, handler in handlers.items():
                signal.signal(number, handler)
            for logger, level in loggers.items():
                logger.setLevel(level)
