"""Packs a model directory with our handler as a TorchServe archive (.mar, a zip with a manifest).

Byte for byte the same for the same model: entries are sorted, dated 1980, and stored without compression.
"""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

from perturbcast.stores.atomic import replacing
from perturbcast.training import load_model

__all__ = ["write_archive"]

BESIDE = ("handler.py", "packing.py")
EPOCH = (1980, 1, 1, 0, 0, 0)  # the oldest that a zip can say


def write_archive(directory: Path, path: Path, *, name: str) -> str:
    """Write the archive whole; the fingerprint of its model.

    Args:
        directory: model directory, checked by its fingerprint.
        path: ``.mar`` to write.
        name: what TorchServe calls the model.

    Raises:
        ValueError: the directory is half-written or was changed.
    """
    fingerprint = load_model(directory).fingerprint
    manifest = {
        "archiverVersion": "0.12.0",
        "runtime": "python",
        "model": {"modelName": name, "handler": "handler.py", "modelVersion": "1.0"},
    }
    here = Path(__file__).parent
    entries = {"MAR-INF/MANIFEST.json": json.dumps(manifest, indent=1, sort_keys=True).encode()}
    entries |= {file: (here / file).read_bytes() for file in BESIDE}
    entries |= {f"model/{file.name}": file.read_bytes() for file in directory.iterdir() if file.is_file()}
    with replacing(path) as beside, zipfile.ZipFile(beside, "w", zipfile.ZIP_STORED) as archive:
        for entry, content in sorted(entries.items()):
            archive.writestr(zipfile.ZipInfo(entry, EPOCH), content)
    return fingerprint
