"""The OCI images, built by Buildah from the same base: who runs in them, what they say they are, that they work."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time

import pytest
from tests.images.conftest import IMAGES, keep_figures, run

pytestmark = pytest.mark.slow


def store_in(folder):
    """Environment in which Buildah keeps images in a folder, by overlay mounts where the machine gives them.

    Without them (vfs) every layer is a whole copy of those below it and a container one more, and what a layer added is
    found by comparing two copies file by file.
    """
    conf = folder / "storage.conf"
    env = {"CONTAINERS_STORAGE_CONF": str(conf), "BUILDAH_ISOLATION": "chroot"}  # no runtime is needed
    for driver in ("overlay", "vfs"):
        env["STORAGE_DRIVER"] = driver
        conf.write_text(f'[storage]\ndriver = "{driver}"\ngraphroot = "{folder}/{driver}"\nrunroot = "{folder}/run"\n')
        if subprocess.run(["buildah", "info"], env=os.environ | env, capture_output=True, check=False).returncode == 0:
            break
    return env


@pytest.fixture(scope="module", params=IMAGES)
def built(request, root, builds, tmp_path_factory):
    """Name of an image and an environment in which Buildah finds it."""
    if shutil.which("buildah") is None:
        pytest.skip("buildah is absent")
    if os.geteuid() != 0 and subprocess.run(["unshare", "--user", "true"], check=False).returncode:
        pytest.skip("this machine gives no user namespaces")
    folder = tmp_path_factory.mktemp("store")
    env = store_in(folder)
    started = time.monotonic()
    run(root / "containers/build.sh", request.param, env=builds | env | {"BUILDERS": "buildah"}, timeout=5400)
    words = ["buildah", "inspect", "--type", "image", "--format", "{{.Manifest}}", f"perturbcast-{request.param}:0.1.0"]
    layers = json.loads(run(*words, env=env))["layers"]
    figures = {
        "build_s": round(time.monotonic() - started),
        "megabytes": round(sum(layer["size"] for layer in layers) / 1e6),
        "driver": env["STORAGE_DRIVER"],
    }
    keep_figures(root / "artifacts/images", {f"oci_{request.param}": figures})
    yield request.param, env
    shutil.rmtree(folder)


def test_an_image_says_who_runs_in_it_and_how_it_is(built):
    name, env = built
    said = json.loads(run("buildah", "inspect", "--type", "image", f"perturbcast-{name}:0.1.0", env=env))["Docker"][
        "config"
    ]
    assert said["User"] == "10001"
    assert said["Labels"]["org.opencontainers.image.title"] == f"perturbcast-{name}"
    assert said["Labels"]["org.opencontainers.image.version"] == "0.1.0"
    assert len(said["Labels"]["org.opencontainers.image.revision"].partition("-")[0]) == 40
    test = said["Healthcheck"]["Test"]
    assert test == (["CMD", "python", "/opt/perturbcast/health.py"] if name == "prediction" else ["NONE"])


def test_an_image_passes_its_own_test_as_a_user_without_rights(built):
    name, env = built
    container = run("buildah", "from", f"perturbcast-{name}:0.1.0", env=env).strip()
    try:
        assert run("buildah", "run", container, "--", "id", "-u", env=env).strip() == "10001"
        run("buildah", "run", container, "--", "python", "/opt/perturbcast/check.py", env=env)
        assert run("buildah", "run", container, "--", "sh", "-c", "ls -A /mnt; ls -d /src || true", env=env) == ""
    finally:
        run("buildah", "rm", container, env=env)
