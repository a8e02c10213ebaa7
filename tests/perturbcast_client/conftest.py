"""Real environments beside this one."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from pathlib import Path

import pytest


@dataclasses.dataclass(frozen=True)
class Environment:
    """A virtual environment and the folder that its commands run in."""

    python: Path
    folder: Path

    def run(self, *arguments):
        done = subprocess.run(
            [self.python, *arguments], capture_output=True, text=True, check=False, timeout=300, cwd=self.folder
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def install(self, *requirements):
        return self.run("-m", "pip", "install", "--quiet", "--no-compile", "--disable-pip-version-check", *requirements)


@pytest.fixture
def make_environment(tmp_path):
    def make(python=sys.executable):
        subprocess.run([python, "-m", "venv", tmp_path / "venv"], check=True, capture_output=True, timeout=120)
        return Environment(tmp_path / "venv" / "bin" / "python", tmp_path)

    return make
