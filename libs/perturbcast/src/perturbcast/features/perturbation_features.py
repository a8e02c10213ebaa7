"""What a perturbation is made of: the features of its targets, signed by how and scaled by how strongly they were hit.

A combination is the sum over its targets, whatever their order. The sign is the kind of the perturbation in that
context: knock-out and interference -1, activation, drugs and cytokines +1; the scale is the strength of its dose
(``doses``), 1 where its label states none. A target without features adds nothing, and
the answer says so; there is no row that was never fitted.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

from perturbcast.features.doses import strengths
from perturbcast.features.embedding_file import of_file
from perturbcast.features.expression import of_controls, of_profiles
from perturbcast.features.graph_position import of_graph
from perturbcast.features.set_membership import of_gene_sets
from perturbcast.features.target_features import TargetFeatures
from perturbcast.graphs import GeneGraph
from perturbcast.schema import Condition, PerturbationData
from perturbcast.stores import Effects
from perturbcast.stores.data_folders import located

__all__ = ["FeatureChoice", "encode", "gather", "kind_signs"]

DOWN = ("CRISPRi", "CRISPRko", "knockout", "knockdown")  # kinds that lower the activity of their target


@dataclasses.dataclass(frozen=True, kw_only=True)
class FeatureChoice:
    """What the ``Config`` of a model that reads features of targets says about them.

    Attributes:
        components: features of each computed source, count.
        expression: whether targets that are measured genes have features from expression of train controls.
        gene_sets: a ``.gmt`` file, by path or by its name in the folder ``priors`` of a data folder; targets have
            features from their memberships. Empty for none.
        embedding: a file of embeddings by target name (``.npz``, ``.csv``, ``.parquet``), found likewise; empty for
            none.
        graph: name of a given graph; targets have features from their position in it. Empty for none.
    """

    components: int = 10
    expression: bool = True
    gene_sets: str = ""
    embedding: str = ""
    graph: str = ""

    def __post_init__(self) -> None:
        if self.components < 1:
            raise ValueError(f"Features are counted from 1; components is {self.components}. Give 1 or more.")


def gather(
    choice: FeatureChoice,
    *,
    effects: Effects,
    cells: PerturbationData | None,
    graphs: Mapping[str, GeneGraph],
) -> TargetFeatures:
    """Features of targets from every source that is chosen, side by side, each scaled alike.

    Args:
        choice: which sources.
        effects: train effects; their profiles give expression features where ``cells`` is None.
        cells: cells of the train part; its controls give expression features.
        graphs: graphs by name.

    Raises:
        UsageError: a file does not exist.
        ValueError: the chosen graph was not given, or a file is not what it should be.
    """
    made = TargetFeatures(names=(), vectors=np.zeros((0, 0)))
    if choice.expression and cells is not None:
        made = made.beside(of_controls(cells, components=choice.components))
    elif choice.expression:
        made = made.beside(of_profiles(effects, components=choice.components))
    if choice.gene_sets:
        made = made.beside(of_gene_sets(located(choice.gene_sets), components=choice.components))
    if choice.graph:
        if choice.graph not in graphs:
            raise ValueError(
                f"A model uses a graph that it is given; {choice.graph!r} is not among {', '.join(graphs) or 'none'}. "
                "Build it with 'perturbcast graph build' and name its folder with --graph."
            )
        made = made.beside(of_graph(graphs[choice.graph], components=choice.components))
    return made.beside(of_file(located(choice.embedding))) if choice.embedding else made


def kind_signs(cells: PerturbationData | None) -> dict[str, float]:
    """Context -> sign of its perturbations, from the dataset's ``perturbation_type`` (one for all, or by context)."""
    if cells is None:
        return {}
    kind = cells.meta.get("perturbation_type", "")
    by_context = kind if isinstance(kind, Mapping) else dict.fromkeys(cells.contexts, kind)
    return {str(context): -1.0 if str(name) in DOWN else 1.0 for context, name in by_context.items()}


def encode(
    conditions: Sequence[Condition],
    features: TargetFeatures,
    signs: Mapping[str, float],
    doses: Mapping[str, float] | None = None,
) -> tuple[np.ndarray, list[list[str]]]:
    """Signed features of conditions [condition, feature], and the targets of each that have none.

    Args:
        conditions: perturbed conditions.
        features: of targets.
        signs: context -> sign; a context that is not in it has the sign of most, +1 on a tie.
        doses: reference dose by target (``reference_doses`` of train); every dose counts alike if not given.
    """
    usual = -1.0 if sum(signs.values()) < 0 else 1.0
    weights = [strengths(condition, doses or {}) for condition in conditions]
    rows, missing = features.of([condition.names for condition in conditions], weights)
    sign = np.array([signs.get(condition.context, usual) for condition in conditions])
    return rows * sign[:, None], missing
