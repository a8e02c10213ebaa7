"""Control cells of an .h5ad by context, checked for what a model would silently answer wrongly to.

Refused: NaN, negative values, counts where a model wants log-normalised values, values that its scale cannot hold,
repeated genes, and genes that are not the model's. Axes: cell, gene.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import anndata
import numpy as np

from perturbcast_client.cells import CP10K, largest_expression
from perturbcast_client.messages import ModelInfo

__all__ = ["Screen", "read_screen"]


@dataclasses.dataclass(frozen=True)
class Screen:
    """Cells of a dataset, by what they were given.

    Attributes:
        genes: G names, columns of every matrix.
        controls: context -> control cells [cell, gene], CSR.
        measured: (perturbation, context) -> measured cells [cell, gene], CSR; empty where the file has controls only.
    """

    genes: tuple[str, ...]
    controls: Mapping[str, Any]
    measured: Mapping[tuple[str, str], Any]

    def check(self, model: ModelInfo) -> None:
        """Refuse cells that the model was not made for.

        Raises:
            ValueError: other genes than the model's, or values that its scale cannot hold.
        """
        missing = sorted(set(model.genes) - set(self.genes))
        extra = sorted(set(self.genes) - set(model.genes))
        if missing or extra:
            raise ValueError(
                f"genes: the file has the genes of the model, in any order; {len(missing)} of {len(model.genes)} are "
                f"missing ({', '.join(missing[:5])}) and {len(extra)} are not the model's ({', '.join(extra[:5])}). "
                "Subset the file to GetModel's genes."
            )
        largest = largest_expression(model.scale)
        for context, x in self.controls.items():
            if x.nnz and x.data.max() > largest:
                raise ValueError(
                    f"scale: the model takes {model.scale}, at most {largest:.4g}; control cells of {context!r} reach "
                    f"{x.data.max():.4g}. Normalise them as the model's training data."
                )
            if model.scale == CP10K and x.nnz and (x.data == np.round(x.data)).all():
                raise ValueError(
                    f"scale: the model takes {model.scale}; control cells of {context!r} are whole numbers, as counts "
                    "are. Normalise them as the model's training data."
                )


def read_screen(
    path: Path | str,
    *,
    perturbation_key: str = "perturbation",
    context_key: str | None = "context",
    control_label: str = "control",
    context: str = "all",
) -> Screen:
    """Cells of an .h5ad.

    Args:
        path: the file; ``X`` in the model's scale.
        perturbation_key: obs column that says what a cell was given; a file without it holds controls only.
        context_key: obs column of the cell type, cell line or donor; None where the file is of one context.
        control_label: what control cells have in ``perturbation_key``.
        context: name of the one context where ``context_key`` is None.

    Raises:
        ValueError: a column is missing, there are no control cells, genes repeat, or X holds NaN or negative values.
    """
    import scipy.sparse as sp  # comes with anndata

    data = anndata.read_h5ad(path)
    if context_key is not None and context_key not in data.obs:
        raise ValueError(
            f"context_key: a column of obs; {context_key!r} is none of {', '.join(data.obs.columns) or 'none'} of "
            f"{path}. Name another, or none where the file is of one context."
        )
    x = sp.csr_matrix(data.X)
    x.sum_duplicates()
    if not np.isfinite(x.data).all() or (x.nnz and x.data.min() < 0):
        raise ValueError(f"X: cells are finite and not negative; those of {path} are not. Look at the normalisation.")
    genes = tuple(str(name) for name in data.var_names)
    if len(set(genes)) < len(genes):
        raise ValueError(
            f"genes: names are unique; those of {path} repeat. Call var_names_make_unique() or merge them."
        )
    contexts = np.full(data.n_obs, context) if context_key is None else data.obs[context_key].astype(str).to_numpy()
    labels = (
        data.obs[perturbation_key].astype(str).to_numpy()
        if perturbation_key in data.obs
        else np.full(data.n_obs, control_label)
    )
    is_control = labels == control_label
    if not is_control.any():
        raise ValueError(
            f"control_label: control cells have it in {perturbation_key!r}; {control_label!r} is not there, but "
            f"{', '.join(sorted(set(labels))[:5])}. Name the label of controls."
        )
    measured = {}
    for label, name in sorted(set(zip(labels[~is_control], contexts[~is_control]))):
        measured[canonical(label), str(name)] = x[(labels == label) & (contexts == name)]
    controls = {str(name): x[is_control & (contexts == name)] for name in sorted(set(contexts[is_control]))}
    return Screen(genes=genes, controls=controls, measured=measured)


def canonical(label: str) -> str:
    """Parts of a combination, sorted: the way a condition of the client is labelled."""
    return "+".join(sorted(part.strip() for part in label.split("+")))
