"""Writes a base image without a registry: Debian bookworm with Python 3.11, by mmdebstrap, as an OCI archive.

    python containers/make_base.py artifacts/images/base.tar

Stands in for python:3.11-slim-bookworm where registries cannot be reached. Buildah and Apptainer read it as
oci-archive:FILE. As root, or with user namespaces.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

PACKAGES = ("ca-certificates", "python3", "python3-venv")
# a mirror that is a snapshot has a date of its own; pages of documentation are a third of the packages
OPTIONS = (
    '--aptopt=Acquire::Check-Valid-Until "false"',
    '--aptopt=Acquire::Check-Date "false"',
    "--dpkgopt=path-exclude=/usr/share/doc/*",
    "--dpkgopt=path-include=/usr/share/doc/*/copyright",
    "--dpkgopt=path-exclude=/usr/share/man/*",
    "--dpkgopt=path-exclude=/usr/share/locale/*",
)
MEDIA = "application/vnd.oci.image"


def main(out: Path) -> None:
    """Make the root, and pack it."""
    if shutil.which("mmdebstrap") is None:
        sys.exit("A base without a registry is made by mmdebstrap, which is absent: apt-get install mmdebstrap.")
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent) as folder:
        layer = Path(folder) / "layer.tar"
        suite = ("bookworm", str(layer), "http://deb.debian.org/debian")
        subprocess.run(
            ["mmdebstrap", "--quiet", "--variant=minbase", f"--include={','.join(PACKAGES)}", *OPTIONS, *suite],
            check=True,
        )
        partial = Path(folder) / "base.tar"
        _pack(layer, partial)
        partial.replace(out)


def _pack(layer: Path, out: Path) -> None:
    """One layer, its configuration, a manifest and an index: https://github.com/opencontainers/image-spec."""
    packed = layer.with_suffix(".tar.gz")
    with layer.open("rb") as source, packed.open("wb") as raw, gzip.GzipFile("", "wb", 6, raw, mtime=0) as sink:
        shutil.copyfileobj(source, sink)
    config = {
        "architecture": subprocess.run(
            ["dpkg", "--print-architecture"], check=True, capture_output=True, text=True
        ).stdout.strip(),
        "os": "linux",
        "config": {"Env": ["PATH=/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin"], "Cmd": ["python3.11"]},
        "rootfs": {"type": "layers", "diff_ids": [_digest(layer)]},
    }
    with tarfile.open(out, "w") as archive:
        for folder in ("blobs", "blobs/sha256"):  # Apptainer makes no folder that the archive does not name
            entry = tarfile.TarInfo(folder)
            entry.type, entry.mode = tarfile.DIRTYPE, 0o755
            archive.addfile(entry)
        archive.add(packed, f"blobs/{_digest(packed).replace(':', '/')}")
        described = {
            "mediaType": f"{MEDIA}.layer.v1.tar+gzip",
            "digest": _digest(packed),
            "size": packed.stat().st_size,
        }
        manifest = {
            "schemaVersion": 2,
            "mediaType": f"{MEDIA}.manifest.v1+json",
            "config": _blob(archive, config, "config"),
            "layers": [described],
        }
        _add(archive, "index.json", {"schemaVersion": 2, "manifests": [_blob(archive, manifest, "manifest")]})
        _add(archive, "oci-layout", {"imageLayoutVersion": "1.0.0"})


def _blob(archive: tarfile.TarFile, document: object, kind: str) -> dict[str, object]:
    """Store a document under its digest; what refers to it."""
    digest = f"sha256:{hashlib.sha256(json.dumps(document).encode()).hexdigest()}"
    size = _add(archive, f"blobs/{digest.replace(':', '/')}", document)
    return {"mediaType": f"{MEDIA}.{kind}.v1+json", "digest": digest, "size": size}


def _add(archive: tarfile.TarFile, name: str, document: object) -> int:
    content = json.dumps(document).encode()
    entry = tarfile.TarInfo(name)
    entry.size = len(content)
    archive.addfile(entry, io.BytesIO(content))
    return len(content)


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}"


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(Path(sys.argv[1]))
