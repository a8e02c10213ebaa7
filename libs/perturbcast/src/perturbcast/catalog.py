"""Finds a plugin by the name of its module, so that a new file needs no edit elsewhere.

A folder of plugins is a package. Each of its public modules that declares a ``Config`` is a plugin
under its module name; the others (a panel list, shared formulas) are not. Other people's plugins come
in through entry points of the group ``perturbcast.<folder>``; they may not take a name of ours.
"""

from __future__ import annotations

import dataclasses
import difflib
import functools
import importlib
import math
import pkgutil
from collections.abc import Callable, Mapping
from importlib.metadata import EntryPoint, entry_points
from types import ModuleType
from typing import Any

from perturbcast.errors import UsageError

__all__ = ["configure", "load", "names", "service"]


@functools.cache  # reads the folder
def _own(folder: str) -> set[str]:
    package = importlib.import_module(f"perturbcast.{folder}")
    return {m.name for m in pkgutil.iter_modules(package.__path__) if not m.name.startswith("_")}


@functools.cache  # reads the metadata of every installed distribution
def _others(folder: str) -> dict[str, EntryPoint]:
    return {point.name: point for point in entry_points(group=f"perturbcast.{folder}")}


def names(folder: str) -> list[str]:
    """Plugin names of a folder (``models``, ``encoders``, ``graphs``, ``splits``, ``metrics``, ...), sorted."""
    own = {name for name in _own(folder) if hasattr(_module(folder, name), "Config")}
    return sorted(own | set(_others(folder)))


def _module(folder: str, name: str) -> ModuleType:
    return importlib.import_module(f"perturbcast.{folder}.{name}")


def load(folder: str, name: str) -> ModuleType:
    """The plugin module ``name`` of ``folder``.

    Raises:
        UsageError: no plugin has the name; the known ones are listed.
        ValueError: an entry point takes one of our names.
    """
    own, others = _own(folder), _others(folder)
    if name in own and name in others:
        raise ValueError(
            f"A plugin name stands for one module; {name!r} in {folder!r} is ours and also comes from "
            f"{others[name].value!r}. Rename that entry point."
        )
    if name in others:
        module = others[name].load()
        assert isinstance(module, ModuleType)
        return module
    if name in own and hasattr(module := _module(folder, name), "Config"):
        return module
    known = names(folder)
    near = difflib.get_close_matches(name, known, n=1)
    raise UsageError(
        f"{folder.capitalize()} are found by module name; {name!r} is unknown. "
        f"{f'Did you mean {near[0]!r}? ' if near else ''}Known: {', '.join(known)}."
    )


def configure(folder: str, name: str, values: Mapping[str, Any]) -> Any:
    """The ``Config`` of a plugin from named values; text is parsed by each field's type.

    Raises:
        UsageError: the plugin or a field is unknown, or a value does not fit its field.
    """
    config = load(folder, name).Config
    fields = [field.name for field in dataclasses.fields(config)]
    unknown = sorted(set(values) - set(fields))
    if unknown:
        raise UsageError(
            f"{name!r} takes the parameters {', '.join(fields) or 'none'}; {', '.join(unknown)} unknown. "
            f"See 'Config' in perturbcast/{folder}/{name}.py."
        )
    import pydantic  # here, because a stage without parameters has no use for it

    try:
        made = pydantic.TypeAdapter(config).validate_python(dict(values))
    except pydantic.ValidationError as error:
        first = error.errors()[0]
        if first["type"] == "value_error":  # a rule of the Config's own, in its own words
            raise UsageError(f"Parameters of {name!r}: {first['ctx']['error']}") from error
        field = ".".join(map(str, first["loc"])) or "its parameters"
        raise UsageError(
            f"Parameters of {name!r} fit their fields; {field} = {first['input']!r}: {first['msg']}. "
            f"See 'Config' in perturbcast/{folder}/{name}.py."
        ) from error
    numbers = {field: value for field in fields if isinstance(value := getattr(made, field), float)}
    odd = [f"{field} = {value}" for field, value in numbers.items() if not math.isfinite(value)]
    if odd:
        raise UsageError(
            f"Parameters of {name!r} are finite numbers; got {', '.join(odd)}. "
            f"See 'Config' in perturbcast/{folder}/{name}.py."
        )
    return made


def service(name: str) -> Callable[..., Any]:
    """The entry function of an installed application of the group ``perturbcast.services``.

    Services import the platform, never the other way round; this is how ``perturbcast serve`` reaches one.

    Raises:
        UsageError: the application is not installed.
    """
    for point in entry_points(group="perturbcast.services", name=name):
        function: Callable[..., Any] = point.load()
        return function
    raise UsageError(
        f"Service {name!r} is an application of its own and is not installed. "
        f"Run 'pip install -c constraints.txt -e services/{name.partition('_')[0]}' in the environment of perturbcast."
    )
