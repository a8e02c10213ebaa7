"""Follows the registry: a version that an alias moves to is loaded, warmed and swapped in; the old one drains.

Requests that have their plan are answered by the model they were given, so a swap fails none. Versions that lost
their alias stay, for callers that pinned them and for moving the alias back: the newest few of each name.
"""

from __future__ import annotations

import asyncio
import dataclasses
import itertools
import logging
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from perturbcast.schema import Condition
from perturbcast.training import TrainedModel
from prediction_service.engine import Engine
from prediction_service.served_model import QUICK_CONDITIONS, QUICK_S, Model, ServedModel

__all__ = ["Refresh", "RegistryWatch", "merged", "warm"]

logger = logging.getLogger(__name__)
Refresh = Callable[[Mapping[tuple[str, str], str]], Sequence[Any] | None]
TRIES = 5  # of a clock on a machine that has other work too; the shortest counts
KEPT = 3  # versions of a name without an address of their own


@dataclasses.dataclass(frozen=True, kw_only=True)
class RegistryWatch:
    """Looks at the registry now and then, until it is cancelled.

    Attributes:
        refresh: (name, alias) -> version as served -> what the addresses stand for now, or None where no alias has
            moved; runs in a thread.
        load: a model from one of these, or from what is served already; runs in a thread.
        interval_s: between looks, seconds.
    """

    refresh: Refresh
    load: Callable[[Any], ServedModel]
    interval_s: float

    def __post_init__(self) -> None:
        if not self.interval_s > 0:
            raise ValueError(f"The registry is looked at every so many seconds; got {self.interval_s:g}. Give more.")

    async def run(self, engine: Engine) -> None:
        """Keep the engine's models up to date; what cannot be read or loaded is logged, and the old stay."""
        while True:
            await asyncio.sleep(self.interval_s)
            try:
                await asyncio.to_thread(self.look, engine)
            except (ValueError, OSError) as error:  # a registry that is away, a model that is broken
                logger.warning("the models stay as they are: %s", error)

    def look(self, engine: Engine) -> bool:
        """Swap in what has moved; whether anything had.

        Raises:
            ValueError, OSError: the registry does not answer, or a model cannot be loaded.
        """
        sources = self.refresh({(one.name, alias): one.version for one in engine.served for alias in one.aliases})
        if sources is None:
            return False
        served = {(one.name, one.version): one for one in engine.served}
        wanted = []
        for source in sources:
            known = served.get((source["name"], source["version"]))
            if known is None:
                started = time.monotonic()
                known = warm(self.load(source))
                logger.info(
                    "loaded %s/%s and warmed it in %.1f s", known.name, known.version, time.monotonic() - started
                )
            wanted.append(dataclasses.replace(known, aliases=tuple(source["aliases"])))
        engine.serve(merged(wanted, engine.served))
        names = ", ".join(f"{one.name}/{one.version}" + "".join(f"@{a}" for a in one.aliases) for one in engine.served)
        logger.info("serving %s", names)
        return True


def merged(wanted: Sequence[ServedModel], before: Sequence[ServedModel]) -> list[ServedModel]:
    """What is wanted, each version once, and then the newest of what was served and has no address any more."""
    by_version: dict[tuple[str, str], ServedModel] = {}
    for one in wanted:
        key = (one.name, one.version)
        aliases = dict.fromkeys([*(by_version[key].aliases if key in by_version else ()), *one.aliases])
        by_version[key] = dataclasses.replace(one, aliases=tuple(aliases))
    names = {one.name for one in wanted}
    left = [one for one in before if (one.name, one.version) not in by_version and one.name in names]
    kept: dict[str, int] = {}
    for one in left:  # the table's order: what lost its alias last comes first
        kept[one.name] = kept.get(one.name, 0) + 1
        if kept[one.name] <= KEPT:
            by_version[one.name, one.version] = dataclasses.replace(one, aliases=())
    return list(by_version.values())


def warm(served: ServedModel) -> ServedModel:
    """Ask for what was in training, so that the first caller does not wait for what is made lazily.

    A model of this process is asked again with the clock, for delta alone and with all intervals: what is quick is
    ``quick`` from then on. One elsewhere is not, however fast it is today: it can be away.
    """
    asked = [one for one in served.model.train_conditions if one.context in served.model.control_means]
    if not asked:
        return served
    served.model.predict(asked[:1])
    if not isinstance(served.model, TrainedModel):
        return served
    many = list(itertools.islice(itertools.cycle(asked), QUICK_CONDITIONS))
    return dataclasses.replace(
        served,
        quick=_least_s(served.model, many, levels=()) <= QUICK_S,
        quick_intervals=_least_s(served.model, many, levels=None) <= QUICK_S,
    )


def _least_s(model: Model, conditions: Sequence[Condition], *, levels: Collection[float] | None) -> float:
    """CPU seconds of this thread that the model takes; a neighbour on the machine does not make it slow."""
    took_s = []
    for _ in range(TRIES):
        started = time.thread_time()
        model.predict(conditions, levels=levels)
        took_s.append(time.thread_time() - started)
    return min(took_s)
