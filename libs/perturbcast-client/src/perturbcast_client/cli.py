"""The command ``perturbcast-client``: models, predict, export, stats.

Exit code 0; 1 for what is refused, by the service or before it is asked; 2 for a wrong command line; one message on
stderr.
"""

from __future__ import annotations

import argparse
import csv
import dataclasses
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Optional

import numpy as np

from perturbcast_client import stats
from perturbcast_client.channel import Tls
from perturbcast_client.client import Client, connect
from perturbcast_client.errors import ServiceError
from perturbcast_client.messages import Condition, ModelRef, Prediction, Target, Wanted

__all__ = ["main"]

ADDRESS = "127.0.0.1:50051"
LAYOUTS = ("cell-eval", "scperturbench", "h5ad", "npz")
# options of one layout -> what its writer calls them
LAYOUT_OPTIONS = {
    "cell-eval": {
        "out_perturbation_key": "perturbation_key",
        "out_context_key": "context_key",
        "out_control_label": "control_label",
    },
    "scperturbench": {"dataset": "dataset", "method": "method", "unseen": "unseen", "hvg": "highly_variable"},
}


def main(arguments: Optional[Sequence[str]] = None) -> int:  # noqa: UP045  # the entry point of Python 3.9 too
    """Run one command; its exit code."""
    given = _parser().parse_args(arguments)
    try:
        given.run(given)
    except (ServiceError, ValueError, OSError) as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="perturbcast-client", description="Ask a Perturbcast prediction service.")
    commands = parser.add_subparsers(required=True, metavar="command")

    service = argparse.ArgumentParser(add_help=False)
    at = service.add_argument_group("service")
    at.add_argument(
        "--address", default=os.environ.get("PERTURBCAST_ADDRESS", ADDRESS), help="host:port (PERTURBCAST_ADDRESS)"
    )
    at.add_argument("--token-file", type=Path, help="file that holds the bearer token")
    at.add_argument("--tls", action="store_true", help="TLS with the authorities that gRPC knows")
    at.add_argument("--ca", type=Path, help="TLS with these authorities (PEM)")
    at.add_argument("--certificate", type=Path, help="certificate of this client (PEM), for mutual TLS")
    at.add_argument("--key", type=Path, help="its key (PEM)")
    at.add_argument(
        "--timeout", type=float, help="deadline of a call, seconds (60; 3600 for all conditions of predict or export)"
    )

    asked = argparse.ArgumentParser(add_help=False)
    asked.add_argument("model", help="NAME, NAME@ALIAS or NAME/VERSION")
    asked.add_argument(
        "--condition", action="append", nargs=2, metavar=("PERTURBATION", "CONTEXT"), default=[], help="repeat for more"
    )
    asked.add_argument(
        "--conditions", type=Path, help="CSV with the columns perturbation, context and, where wanted, dose"
    )

    models = commands.add_parser("models", parents=[service], help="what the service answers for")
    models.add_argument("model", nargs="?", help="one model in full: NAME, NAME@ALIAS or NAME/VERSION")
    models.add_argument("--genes", action="store_true", help="list its genes too")
    models.add_argument("--json", action="store_true", help="JSON instead of text")
    models.set_defaults(run=_models)

    predict = commands.add_parser("predict", parents=[service, asked], help="mean responses of conditions")
    predict.add_argument("--level", type=float, default=0.0, help="show intervals too; the level is one of the model's")
    predict.add_argument("--top", type=int, default=10, help="genes to print per condition (10)")
    predict.add_argument("--out", type=Path, help="write every gene to this .npz instead of printing the top ones")
    predict.set_defaults(run=_predict)

    export = commands.add_parser(
        "export",
        parents=[service, asked],
        help="predicted cells in a harness's layout; needs perturbcast-client[anndata]",
    )
    export.add_argument("--controls", type=Path, required=True, help=".h5ad with control cells of every context")
    export.add_argument("--layout", choices=LAYOUTS, required=True)
    export.add_argument("--out", type=Path, required=True, help="file; for scperturbench the folder of datasets")
    export.add_argument("--cells", type=int, default=100, help="cells per condition (100)")
    export.add_argument("--seed", type=int, default=0, help="of the sampled cells (0)")
    export.add_argument("--perturbation-key", default="perturbation", help="obs column of the controls file")
    export.add_argument("--context-key", default="context", help="obs column of the controls file; '' for one context")
    export.add_argument("--control-label", default="control", help="label of control cells in the controls file")
    export.add_argument("--out-perturbation-key", help="cell-eval: obs column to write (target_gene)")
    export.add_argument("--out-context-key", help="cell-eval: obs column to write (cell_type)")
    export.add_argument("--out-control-label", help="cell-eval: label to write (non-targeting)")
    export.add_argument("--dataset", help="scperturbench: name of the dataset")
    export.add_argument("--method", help="scperturbench: name of the method (perturbcast)")
    export.add_argument("--unseen", action="store_true", default=None, help="scperturbench: o.o.d instead of i.i.d")
    export.add_argument("--hvg", type=int, help="scperturbench: the number in hvg{n}; the file's genes by default")
    export.set_defaults(run=_export)

    numbers = commands.add_parser("stats", help="how a service is doing, from its Prometheus endpoint")
    numbers.add_argument("--metrics", default="http://127.0.0.1:9464/metrics", help="its address")
    numbers.add_argument("--json", action="store_true", help="JSON instead of text")
    numbers.set_defaults(run=_stats)
    return parser


def _connect(given: argparse.Namespace) -> Client:
    files = (given.ca, given.certificate, given.key)
    tls = Tls(*files) if given.tls or any(files) else None
    token = given.token_file.read_text().strip() if given.token_file else ""
    times = {} if given.timeout is None else {"timeout_s": given.timeout, "stream_timeout_s": given.timeout}
    return connect(given.address, tls=tls, token=token, **times)


def _reference(text: str) -> ModelRef:
    if "@" in text:
        name, _, alias = text.partition("@")
        return ModelRef(name, alias=alias)
    name, _, version = text.partition("/")
    return ModelRef(name, version=version)


def _conditions(given: argparse.Namespace) -> list[Condition]:
    asked = [Condition.from_label(*pair) for pair in given.condition]
    if given.conditions:
        asked += _listed(given.conditions)
    if not asked:
        raise ValueError("--condition: at least one condition is asked for; none was. Add --condition A 'B cells'.")
    return asked


def _listed(path: Path) -> list[Condition]:
    """The conditions of a CSV; a column or a cell that says something else is refused."""
    with path.open(newline="", encoding="utf-8-sig") as file:  # spreadsheets begin with a byte order mark
        rows = csv.DictReader(file)
        columns = rows.fieldnames or ()
        if not {"perturbation", "context"} <= set(columns):
            raise ValueError(
                f"--conditions: a CSV with the columns perturbation and context; {path} has "
                f"{', '.join(columns) or 'none'}. Add the header."
            )
        others = sorted(set(columns) - {"perturbation", "context", "dose"})
        if others:
            raise ValueError(
                f"--conditions: a CSV with the columns perturbation, context and dose; {path} has {', '.join(others)} "
                "too, which no model is told. Drop them."
            )
        conditions = []
        for row in rows:
            try:
                conditions.append(_row(row))
            except ValueError as error:
                raise ValueError(f"--conditions: line {rows.line_num}: {error}") from error
    return conditions


def _row(row: dict[Any, Any]) -> Condition:
    if None in row:  # where the reader puts what is too much
        raise ValueError("a line holds one cell per column; it has more cells than the header. Quote its commas.")
    if row["perturbation"] is None or row["context"] is None:
        raise ValueError("a line names perturbation and context; one is missing. Add it.")
    condition = Condition.from_label(row["perturbation"], row["context"])
    if not row.get("dose"):
        return condition
    try:
        dose = float(row["dose"])
    except ValueError as error:
        raise ValueError(f"a dose is a number; got {row['dose']!r}. Leave the unit out.") from error
    if len(condition.targets) > 1:
        raise ValueError(
            f"a dose belongs to one target; {row['perturbation']!r} has more. Write NAME@DOSE for each of them."
        )
    return Condition((Target(condition.targets[0].name, dose=dose),), condition.context)


def _models(given: argparse.Namespace) -> None:
    if given.genes and not given.model:
        raise ValueError("--genes: the genes of one model are listed; none was named. Name it: models NAME --genes.")
    with _connect(given) as client:
        if given.model:
            infos = [client.get_model(_reference(given.model), include_genes=given.genes)]
        else:
            infos = list(client.list_models())
    if given.json:
        print(json.dumps([dataclasses.asdict(info) for info in infos], indent=1))
    elif given.model:
        for name, value in dataclasses.asdict(infos[0]).items():
            shown = ", ".join(map(str, value)) if isinstance(value, tuple) else value
            print(f"{name:<19} {shown}")
    else:
        for info in infos:
            at = "".join(f" @{alias}" for alias in info.aliases)
            print(f"{info.name}/{info.version or '-'}{at}  {info.kind}, {info.gene_count} genes, {info.dataset}")


def _predict(given: argparse.Namespace) -> None:
    conditions = _conditions(given)
    with _connect(given) as client:
        ref = _reference(given.model)
        info = client.get_model(ref, include_genes=True)
        pinned = ModelRef(info.name, version=info.version) if info.version else ref
        top = 0 if given.out else min(given.top, info.gene_count)
        wanted = Wanted(variance=bool(given.out), interval_level=given.level, top_genes=top)
        chunk = max(1, 32 * 2**20 // (info.gene_count * 32))
        replies = list(client.predict_stream(pinned, conditions, chunk_size=chunk, wanted=wanted))
    if given.out is None:
        for reply in replies:
            for i, condition in enumerate(reply.conditions):
                print(f"{condition}  ({'seen' if reply.seen[i].pair else 'not seen'} in training)")
                for note in reply.notes[i]:
                    print(f"  note: {note}")
                for gene, delta in reply.top_genes[i] if top else ():
                    print(f"  {gene:<16} {delta:+.4f}{_interval(reply, i, info.genes.index(gene))}")
        return
    names = ["delta", "variance", *(["lower", "upper"] if given.level else [])]
    arrays = {name: np.concatenate([getattr(reply, name) for reply in replies]) for name in names}
    arrays["perturbation"] = np.array([condition.perturbation for condition in conditions])
    arrays["context"] = np.array([condition.context for condition in conditions])
    arrays["genes"] = np.array(info.genes)
    arrays["seen"] = np.array([[s.perturbation, s.context, s.pair] for reply in replies for s in reply.seen])
    arrays["notes"] = np.array(["; ".join(notes) for reply in replies for notes in reply.notes])
    scores = [reply.ood_score for reply in replies if reply.ood_score is not None]
    if len(scores) == len(replies):  # a model may give none
        arrays["ood_score"] = np.concatenate(scores)
    arrays["fingerprint"] = np.array(replies[0].fingerprint)
    given.out.parent.mkdir(parents=True, exist_ok=True)
    beside = given.out.with_name(f".{given.out.stem}.partial.npz")
    with beside.open("wb") as file:
        np.savez_compressed(file, **arrays)  # type: ignore[arg-type]  # its stubs take the names for options
    beside.replace(given.out)
    print(f"{len(conditions)} conditions in {given.out}")


def _interval(reply: Prediction, row: int, column: int) -> str:
    """The ends of an element's interval as text; none where no interval was asked for."""
    if reply.lower is None or reply.upper is None:
        return ""
    return f"  [{reply.lower[row, column]:+.4f}, {reply.upper[row, column]:+.4f}]"


def _export(given: argparse.Namespace) -> None:
    try:
        from perturbcast_client import harness
    except ModuleNotFoundError as error:
        raise ValueError(
            f"export reads and writes .h5ad; {error.name} is not installed. "
            "Run pip install 'perturbcast-client[anndata]'."
        ) from error
    options = _layout_options(given)
    conditions = _conditions(given)
    if given.layout == "scperturbench":
        names = {name for condition in conditions for name in (condition.perturbation, condition.context)}
        harness.check_file_names([options["dataset"], options["method"], *sorted(names)])  # before anything is asked
    screen = harness.read_screen(
        given.controls,
        perturbation_key=given.perturbation_key,
        context_key=given.context_key or None,
        control_label=given.control_label,
        context=conditions[0].context,
    )
    with _connect(given) as client:
        cells = harness.predicted_cells(
            client, _reference(given.model), screen, conditions, cells=given.cells, seed=given.seed
        )
        if given.layout == "cell-eval":
            count = harness.write_cell_eval(cells, screen, given.out, **options)
        elif given.layout == "scperturbench":
            count = harness.write_scperturbench(
                cells, screen, given.out, **{"highly_variable": len(screen.genes), **options}
            )
        else:
            write = harness.write_h5ad if given.layout == "h5ad" else harness.write_npz
            count = write(cells, screen, given.out)
    print(f"{count} conditions in {given.out}")


def _layout_options(given: argparse.Namespace) -> dict[str, Any]:
    """What the layout's writer is told; an option of another layout is refused."""
    options = {}
    for layout, names in LAYOUT_OPTIONS.items():
        for name, argument in names.items():
            value = getattr(given, name)
            if value is None:
                continue
            if layout != given.layout:
                raise ValueError(
                    f"--{name.replace('_', '-')}: an option of the layout {layout}; the layout is {given.layout}. "
                    "Leave it out."
                )
            options[argument] = value
    if given.layout != "scperturbench":
        return options
    if not given.dataset:
        raise ValueError("--dataset: the layout scperturbench begins with the name of the dataset; none was given.")
    if given.hvg is not None and given.hvg < 1:
        raise ValueError(f"--hvg: a number of genes, at least 1; got {given.hvg}. Leave it out for the file's genes.")
    return {"method": "perturbcast", "unseen": False, **options}


def _stats(given: argparse.Namespace) -> None:
    numbers = stats.read(given.metrics)
    print(json.dumps(numbers, indent=1) if given.json else stats.table(numbers))
