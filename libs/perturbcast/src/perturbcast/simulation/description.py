"""What a simulated dataset is like: density, sortability, effect sizes, variance explained by parents; and a plot."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from perturbcast.schema import PerturbationData
from perturbcast.simulation.causal_graph import CausalGraph
from perturbcast.simulation.truth import adjacency
from perturbcast.stores.atomic import replacing

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["Description", "describe", "explained_by_parents", "plot"]

MOVED = 0.1  # log1p CP10k: about a tenth of the expression of a well measured gene
HOPS = ("target", "1 hop", "2 hops", "3+ hops", "not downstream")
DRAWN_NODES = 150  # beyond it, node-link drawings are hairballs
PATHS_UP_TO = 200  # sortability over all paths costs nodes^4


@dataclasses.dataclass(frozen=True, kw_only=True)
class Description:
    """Figures of one simulated dataset; means over contexts where a context is not named.

    Attributes:
        genes, cells, conditions: sizes.
        edges_per_node: regulations divided by genes.
        density: regulations divided by pairs.
        depth: genes on the longest causal path of the first context.
        negative: share of the regulations with a sign that repress.
        edges_shared: mean share of a context's edges that the first context has too.
        var_sortability, r2_sortability: of the control cells of the first context (0.5: the order cannot be read
            off); None where there are no more cells than genes.
        explained: mean over regulated genes of the R2 of a linear fit on the parents, same cells; None likewise.
        effect_by_hops: mean |true delta| by distance from the target, in log1p CP10k; None where no gene is.
        moved: mean number of genes per condition with |true delta| above 0.1.
        context_correlation: mean Pearson correlation of one perturbation's true delta between two contexts.
        largest_se: largest standard error of a stored true delta.
    """

    genes: int
    cells: int
    conditions: int
    edges_per_node: float
    density: float
    depth: int
    negative: float
    edges_shared: float
    var_sortability: float | None
    r2_sortability: float | None
    explained: float | None
    effect_by_hops: dict[str, float | None]
    moved: float
    context_correlation: float | None
    largest_se: float

    def lines(self) -> list[str]:
        """One line of text per figure."""

        def text(value: float | None) -> str:
            return "not measurable here" if value is None else f"{value:.3g}"

        hops = ", ".join(f"{name} {text(value)}" for name, value in self.effect_by_hops.items())
        return [
            f"cells x genes        {self.cells} x {self.genes}, {self.conditions} perturbed conditions",
            f"graph                {self.edges_per_node:.3g} edges per node, density {self.density:.3g}, "
            f"depth {self.depth}, {self.negative:.0%} repressing",
            f"contexts             share of edges in common {self.edges_shared:.3g}, "
            f"correlation of effects {text(self.context_correlation)}",
            f"sortability          variance {text(self.var_sortability)}, R2 {text(self.r2_sortability)} (0.5: none)",
            f"explained by parents {text(self.explained)} of the variance (linear, control cells)",
            f"mean |true delta|    {hops}",
            f"genes moved          {self.moved:.3g} per condition by more than {MOVED:g}",
            f"error of the truth   {self.largest_se:.2g} at most (standard error)",
        ]


def explained_by_parents(values: np.ndarray, graph: CausalGraph) -> float:
    """Mean R2 over nodes with parents of a least-squares fit on them; ``values`` [sample, node]."""
    centred = values - values.mean(axis=0)
    shares = []
    for node in np.unique(graph.edges[:, 1]):
        parents = centred[:, graph.parents(node)]
        fit = parents @ np.linalg.lstsq(parents, centred[:, node], rcond=None)[0]
        total = float((centred[:, node] ** 2).sum())
        if total:
            shares.append(1 - float(((centred[:, node] - fit) ** 2).sum()) / total)
    return float(np.mean(shares))


def _graph(data: PerturbationData, context: int) -> CausalGraph:
    assert data.truth is not None
    edges = np.argwhere(adjacency(data.truth, context))
    return CausalGraph(n_nodes=len(data.genes), edges=edges, order=np.asarray(data.truth["order"]))


def _distances(graph: CausalGraph, targets: list[int]) -> np.ndarray:
    """[gene] number of edges from the nearest target; -1 where none leads there."""
    distance = np.full(graph.n_nodes, -1)
    distance[targets] = 0
    for node in graph.order:
        upstream = distance[graph.parents(node)]
        if distance[node] < 0 and (upstream >= 0).any():
            distance[node] = upstream[upstream >= 0].min() + 1
    return distance


def describe(data: PerturbationData) -> Description:
    """Describe a simulated dataset by its truth and its control cells.

    Raises:
        ValueError: the dataset has no stored truth.
    """
    if data.truth is None:
        raise ValueError(
            f"A description compares cells with their truth; dataset {data.dataset!r} has none (uns['truth']). "
            "Give a file that 'perturbcast simulate' wrote."
        )
    from CausalDisco.analytics import r2_sortability, var_sortability  # brings scikit-learn along

    truth, genes = data.truth, len(data.genes)
    contexts = [str(name) for name in truth["contexts"]]
    graphs = [_graph(data, context) for context in range(len(contexts))]
    matrices = [graph.adjacency() for graph in graphs]
    signs = np.asarray(truth["edges"]["sign"])
    own = (data.obs["is_control"] & (data.obs["context"].astype(str) == contexts[0])).to_numpy()
    by_variance = by_r2 = explained = None
    if own.sum() > genes + 1:
        values = data.x[np.flatnonzero(own)].toarray().astype(np.float64)
        varies = np.flatnonzero(values.std(axis=0))
        rest = matrices[0][np.ix_(varies, varies)]
        explained = explained_by_parents(values, graphs[0])
        if rest.any():
            measure = "paths" if genes <= PATHS_UP_TO else "adjacent_pairs"
            by_variance = float(var_sortability(values[:, varies], rest, measure=measure))
            by_r2 = float(r2_sortability(values[:, varies], rest, measure=measure))
    delta = abs(np.asarray(truth["delta"], dtype=np.float64))
    index = {gene: i for i, gene in enumerate(data.genes)}
    found: dict[str, list[np.ndarray]] = {name: [] for name in HOPS}
    for c, graph in enumerate(graphs):
        for p, label in enumerate(truth["perturbations"]):
            away = _distances(graph, [index[gene] for gene in str(label).split("+")])
            for i, name in enumerate(HOPS[:3]):
                found[name].append(delta[c, p, away == i])
            found[HOPS[3]].append(delta[c, p, away >= 3])
            found[HOPS[4]].append(delta[c, p, away < 0])
    pooled = {name: np.concatenate(parts) for name, parts in found.items()}
    return Description(
        genes=genes,
        cells=len(data.obs),
        conditions=len(data.conditions),
        edges_per_node=float(np.mean([len(graph.edges) for graph in graphs])) / genes,
        density=float(np.mean([matrix.sum() for matrix in matrices])) / (genes * (genes - 1) / 2),
        depth=len(graphs[0].levels),
        negative=float((signs < 0).sum() / max((signs != 0).sum(), 1)),
        edges_shared=float(np.mean([(matrices[0] & matrix).sum() / max(matrix.sum(), 1) for matrix in matrices[1:]]))
        if len(matrices) > 1
        else 1.0,
        var_sortability=by_variance,
        r2_sortability=by_r2,
        explained=explained,
        effect_by_hops={name: float(values.mean()) if values.size else None for name, values in pooled.items()},
        moved=float((delta > MOVED).sum(axis=-1).mean()),
        context_correlation=_context_correlation(np.asarray(truth["delta"], dtype=np.float64)),
        largest_se=float(np.max(truth["delta_se"])),
    )


def _context_correlation(delta: np.ndarray) -> float | None:
    """Mean over perturbations of the Pearson correlation of two contexts' deltas [context, perturbation, gene]."""
    centred = delta - delta.mean(axis=-1, keepdims=True)
    norm = np.sqrt((centred**2).sum(axis=-1))
    pairs = [
        (centred[a] * centred[b]).sum(axis=-1) / (norm[a] * norm[b])
        for a in range(len(delta))
        for b in range(a)
        if (norm[a] * norm[b]).all()
    ]
    return float(np.mean(pairs)) if pairs else None


def plot(data: PerturbationData, path: Path) -> None:
    """Draw the graph and the true effects of the first context; the suffix (.svg, .png, .pdf) gives the format."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    assert data.truth is not None
    with mpl.rc_context({"svg.hashsalt": "perturbcast", "font.size": 8}):
        figure = Figure(figsize=(13, 6), layout="constrained")
        left, right = figure.subplots(1, 2, width_ratios=(1, 1.3))
        graph = _graph(data, 0)
        rank = np.argsort(graph.order)
        weights = adjacency(data.truth, 0)
        if graph.n_nodes <= DRAWN_NODES:
            _draw_graph(left, data, graph, weights)
        else:
            left.imshow(np.sign(weights[np.ix_(graph.order, graph.order)]), cmap="RdBu_r", vmin=-1, vmax=1)
            left.set(xlabel="gene in causal order (child)", ylabel="gene in causal order (parent)")
        left.set_title(f"graph of {data.truth['contexts'][0]}: {len(graph.edges)} edges (red up, blue down)")
        delta = np.asarray(data.truth["delta"])[0][:, graph.order]
        _draw_effects(figure, right, data, delta, rank)
        with replacing(path) as beside:
            figure.savefig(beside, metadata={"Date": None} if path.suffix == ".svg" else None)


def _draw_graph(axes: object, data: PerturbationData, graph: CausalGraph, weights: np.ndarray) -> None:
    import networkx as nx

    drawn = graph.to_networkx()
    for level, nodes in enumerate(graph.levels):
        for node in nodes:
            drawn.nodes[int(node)]["level"] = level
    where = nx.multipartite_layout(drawn, subset_key="level", align="horizontal")
    where = {node: (x, -y) for node, (x, y) in where.items()}
    colours = ["#b2182b" if weights[a, b] > 0 else "#2166ac" for a, b in drawn.edges]
    assert data.truth is not None
    perturbed = {gene for label in data.truth["perturbations"] for gene in str(label).split("+")}
    fill = ["#fdae61" if data.genes[node] in perturbed else "#dddddd" for node in drawn]
    nx.draw_networkx(
        drawn,
        where,
        ax=axes,
        with_labels=False,
        node_size=45,
        node_color=fill,
        edge_color=colours,
        width=0.6,
        arrowsize=6,
    )


def _draw_effects(figure: Figure, axes: object, data: PerturbationData, delta: np.ndarray, rank: np.ndarray) -> None:
    from matplotlib.axes import Axes

    assert isinstance(axes, Axes)
    assert data.truth is not None
    labels = [str(label) for label in data.truth["perturbations"]]
    limit = float(np.quantile(abs(delta), 0.99)) or 1.0
    image = axes.imshow(delta, cmap="RdBu_r", vmin=-limit, vmax=limit, aspect="auto", interpolation="nearest")
    index = {gene: i for i, gene in enumerate(data.genes)}
    marks = [(rank[index[gene]], row) for row, label in enumerate(labels) for gene in label.split("+")]
    axes.plot(*zip(*marks, strict=True), "k.", markersize=2)
    if len(labels) <= 60:
        axes.set_yticks(range(len(labels)), labels, fontsize=5)
    axes.set(xlabel="gene in causal order", ylabel="perturbation")
    axes.set_title("true delta, log1p CP10k (dots: targets)")
    figure.colorbar(image, ax=axes, shrink=0.8)
