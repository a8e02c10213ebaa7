"""What a model reads beside the cells of its fold: the graphs and the pretrained encoder that its ``Config`` names."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from perturbcast import catalog, encoders, graphs
from perturbcast.graphs import GeneGraph
from perturbcast.schema import PerturbationData, Split, repeated
from perturbcast.stages.layout import of_fold
from perturbcast.stores import CellFile
from perturbcast.stores.cell_sample import sample

__all__ = ["encoder_of", "graphs_of", "unread"]

COEXPRESSION = "coexpression"


def encoder_of(config: Any, fold: Split) -> encoders.Encoder | None:
    """The encoder for one fold: from its folder fold_K/, or the one for all; None where the config names none."""
    named = getattr(config, "encoder", "")
    return encoders.load(of_fold(Path(named), fold.fold)) if named else None


def graphs_of(
    config: Any, fold: Split, *, cells: PerturbationData | CellFile, folders: Sequence[Path], seed: int = 0
) -> list[GeneGraph]:
    """The graphs of the given folders; 'coexpression' from the fold's train controls where it is named and not given.

    Args:
        config: of the model.
        fold: that it is fitted on.
        cells: the dataset; of one that stays on disk, a sample of the train part is looked at.
        folders: graph directories, or folders of fold_K/ of them.
        seed: of that sample.

    Raises:
        ValueError: two folders hold graphs of one name.
    """
    found = [graphs.load(of_fold(folder, fold.fold)) for folder in folders]
    twice = repeated([graph.name for graph in found])
    if twice:
        raise ValueError(
            f"A model tells its graphs apart by name; {', '.join(map(str, folders))} give {', '.join(twice)} more than "
            "once. Leave one out, or build it with another --name."
        )
    named = str(getattr(config, "graphs", "")).split("+")
    if COEXPRESSION in named and not any(graph.name == COEXPRESSION for graph in found):
        source = catalog.load("graphs", COEXPRESSION)
        train = cells.subset(fold.parts["train"])
        found.append(source.build(sample(train, seed=seed) if isinstance(train, CellFile) else train, source.Config()))
    return found


def unread(config: Any, given: Sequence[GeneGraph]) -> list[str]:
    """Names of the given graphs that a model does not name, and so does not read."""
    named = {name for field in ("graphs", "graph") for name in str(getattr(config, field, "")).split("+")}
    return [graph.name for graph in given if graph.name not in named]
