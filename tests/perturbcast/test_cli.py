"""Every verb is there, explains itself, and starts without what it does not need."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import perturbcast
from perturbcast import cli

COMMAND = str(Path(sys.executable).with_name("perturbcast"))


def run(*words, code=0):
    done = subprocess.run([COMMAND, *words], capture_output=True, text=True, check=False)
    assert done.returncode == code, done.stderr
    return done.stdout + done.stderr


def test_the_verbs_of_the_pipeline_are_there():
    said = run("--help")
    data = ["datasets", "import", "import-h5ad", "simulate", "split", "splits", "graph"]
    rest = ["train", "predict", "evaluate", "leaderboard", "report", "register", "serve", "doctor"]
    for verb in data + rest:
        assert re.search(rf"^  {verb}\s", said, re.MULTILINE), verb


@pytest.mark.parametrize("verb", cli.VERBS)
def test_help_explains_each(verb):
    said = run(verb, "--help")
    assert len(said) > 200
    assert "Traceback" not in said


def test_an_unknown_verb_and_option_are_usage_errors():
    assert "No such command 'trian'" in run("trian", code=2)
    assert "No such option" in run("predict", "--modle", "x", code=2)
    assert run("--version").strip() == perturbcast.__version__


@pytest.mark.parametrize("verb", ["train", "predict", "evaluate", "split", "leaderboard"])
def test_a_short_step_does_not_import_the_heavy_libraries(verb):
    module = cli.VERBS[verb]
    heavy = ("mlflow", "matplotlib", "grpc", "torch")
    script = f"import sys, perturbcast.stages.{module}; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, "1 [1]"),
        ({"PERTURBCAST_THREADS": "2"}, "2 [2]"),
        ({"PERTURBCAST_THREADS": "2", "NUMBA_NUM_THREADS": "1"}, "1 [2]"),
        ({"OPENBLAS_NUM_THREADS": "2", "OMP_NUM_THREADS": "2", "MKL_NUM_THREADS": "2"}, "1 [2]"),
    ],
    ids=["one by default", "as many as said", "numba's own variable decides", "BLAS's own variables decide"],
)
@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="a second thread needs a second core")
def test_workers_do_not_fight_for_cores(given, expected):
    """What the libraries say that they use, inside a process that the command line started."""
    script = (
        "import perturbcast.cli, numpy, numba, threadpoolctl; "
        "blas = [pool['num_threads'] for pool in threadpoolctl.threadpool_info() if pool['user_api'] == 'blas']; "
        "print(numba.get_num_threads(), sorted(set(blas)))"
    )
    plain = {name: value for name, value in os.environ.items() if "_THREADS" not in name}
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, env=plain | given)
    assert done.stdout.strip() == expected
