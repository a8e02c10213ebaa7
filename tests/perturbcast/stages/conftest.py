"""Run the command line as a person does, in a scratch folder, and see its exit code and streams."""

from __future__ import annotations

import dataclasses
import sys

import pytest

from perturbcast import cli


@dataclasses.dataclass(frozen=True)
class Done:
    """How a command ended."""

    code: int
    out: str
    err: str


@pytest.fixture
def call(monkeypatch, tmp_path, capsys):
    """``call("import", "kang2018")`` runs ``perturbcast import kang2018`` in ``tmp_path``."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")

    def run(*words):
        monkeypatch.setattr(sys, "argv", ["perturbcast", *map(str, words)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            cli.main()
        out, err = capsys.readouterr()
        return Done(code=int(ended.value.code or 0), out=out, err=err)

    return run
