"""Named gene sets from a ``.gmt`` file: one set per line, its name, a description, its genes, tab-separated."""

from __future__ import annotations

import gzip
from pathlib import Path

from perturbcast.errors import UsageError

__all__ = ["read_gmt"]


def read_gmt(path: Path) -> dict[str, tuple[str, ...]]:
    """Set name -> genes in the order of the file, each once. A weight after a comma (``GENE,1.0``) is dropped.

    Raises:
        UsageError: there is no such file.
        ValueError: a line is no gene set, a name comes twice, or the file holds none.
    """
    if not path.is_file():
        raise UsageError(f"Gene sets are a .gmt file (or .gmt.gz); {path} does not exist.")
    content = path.read_bytes()
    text = (gzip.decompress(content) if path.suffix == ".gz" else content).decode()
    sets: dict[str, tuple[str, ...]] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip():
            continue
        name, _, *genes = line.split("\t") if line.count("\t") >= 2 else ("", "")
        named = tuple(dict.fromkeys(gene.split(",")[0].strip() for gene in genes if gene.strip()))
        if not name or not named or name in sets:
            raise ValueError(
                f"A line of a .gmt file is a name of its own, a description and genes, tab-separated; line {number} of "
                f"{path} is not: {line[:60]!r}."
            )
        sets[name] = named
    if not sets:
        raise ValueError(f"A .gmt file holds gene sets, one per line; {path} holds none.")
    return sets
