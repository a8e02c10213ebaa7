"""A learned operator: perturbations travel along gene graphs, contexts bend them, each gene decodes its own response.

One model; the fields of its ``Config`` give the family whose members earlier work numbered (presets in
params.yaml): ``cgio_v0`` no graph, ``cgio_v1`` one gated graph, ``cgio_v2`` graphs mixed by context with contextual
bases, ``cgio_v3`` with an encoder of the control state, ``cgio_v3a`` with a transformer over variable genes,
``cgio_residual`` what ``additive`` leaves over. It is fitted on condition-level effects of known sampling error, each
described as if it had not been seen (``cross_fitting``), and stops by the split's own held-out validation part.

A target that is a measured gene is known by features of that gene (principal components of train control cells), so
that one which was never perturbed has a trained vector. Anything else (a drug, a cytokine) is known by its id where
train holds it; where it does not, the prediction says so. A dose that the label states scales both.

Axes: B rows, G genes, F features. Needs the extra ``train``; listing and loading the module does not.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np

from perturbcast.features import TargetFeatures, kind_signs, principal_axes, reference_doses, strengths
from perturbcast.features.expression import of_controls
from perturbcast.graphs import GeneGraph
from perturbcast.models.cross_fitting import N_FEATURES, Among, Described, Describer, describe_train
from perturbcast.models.interface import Response, TrainingSet
from perturbcast.models.spread import sampling_variance
from perturbcast.schema import Condition, PerturbationData
from perturbcast.stores import Effects
from perturbcast.stores.pseudobulk import mean_and_variance

if TYPE_CHECKING:
    import torch

    from perturbcast.nn.intervention import Intervention
    from perturbcast.nn.state import PretrainedState

__all__ = ["Config", "Model"]

BY_GRADIENT = True  # 'perturbcast train' gives it a validation part to stop by, and Lightning to train with
ROWS_AT_ONCE = 8  # of a prediction: memory does not grow with the conditions, and so few stay in the cache
COMPONENTS = 8  # gene features
SHARES = ("dropout", "beta", "warmup", "encoder_coverage")  # fields between 0 and 1


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    """Parameters.

    Attributes:
        graphs: names of the gene graphs to use, joined by ``+``; empty for none. ``--graph FILE`` of
            ``perturbcast train`` brings them; ``truth`` is that of a simulated dataset.
        shuffle: deal the gene names of every graph anew: the control of an ablation.
        gate: of edges: ``none``, ``scalar``, ``node``, ``lowrank`` or ``mlp``.
        rounds: of propagation, in edges from the perturbed gene.
        perturbation: ``features`` of target genes, or ``id``: a trained vector for each perturbation of train.
        context: ``none``, ``id`` (a trained vector for each context of train), ``features`` of its control profile, or
            ``levels``: these, and the control level of each perturbed gene beside that of train contexts.
        state: encoder of the control profile: ``none``, ``mlp``, ``transformer``, or the ``pretrained`` one of
            ``encoder``.
        encoder: directory of an encoder that 'perturbcast pretrain' made, or a folder of fold_K/ of them; empty for
            none.
        encoder_tuned: train the encoder further; else its weights stay as they are.
        encoder_coverage: least share of the encoder's genes that the data must have, 0 to 1.
        operator: ``additive`` heads, contextual ``bases`` or ``fused``.
        bases: number of contextual bases.
        adapter: to the context: ``none``, ``film``, ``lowrank`` or ``experts``.
        over: model whose prediction is the base and whose residual is learned; empty to learn the delta.
        combination_weight: weight of a combination's row in the loss; a single's is 1.
        width: hidden width.
        variable_genes: genes that the transformer reads, count.
        dropout: share of activations dropped while training, 0 to 1.
        beta: of the loss, 0 (Gaussian likelihood) to 1 (squared error for the mean).
        steps: optimiser steps at most.
        batch: rows per step over all processes.
        learning_rate: at its peak.
        weight_decay: of AdamW.
        clip: largest norm of a gradient.
        warmup: share of the steps until the peak, 0 to 1.
        every: steps between looks at validation.
        patience: looks without improvement before it stops.
        members: networks of different seeds whose predictions are averaged; their spread adds to the variance.
    """

    graphs: str = ""
    shuffle: bool = False
    gate: Literal["none", "scalar", "node", "lowrank", "mlp"] = "none"
    rounds: int = 2
    perturbation: Literal["features", "id"] = "features"
    context: Literal["none", "id", "features", "levels"] = "features"
    state: Literal["none", "mlp", "transformer", "pretrained"] = "none"
    encoder: str = ""
    encoder_tuned: bool = False
    encoder_coverage: float = 0.9
    operator: Literal["additive", "bases", "fused"] = "bases"
    bases: int = 4
    adapter: Literal["none", "film", "lowrank", "experts"] = "none"
    over: str = ""
    combination_weight: float = 1.0
    width: int = 16
    variable_genes: int = 64
    dropout: float = 0.1
    beta: float = 0.5
    steps: int = 200
    batch: int = 16
    learning_rate: float = 0.003
    weight_decay: float = 0.01
    clip: float = 1.0
    warmup: float = 0.1
    every: int = 10
    patience: int = 5
    members: int = 1

    def __post_init__(self) -> None:
        positive = ("rounds", "bases", "width", "variable_genes", "steps", "batch", "every", "patience", "members")
        bad = [f"{name} = {getattr(self, name)}" for name in positive if getattr(self, name) < 1]
        bad += [f"{n} = {getattr(self, n)}" for n in ("learning_rate", "clip") if getattr(self, n) <= 0]
        bad += [f"{n} = {getattr(self, n)}" for n in ("weight_decay", "combination_weight") if getattr(self, n) < 0]
        bad += [f"{n} = {getattr(self, n)}" for n in SHARES if not 0 <= getattr(self, n) <= 1]
        bad += [] if self.width % 2 == 0 else [f"width = {self.width}"]
        if bad:
            raise ValueError(
                f"cgio needs counts of at least 1, an even width, positive rates and shares from 0 to 1; got "
                f"{', '.join(bad)}. See 'Config' in perturbcast/models/cgio.py."
            )
        if self.state != "none" and self.operator == "bases":
            raise ValueError(
                f"The operator 'bases' reads perturbation and context; a state of {self.state!r} would change nothing. "
                "Use operator 'fused' or 'additive', or state 'none'."
            )
        if (self.state == "pretrained") != bool(self.encoder) or (self.encoder_tuned and not self.encoder):
            raise ValueError(
                f"A pretrained state has an encoder, and only such a state reads one; state = {self.state}, encoder = "
                f"{self.encoder!r}, encoder_tuned = {self.encoder_tuned}. Give both state 'pretrained' and the "
                "directory of an encoder, or neither."
            )
        if self.context == "levels" and self.perturbation == "id":
            raise ValueError(
                "Levels are of perturbed genes, and a perturbation known by its id alone has none; context = levels, "
                "perturbation = id. Use perturbation 'features', or context 'features'."
            )
        if not self.graphs and (self.gate != "none" or self.shuffle):
            raise ValueError(
                f"Gates and shuffling are of graphs, and cgio was given none; gate = {self.gate}, shuffle = "
                f"{self.shuffle}. Name graphs, or leave both out."
            )


@dataclasses.dataclass(frozen=True, kw_only=True)
class Model:
    """Trained networks, and what they need beside their weights to be built again and to answer.

    Attributes:
        config: fields of ``Config``.
        genes: names of the G genes.
        pairs: [perturbation, context] of the P train conditions.
        delta: [P, gene]; ``control`` and ``error`` likewise, as in ``Effects``.
        signs: context -> sign of its perturbations.
        doses: target -> reference dose, of train; empty where labels state none.
        axes: what was to be new in the conditions asked about.
        ids: perturbations with a trained vector; ``contexts`` likewise.
        layout: name and shape of each trained array in ``weights``.
        weights: [member, n] trained arrays, one after the other.
        edges: [2, E] of all graphs, one after the other; ``edge_weight`` [E], ``edge_counts`` per graph.
        gene_features: [G, k].
        profile_axes: [a, G].
        tokens: [T] columns that a transformer reads.
        encoder: objective, parameters, sha256 and coverage of the pretrained encoder; empty without one.
        encoder_columns: [E] column of each of its genes, -1 where the data has none; ``encoder_centre`` and
            ``encoder_scale`` [E] of its inputs. Its weights are among ``weights``.
    """

    config: dict[str, Any]
    genes: list[str]
    pairs: list[list[str]]
    delta: np.ndarray
    control: np.ndarray
    error: np.ndarray
    signs: dict[str, float]
    doses: dict[str, float]
    axes: list[str]
    ids: list[str]
    contexts: list[str]
    layout: list[list[Any]]
    weights: np.ndarray
    edges: np.ndarray
    edge_weight: np.ndarray
    edge_counts: list[int]
    gene_features: np.ndarray
    profile_axes: np.ndarray
    tokens: np.ndarray
    encoder: dict[str, Any]
    encoder_columns: np.ndarray
    encoder_centre: np.ndarray
    encoder_scale: np.ndarray

    @classmethod
    def fit(cls, train: TrainingSet, config: Config, *, generator: np.random.Generator) -> Self:
        """Describe the train conditions as unseen ones, train, keep the weights.

        Raises:
            ValueError: there are no train conditions, or a graph or encoder is missing or of other genes.
            UsageError: torch is not installed.
        """
        from perturbcast.nn import descent, heads, state  # here, so that the catalog lists this module without torch
        from perturbcast.nn.stream import Rows

        effects = train.effects.select(np.argsort([f"{c.perturbation}\0{c.context}" for c in train.effects.conditions]))
        if len(effects.conditions) == 0:
            raise ValueError("cgio is fitted on train conditions; there are none. Give a split that has some.")
        untrained = cls._untrained(train, effects, config, generator=generator)
        described = describe_train(untrained.describer, effects, axes=train.ood_axes)
        scale = untrained.describer.scale
        combination = np.array([c.is_combination for c in effects.conditions])
        weight = np.where(combination, config.combination_weight, 1.0)

        def rows(index: np.ndarray) -> dict[str, torch.Tensor]:
            asked = [effects.conditions[i] for i in index]
            built = untrained._rows(asked, effects.control[index], described(index)) | {
                "target": _tensor(effects.delta[index] / scale),
                "error": _tensor(effects.error[index] / scale**2),
                "weight": _tensor(weight[index]),
            }
            # torch's own memory begins at 64 bytes, numpy's anywhere: the last bit of a product depends on it
            return {name: value.clone() for name, value in built.items()}

        def loss(network: torch.nn.Module, batch: Any) -> torch.Tensor:
            mean, variance = network(batch)
            each = heads.beta_nll(mean, variance, target_BG=batch["target"], error_BG=batch["error"], beta=config.beta)
            return (batch["weight"] * each).mean()

        learn = train.learner or descent.learn
        members = []
        for _ in range(config.members):
            seed = int(generator.integers(2**31))
            network = untrained._network(seed=seed)
            if train.encoder is not None and isinstance(network.encode, state.PretrainedState):
                network.encode.encoder.load_state_dict(train.encoder.network().state_dict(), strict=True)
            learn(
                descent.Task(
                    network=network,
                    rows=Rows(count=len(effects.conditions), build=rows),
                    loss=loss,
                    score=untrained._validation(train),
                    metric="" if train.validation is None else train.validation.metric,
                    settings=descent.Settings(
                        **{f.name: getattr(config, f.name) for f in dataclasses.fields(descent.Settings)}
                    ),
                    seed=seed,
                    config=dataclasses.asdict(config) | {"encoder_sha256": untrained.encoder.get("sha256", "")},
                )
            )
            members.append([parameter.detach().cpu().numpy() for parameter in network.parameters()])
        return dataclasses.replace(
            untrained,
            layout=[[name, list(value.shape)] for name, value in network.named_parameters()],
            weights=np.stack([np.concatenate([a.ravel() for a in arrays]) for arrays in members]),
        )

    @classmethod
    def _untrained(
        cls, train: TrainingSet, effects: Effects, config: Config, *, generator: np.random.Generator
    ) -> Self:
        graphs = _graphs(train, config, generator=generator)
        targets = sorted({name for c in effects.conditions for name in c.names})
        measured = set(effects.genes)
        control = np.unique(effects.control, axis=0)
        encoder, columns, centre, scale = _encoder(train, config)
        return cls(
            config=dataclasses.asdict(config),
            genes=list(effects.genes),
            pairs=[[c.perturbation, c.context] for c in effects.conditions],
            delta=effects.delta,
            control=effects.control,
            error=effects.error,
            signs=kind_signs(train.cells),
            doses=reference_doses(effects.conditions),
            axes=list(train.ood_axes),
            ids=targets if config.perturbation == "id" else [t for t in targets if t not in measured],
            contexts=sorted({c.context for c in effects.conditions}),
            layout=[],
            weights=np.zeros((0, 0), dtype=np.float32),
            edges=np.concatenate([np.zeros((2, 0), dtype=np.int64), *(g.edge_index for g in graphs)], axis=1),
            edge_weight=np.concatenate([np.zeros(0, dtype=np.float32), *(g.weight for g in graphs)]),
            edge_counts=[g.n_edges for g in graphs],
            gene_features=_gene_features(effects, train.cells),
            profile_axes=_profile_axes(control),
            tokens=np.sort(np.argsort(-_variability(effects, train.cells), kind="stable")[: config.variable_genes]),
            encoder=encoder,
            encoder_columns=columns,
            encoder_centre=centre,
            encoder_scale=scale,
        )

    @functools.cached_property
    def describer(self) -> Describer:
        """Describes conditions in this model's units."""
        return Describer(
            over=self.config["over"],
            scale=max(float(np.sqrt((self.delta**2).mean())), 1e-6),
            level=float(self.control.mean()),
            spread=max(float(self.control.std()), 1e-6),
            signs=self.signs,
            doses=self.doses,
            axes=tuple(self.axes),
        )

    @functools.cached_property
    def _described(self) -> Among:
        """Describes conditions from the train effects."""
        return self.describer.among(
            Effects(
                conditions=tuple(Condition(*pair) for pair in self.pairs),
                genes=tuple(self.genes),
                delta=self.delta,
                control=self.control,
                error=self.error,
                n_cells=np.zeros(len(self.pairs), dtype=np.int64),
                matching=("context",) * len(self.pairs),
            )
        )

    def predict(self, conditions: Sequence[Condition], *, control: np.ndarray) -> Response:
        """Mean over members; a bounded number of rows at a time."""
        delta, variance = np.empty(control.shape), np.empty(control.shape)
        notes: list[tuple[str, ...]] = []
        for start in range(0, len(conditions), ROWS_AT_ONCE):
            part = slice(start, start + ROWS_AT_ONCE)
            asked, given = conditions[part], np.asarray(control[part], dtype=np.float64)
            described = self._described(asked, given)
            delta[part], variance[part] = self._answer(asked, given, described)
            notes += [(*said, *self._said(one)) for said, one in zip(described.notes, asked, strict=True)]
        scale = self.describer.scale
        return Response(
            delta=delta * scale,
            variance=variance * scale**2 + sampling_variance(self.error),
            notes=tuple(notes),
        )

    @functools.cached_property
    def _mean_control(self) -> np.ndarray:
        return np.asarray(self.control.mean(axis=0))

    @functools.cached_property
    def _place(self) -> dict[str, int]:
        return {gene: i for i, gene in enumerate(self.genes)}

    @functools.cached_property
    def _members(self) -> tuple[Intervention, ...]:
        """Trained networks, built once: a service that answers one condition at a time else builds them each time."""
        return tuple(self._network(member=member).double().eval() for member in range(len(self.weights)))

    def _answer(
        self, conditions: Sequence[Condition], control: np.ndarray, part: Described
    ) -> tuple[np.ndarray, np.ndarray]:
        import torch

        rows = {name: value.double() for name, value in self._rows(conditions, control, part).items()}
        with torch.no_grad():
            answers = [network(rows) for network in self._members]
        means = np.stack([mean.numpy() for mean, _ in answers])
        return means.mean(axis=0), np.mean([variance.numpy() for _, variance in answers], axis=0) + means.var(axis=0)

    def _validation(self, train: TrainingSet) -> Any:
        """The validation metric of a network; None where the training set has no validation part."""
        if train.validation is None:
            return None
        import torch

        held = train.validation
        asked, control = held.effects.conditions, held.effects.control
        described = self._described.hold(asked, control)
        every = np.arange(len(asked))
        parts = [every[i : i + ROWS_AT_ONCE] for i in range(0, len(asked), ROWS_AT_ONCE)]
        scale = self.describer.scale

        def score(network: torch.nn.Module) -> tuple[float, float]:
            device = next(network.parameters()).device
            training = network.training
            network.eval()
            means = []
            with torch.no_grad():
                for part in parts:
                    rows = self._rows([asked[i] for i in part], control[part], described(part))
                    means.append(network({k: v.to(device) for k, v in rows.items()})[0].float().cpu().numpy())
            network.train(training)
            return held.score(np.concatenate(means) * scale)

        return score

    def _rows(
        self, conditions: Sequence[Condition], control: np.ndarray, described: Described
    ) -> dict[str, torch.Tensor]:
        """What the network reads, one row per condition."""
        n = len(conditions)
        dose, ids = np.zeros((n, len(self.genes))), np.zeros((n, len(self.ids)))
        contexts = np.full((n, len(self.contexts)), 1 / len(self.contexts))
        of_id = {name: i for i, name in enumerate(self.ids)}
        for i, condition in enumerate(conditions):
            for name, strength in zip(condition.names, strengths(condition, self.doses), strict=True):
                if name in self._place and self.config["perturbation"] == "features":
                    dose[i, self._place[name]] = self.describer.sign(condition.context) * strength
                if name in of_id:
                    ids[i, of_id[name]] += strength
            if condition.context in self.contexts:
                contexts[i] = np.eye(len(self.contexts))[self.contexts.index(condition.context)]
        rows = {
            "dose": dose,
            "ids": ids,
            "contexts": contexts,
            "profile": (control - self._mean_control) / self.describer.spread,
            "features": described.features,
            "base": described.base,
        }
        if self.encoder:
            rows["control"] = control
        return {name: _tensor(value) for name, value in rows.items()}

    def _said(self, condition: Condition) -> tuple[str, ...]:
        by_features = self.config["perturbation"] == "features"
        unknown = [n for n in condition.names if n not in self.ids and not (by_features and n in self._place)]
        return tuple(f"{target} has no features here: it adds nothing to what the context says" for target in unknown)

    def _network(self, *, seed: int = 0, member: int | None = None) -> Intervention:
        """The network with fresh weights drawn from ``seed``, or with those of a member, loaded strictly."""
        import torch

        from perturbcast.nn.intervention import Intervention, Shape

        config = Config(**self.config)
        ends = np.cumsum([0, *self.edge_counts])
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            network = Intervention(
                Shape(
                    genes=len(self.genes),
                    ids=len(self.ids),
                    contexts=len(self.contexts),
                    features=N_FEATURES,
                    context=config.context,
                    width=config.width,
                    rounds=config.rounds,
                    gate=config.gate,
                    state=config.state,
                    operator=config.operator,
                    bases=config.bases,
                    adapter=config.adapter,
                    dropout=config.dropout,
                ),
                gene_features=_tensor(self.gene_features),
                profile_axes=_tensor(self.profile_axes),
                graphs=[
                    (torch.from_numpy(self.edges[:, a:b].copy()), torch.from_numpy(self.edge_weight[a:b].copy()))
                    for a, b in itertools.pairwise(ends)
                ],
                tokens=torch.from_numpy(self.tokens.copy()),
                pretrained=self._pretrained() if self.encoder else None,
            )
        if member is None:
            return network
        expected = [[name, list(value.shape)] for name, value in network.named_parameters()]
        if expected != self.layout:
            raise ValueError(
                f"Weights are loaded by name and shape; these were saved as {len(self.layout)} arrays, the network has "
                f"{len(expected)}, or they differ in shape. They were trained with another config or version."
            )
        at = 0
        with torch.no_grad():
            for parameter in network.parameters():
                values = self.weights[member, at : at + parameter.numel()]
                parameter.copy_(torch.from_numpy(values.reshape(tuple(parameter.shape)).copy()))
                at += parameter.numel()
        return network

    def _pretrained(self) -> PretrainedState:
        """The state's encoder before its weights are loaded."""
        import torch

        from perturbcast.encoders.encoder import untrained
        from perturbcast.nn.panel import Panel
        from perturbcast.nn.state import PretrainedState

        panel = Panel(
            torch.from_numpy(self.encoder_columns.copy()),
            centre=_tensor(self.encoder_centre),
            scale=_tensor(self.encoder_scale),
        )
        parameters = self.encoder["parameters"]
        return PretrainedState(
            panel,
            untrained(self.encoder["objective"], parameters, genes=len(self.encoder_columns)),
            encoded=int(parameters["width"]),
            width=self.config["width"],
            tuned=self.config["encoder_tuned"],
        )


def _tensor(array: np.ndarray) -> torch.Tensor:
    import torch

    return torch.from_numpy(np.ascontiguousarray(array, dtype=np.float32))


def _encoder(train: TrainingSet, config: Config) -> tuple[dict[str, Any], np.ndarray, np.ndarray, np.ndarray]:
    """Record, columns, centre and scale of the encoder that the config asks for; empty ones where it asks for none."""
    nothing = np.zeros(0, dtype=np.float32)
    if config.state != "pretrained":
        return {}, np.zeros(0, dtype=np.int64), nothing, nothing
    found = train.encoder
    if found is None:
        raise ValueError(
            f"cgio uses the encoder that it is given; {config.encoder!r} was not. 'perturbcast train' reads it; a call "
            "of 'fit' takes it as 'encoder'."
        )
    columns, coverage = found.columns(train.effects.genes, at_least=config.encoder_coverage)
    record = {
        "objective": found.objective,
        "parameters": dict(found.parameters),
        "sha256": found.hash,
        "coverage": f"{coverage}",
        "missing": list(coverage.missing),
    }
    return record, columns, found.centre, found.scale


def _graphs(train: TrainingSet, config: Config, *, generator: np.random.Generator) -> list[GeneGraph]:
    """The graphs that the config names, each checked against the genes of the data."""
    known = dict(train.graphs)
    if train.truth is not None and "truth" not in known:
        known["truth"] = _true_graph(train.truth, train.effects.genes)
    names = [name for name in config.graphs.split("+") if name]
    missing = [name for name in names if name not in known]
    if missing:
        raise ValueError(
            f"cgio uses the graphs that it is given; {', '.join(missing)} given: {', '.join(sorted(known)) or 'none'}. "
            "Build one with 'perturbcast graph build' and give it with --graph."
        )
    for name in names:
        known[name].check_genes(train.effects.genes)
    return [known[n].shuffled(generator=generator) if config.shuffle else known[n] for n in names]


def _true_graph(truth: Any, genes: Sequence[str]) -> GeneGraph:
    """The regulations of a simulated dataset: the union over contexts, with the mean signed weight of each edge."""
    edges = truth["edges"]
    order = {str(name): i for i, name in enumerate(truth["genes"])}
    back = {order[gene]: i for i, gene in enumerate(genes)}
    sums: dict[tuple[int, int], list[float]] = {}
    for parent, child, sign, weight in zip(
        *(np.asarray(edges[name]) for name in ("parent", "child", "sign", "weight")), strict=True
    ):
        sums.setdefault((back[int(parent)], back[int(child)]), []).append(float(sign) * abs(float(weight)))
    keys = np.array(sorted(sums), dtype=np.int64).reshape(-1, 2)
    return GeneGraph.of(
        name="truth",
        genes=genes,
        source=keys[:, 0],
        target=keys[:, 1],
        weight=np.array([np.mean(sums[int(s), int(t)]) for s, t in keys]),
        provenance={"source": "simulation"},
    )


def _whitened(loadings: np.ndarray) -> np.ndarray:
    """Axes [gene, k] over their singular values, from axes times these: no programme drowns the others."""
    return loadings / np.maximum((loadings**2).sum(axis=0), 1e-12)


def _profile_axes(control: np.ndarray) -> np.ndarray:
    """[a, G]: principal axes of control profiles [context, G], scaled so that these project to sd 1."""
    loadings = principal_axes(control, np.zeros(len(control)), components=COMPONENTS)
    return (_whitened(loadings) * np.sqrt(len(control))).T


def _gene_features(effects: Effects, cells: PerturbationData | None) -> np.ndarray:
    """[G, k]: where genes sit among the programmes of train control cells, else of control profiles.

    Train effects are not looked at: a row's own response must not come back as the feature of its target.
    """
    if cells is not None:
        loadings = of_controls(cells, components=COMPONENTS).vectors
    else:
        loadings = principal_axes(effects.control, np.zeros(len(effects.control)), components=COMPONENTS)
    return TargetFeatures(names=effects.genes, vectors=_whitened(loadings)).scaled().vectors


def _variability(effects: Effects, cells: PerturbationData | None) -> np.ndarray:
    """[G] variance over train control cells, else over control profiles."""
    if cells is None:
        return effects.control.var(axis=0)
    return mean_and_variance(cells.x[np.flatnonzero(cells.obs["is_control"].to_numpy())])[1]
