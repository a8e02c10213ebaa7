"""Which model answers for a name, a version or an alias; never changed, only replaced as a whole."""

from __future__ import annotations

from collections.abc import Sequence

from perturbcast_client.messages import ModelInfo, ModelRef
from prediction_service.served_model import ServedModel, describe

__all__ = ["ModelTable", "UnknownModelError"]

DEFAULT_ALIAS = "champion"


class UnknownModelError(LookupError):
    """No model, version or alias of that name is served."""


class ModelTable:
    """A fixed set of models and their descriptions.

    Args:
        models: in the order of preference; the default of a name is its ``champion``, else its first.

    Raises:
        ValueError: no model, or two models answer to one name and version or alias.
    """

    def __init__(self, models: Sequence[ServedModel]) -> None:
        if not models:
            raise ValueError("A prediction service serves at least one model; none was given. Name one with --model.")
        self.models = tuple(models)
        self._infos = {(served.name, served.version): describe(served) for served in models}
        self._versions: dict[str, dict[str, ServedModel]] = {}
        self._aliases: dict[str, dict[str, ServedModel]] = {}
        for served in models:
            versions = self._versions.setdefault(served.name, {})
            aliases = self._aliases.setdefault(served.name, {})
            taken = [f"version {served.version!r}"] if served.version in versions else []
            taken += [f"alias {alias!r}" for alias in served.aliases if alias in aliases]
            if taken:
                raise ValueError(
                    f"A name with a version or an alias stands for one model; {served.name!r} has {taken[0]} twice. "
                    "Serve it once."
                )
            versions[served.version] = served
            aliases.update(dict.fromkeys(served.aliases, served))

    @property
    def infos(self) -> tuple[ModelInfo, ...]:
        """Every model in full, in the order given."""
        return tuple(self._infos.values())

    def find(self, ref: ModelRef) -> tuple[ServedModel, ModelInfo]:
        """The model that answers, and its description.

        Raises:
            UnknownModelError: it is not served; the message lists what is.
        """
        versions, aliases = self._versions.get(ref.name, {}), self._aliases.get(ref.name, {})
        if ref.alias:
            found = aliases.get(ref.alias)
        elif ref.version:
            found = versions.get(ref.version)
        else:
            found = aliases.get(DEFAULT_ALIAS) or next(iter(versions.values()), None)
        if found is None:
            known = [
                served.name
                + (f"/{served.version}" if served.version else "")
                + "".join(f"@{alias}" for alias in served.aliases)
                for served in self.models
            ]
            raise UnknownModelError(
                f"model: a model is one that this server answers for; {str(ref)!r} is not. Known: {', '.join(known)}."
            )
        return found, self._infos[found.name, found.version]
