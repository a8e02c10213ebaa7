"""Stage ``parity``: our reference panels against what the references printed for the same files."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from perturbcast.errors import UsageError
from perturbcast.evaluation.parity import Verdict, parity

PAIR = Path("parity") / "norman_k562"
KEYS = {"perturbation_key": "target_gene", "context_key": "cell_type", "control_label": "non-targeting"}


def command(
    shared: Annotated[
        Path, typer.Option(help="Folder that holds parity/norman_k562: real.h5ad, pred.h5ad and the printed values.")
    ] = Path("../shared"),
    truth: Annotated[Path | None, typer.Option(help="Measured cells (.h5ad), instead of those of --shared.")] = None,
    prediction: Annotated[Path | None, typer.Option(help="Predicted cells (.h5ad).")] = None,
    reference: Annotated[
        Path | None, typer.Option(help="Folder of a reference's own output for --truth and --prediction.")
    ] = None,
    run: Annotated[
        str | None, typer.Option(help="Run this reference on the files now; 'celleval' is the one that can be run.")
    ] = None,
    celleval_python: Annotated[
        Path | None, typer.Option(help="Python of an environment with cell-eval 0.8.2, for --run celleval.")
    ] = None,
    perturbation_key: Annotated[str, typer.Option(help="obs column of the perturbation.")] = KEYS["perturbation_key"],
    context_key: Annotated[
        str | None, typer.Option(help="obs column of the context; files without it are one context.")
    ] = None,
    control_label: Annotated[str, typer.Option(help="Label of control cells.")] = KEYS["control_label"],
) -> None:
    """Compare every reference panel with what the reference printed, per condition; exit code 1 on any FAIL.

    Unrounded values agree to 1e-6 relative, rounded ones to their printed digits; where a reference computes in
    float32 what it subtracts, the table says how far its own value is known. A reference without output is
    ABSENT, with the next step, which is no agreement. Without options the pair ../shared/parity/norman_k562 is
    compared:

        perturbcast parity

    Any pair of files with the folder that a reference wrote for them (cell-eval: results.csv, real_de.csv,
    pred_de.csv; others under the names that lie in the shared folder):

        perturbcast parity --truth real.h5ad --prediction pred.h5ad --reference cell-eval-outdir

    cell-eval run on the spot, in an environment of its own ('python -m venv ce; ce/bin/pip install cell-eval==0.8.2'):

        perturbcast parity --run celleval --celleval-python ce/bin/python
    """
    own = {"--truth": truth, "--prediction": prediction}
    missing = [option for option, value in own.items() if value is None]
    if len(missing) == 1:
        raise UsageError(f"A pair of files is compared; {missing[0]} is not given. Name both, or neither.")
    if reference is not None and run is not None:
        raise UsageError("Either a reference's output is read or it is made: give --reference or --run, not both.")
    if truth is None or prediction is None:
        truth, prediction = shared / PAIR / "real.h5ad", shared / PAIR / "pred.h5ad"
        if not truth.is_file():
            raise UsageError(
                f"The default pair lies in the shared folder; {truth} does not exist. Name the folder by --shared, or "
                "your own files by --truth, --prediction and --reference."
            )
        reference = shared / PAIR if reference is None and run is None else reference
        context_key = context_key or KEYS["context_key"]
    elif reference is None and run is None:
        raise UsageError("Values to compare with are read or made; give --reference FOLDER, or --run celleval.")
    with tempfile.TemporaryDirectory() as scratch:
        folder = reference
        if run is not None:
            folder = Path(scratch)
            _run(run, celleval_python, truth, prediction, folder, key=perturbation_key, control=control_label)
        assert folder is not None
        verdicts = parity(
            truth,
            prediction,
            folder,
            perturbation_key=perturbation_key,
            context_key=context_key,
            control_label=control_label,
        )
    typer.echo(_table(verdicts))
    counts = {status: sum(v.status == status for v in verdicts) for status in ("PASS", "FAIL", "ABSENT", "SKIPPED")}
    typer.echo(", ".join(f"{n} {status}" for status, n in counts.items() if n))
    if counts["FAIL"]:
        raise typer.Exit(1)
    if not counts["PASS"]:
        raise UsageError(
            f"Parity is agreement with something; no reference left output in {folder}. See the steps above, or name "
            "another folder by --reference."
        )


def _run(
    name: str, python: Path | None, truth: Path, prediction: Path, folder: Path, *, key: str, control: str
) -> None:
    if name != "celleval":
        raise UsageError(
            f"References that can be run here: celleval; got {name!r}. Run another in its own environment and name its "
            "output by --reference."
        )
    if python is None:
        raise UsageError(
            "cell-eval runs in an environment of its own; --celleval-python is not given. Make one: "
            "'python -m venv ce; ce/bin/pip install cell-eval==0.8.2', then --celleval-python ce/bin/python."
        )
    words: list[str | Path] = [python, "-m", "cell_eval", "run", "-ap", prediction, "-ar", truth, "-o", folder]
    words += ["--pert-col", key, "--control-pert", control, "--profile", "full", "--num-threads", "1"]
    try:
        done = subprocess.run(words, check=False, capture_output=True, text=True)
    except FileNotFoundError as error:
        raise UsageError(f"--celleval-python is the path of a Python; {python} does not exist.") from error
    if done.returncode:
        raise ValueError(
            f"cell-eval ends with 0; it ended with {done.returncode}: {done.stderr.strip()[-800:]}. Look at the "
            "environment of --celleval-python."
        )


def _table(verdicts: Sequence[Verdict]) -> str:
    width = max(len(v.metric_id) for v in verdicts)
    lines = [f"{'metric':<{width}}  status   worst rel.    n  undefined there"]
    for v in verdicts:
        numbers = f"{v.worst:10.1e} {v.n:4d} {v.n_undefined or '':>4}" if v.n else " " * 20
        lines.append(f"{v.metric_id:<{width}}  {v.status:<7} {numbers}  {v.note}".rstrip())
    return "\n".join(lines)
