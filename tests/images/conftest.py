"""Images that are really built: a base by mmdebstrap, SIF files by Apptainer, OCI images by Buildah.

What a machine lacks skips the tests by name. The base and, where the release does not package it, Apptainer are made
once in the cache folder. PERTURBCAST_IMAGES names a folder of SIF files that were built before, and saves the builds.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

CACHE = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "perturbcast-images"
IMAGES = ("harness", "prediction", "train")


def run(*words, env=None, cwd=None, code=0, timeout=1800):
    done = subprocess.run(
        [str(word) for word in words],
        env={**os.environ, **(env or {})},
        cwd=cwd,
        capture_output=True,
        text=True,
        check=False,
        timeout=timeout,
    )
    assert done.returncode == code, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout


def keep_figures(folder, values):
    """Add what was measured to figures.json of a folder of images."""
    file = folder / "figures.json"
    kept = json.loads(file.read_text()) if file.exists() else {}
    folder.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(kept | values, indent=1))


@pytest.fixture(scope="session")
def apptainer(root):
    """Environment in which ``apptainer`` is on the path."""
    if subprocess.run(["unshare", "--user", "true"], capture_output=True, check=False).returncode:
        pytest.skip("this machine gives no user namespaces")
    if shutil.which("apptainer"):
        return {}
    if os.geteuid() != 0 or shutil.which("mmdebstrap") is None:
        pytest.skip("apptainer is absent; as root, with mmdebstrap, apptainer/bootstrap.sh would make it")
    run(root / "apptainer/bootstrap.sh", CACHE / "apptainer")
    return {"PATH": f"{CACHE / 'apptainer/bin'}:{os.environ['PATH']}"}


@pytest.fixture(scope="session")
def builds(root):
    """Environment of ``containers/build.sh``: a base and torch that are reached without a registry."""
    if shutil.which("mmdebstrap") is None:
        pytest.skip("mmdebstrap is absent; without a registry it makes the base")
    base = CACHE / "base.tar"
    if not base.exists():
        run(sys.executable, root / "containers/make_base.py", base)
    said = run(sys.executable, "-m", "pip", "config", "list").splitlines()
    values = [line.partition("=")[2].strip("'") for line in said if line.partition("=")[0].endswith(".find-links")]
    folders = [folder for value in values for folder in value.split() if list(Path(folder).glob("torch-*+cpu-*.whl"))]
    return {"BASE": f"oci-archive:{base}"} | ({"TORCH": folders[0]} if folders else {})


@pytest.fixture(scope="session")
def sif(root, apptainer, request):
    """Folder of the three SIF files."""
    if "PERTURBCAST_IMAGES" in os.environ:
        return Path(os.environ["PERTURBCAST_IMAGES"]).resolve()
    folder = root / "artifacts/images"
    settings = apptainer | request.getfixturevalue("builds") | {"BUILDERS": "apptainer"}
    for name in IMAGES:
        started = time.monotonic()
        said = run(root / "containers/build.sh", name, env=settings)
        assert f"built artifacts/images/{name}.sif" in said
        built = time.monotonic()
        run("apptainer", "exec", folder / f"{name}.sif", "true", env=settings)
        figures = {
            "build_s": round(built - started),
            "exec_start_s": round(time.monotonic() - built, 2),
            "megabytes": round((folder / f"{name}.sif").stat().st_size / 1e6),
        }
        keep_figures(folder, {name: figures})
    return folder


@pytest.fixture(scope="session")
def inside(apptainer, sif):
    """``inside(image, words)``: what a command in an image prints; options of Apptainer come by ``options``."""

    def call(name, *words, options=(), **rest):
        return run("apptainer", "exec", *options, sif / f"{name}.sif", *words, env=apptainer, **rest)

    return call
