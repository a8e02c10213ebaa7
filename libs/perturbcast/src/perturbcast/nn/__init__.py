"""Torch layers and the descent that fits them: what models that learn by gradient share.

Importing this package is what needs torch; a catalog that lists models, and every closed-form model, does not.

Axes: B rows of a batch, G genes, d hidden width, E edges, K bases, M graphs, c features of a context.
"""

from perturbcast.errors import UsageError

try:
    import torch as _torch  # noqa: F401
except ModuleNotFoundError as error:
    raise UsageError(
        "A model that learns by gradient needs torch; it is not installed here. "
        "Run 'pip install -c constraints.txt -e libs/perturbcast[train]' (the extra 'train')."
    ) from error
