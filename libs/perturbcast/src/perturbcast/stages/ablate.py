"""Stage ``ablate``: what each part of cgio is worth on a split, one change at a time, on validation."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from rich.console import Console

from perturbcast.errors import UsageError
from perturbcast.evaluation.bootstrap import mean_interval
from perturbcast.stages.layout import load_fold, open_data, split_files
from perturbcast.stages.model_inputs import encoder_of, graphs_of
from perturbcast.stages.params import model_plugin, options
from perturbcast.stores.atomic import write_bytes
from perturbcast.training.ablation import PLUGIN, WHOLE, Row, ablate, variants
from perturbcast.training.validation import STOP_BY, measure_to_stop_by

CONTEXT_SETTINGS = {"allow_extra_args": True, "ignore_unknown_options": True}


def command(
    context: typer.Context,
    split: Annotated[Path, typer.Option(help="Split folder (all folds) or one fold_K.json.")],
    data: Annotated[
        Path | None, typer.Option(help="Dataset [default: artifacts/datasets/<dataset of the split>.h5ad]")
    ] = None,
    model: Annotated[str, typer.Option(help="The whole model: a name in models: of params.yaml.")] = PLUGIN,
    graph: Annotated[
        list[Path] | None, typer.Option(help="Gene graph: a graph directory, or a folder of fold_K/ of them.")
    ] = None,
    only: Annotated[
        list[str] | None, typer.Option(help="A variant to run, like 'graph shuffled'; repeat. All if not given.")
    ] = None,
    seeds: Annotated[int, typer.Option(min=1, help="Fits per variant and fold, with seeds 0, 1, ...")] = 3,
    metric: Annotated[str, typer.Option(help="Metric of condition means.")] = STOP_BY,
    params: Annotated[Path | None, typer.Option(help="Parameter file [default: params.yaml, if there is one]")] = None,
    out: Annotated[Path | None, typer.Option(help="Write the table here (.csv) too.")] = None,
) -> None:
    """Switch parts of cgio off, one at a time, and compare on validation with paired 95 % intervals.

        perturbcast ablate --split artifacts/splits/simulated-unseen_perturbation --graphs truth --only "graph shuffled"

    Fields of the whole model follow as options of their own, as for 'train'. The graph 'coexpression' is built from the
    train controls of each fold where none of that name is given; 'truth' is that of a simulated dataset.
    """
    plugin, config = model_plugin(model, dict(options(context.args)), params)
    if plugin != PLUGIN:
        raise UsageError(f"What is ablated is {PLUGIN}; {model!r} is {plugin}. Name one of its entries in params.yaml.")
    unknown = sorted(set(only or ()) - set(variants(config)))
    if unknown:
        raise UsageError(
            f"Variants of this model are {', '.join(variants(config))}; {', '.join(unknown)} unknown. "
            "Those of a graph need --graphs NAME, those of a state an operator that reads one."
        )
    measure_to_stop_by(metric)
    cells = open_data(split, data)
    folds = [load_fold(file, cells) for file in split_files(split)]
    console = Console()
    console.print(f"{metric} on validation, {seeds} seeds; difference to the whole model, paired over conditions")
    whole: Row | None = None
    lines = ["variant,value,difference,low,high,conditions"]
    for row in ablate(
        cells,
        folds,
        config,
        seeds=range(seeds),
        graphs=functools.partial(graphs_of, config, cells=cells, folders=graph or ()),
        encoder=functools.partial(encoder_of, config),
        only=only or (),
        metric=metric,
    ):
        whole = whole or row
        difference = row.values - whole.values
        difference = difference[np.isfinite(difference)]
        interval = mean_interval(difference, seed=0) if row.name != WHOLE else None
        low, high = interval or (float("nan"), float("nan"))
        value = float(np.nanmean(row.values))
        said = "" if interval is None else f"  {difference.mean():+.4f} ({low:+.4f} to {high:+.4f})"
        console.print(f"{row.name:20s} {value:.4f}{said}", highlight=False)
        numbers = (value, float(difference.mean()), low, high)
        lines.append(f"{row.name},{','.join('' if np.isnan(n) else f'{n:.6g}' for n in numbers)},{len(difference)}")
    if out is not None:
        write_bytes(out, ("\n".join(lines) + "\n").encode())
