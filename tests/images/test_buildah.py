"""The OCI images, built by Buildah from the same base: who runs in them, what they say they are, that they work."""

from __future__ import annotations

import json
import os
import shutil
import subprocess

import pytest
from tests.images.conftest import IMAGES, run

pytestmark = pytest.mark.slow

STORE = {"STORAGE_DRIVER": "vfs", "BUILDAH_ISOLATION": "chroot"}  # no overlay and no runtime is needed


@pytest.fixture(scope="module", params=IMAGES)
def built(request, root, builds, tmp_path_factory):
    """Name of an image and an environment in which Buildah finds it."""
    if shutil.which("buildah") is None:
        pytest.skip("buildah is absent")
    if os.geteuid() != 0 and subprocess.run(["unshare", "--user", "true"], check=False).returncode:
        pytest.skip("this machine gives no user namespaces")
    folder = tmp_path_factory.mktemp("store")
    conf = folder / "storage.conf"
    conf.write_text(f'[storage]\ndriver = "vfs"\ngraphroot = "{folder}/graph"\nrunroot = "{folder}/run"\n')
    env = STORE | {"CONTAINERS_STORAGE_CONF": str(conf)}
    run(root / "containers/build.sh", request.param, env=builds | env | {"BUILDERS": "buildah"}, timeout=5400)
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
