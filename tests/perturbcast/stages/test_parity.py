"""Stage ``parity``: a table, and an exit code that says whether all agree."""

from __future__ import annotations

import shutil
import sys

import pandas as pd
import pytest

from perturbcast import cli


@pytest.fixture
def call(capsys, monkeypatch):
    """The command line: exit code, output, message."""

    def _call(*words):
        monkeypatch.setattr("sys.argv", ["perturbcast", "parity", *map(str, words)])
        with pytest.raises(SystemExit) as left:
            cli.main()
        said = capsys.readouterr()
        return left.value.code or 0, said.out, said.err

    return _call


@pytest.fixture
def pair(shared):
    folder = shared / "parity" / "norman_k562"
    if not folder.is_dir():
        pytest.skip("../shared/parity/norman_k562 (values printed by the references) is not there")
    return folder


def test_the_shared_pair_passes(call, shared, pair):
    code, out, _ = call("--shared", shared)
    assert code == 0
    lines = out.splitlines()
    assert any(line.split()[:2] == ["celleval.overlap_at_N@1", "PASS"] for line in lines)
    assert any(line.split()[:2] == ["systema.*", "ABSENT"] for line in lines)
    assert lines[-1] == "52 PASS, 2 ABSENT, 1 SKIPPED"


@pytest.fixture
def own(pair, tmp_path):
    """A reference's own folder: cell-eval's results alone."""
    shutil.copyfile(pair / "celleval_per_condition.csv", tmp_path / "results.csv")
    files = ["--truth", pair / "real.h5ad", "--prediction", pair / "pred.h5ad", "--context-key", "cell_type"]
    return tmp_path, [*files, "--reference", tmp_path]


def test_a_folder_of_a_reference_is_compared_and_the_others_are_absent(call, own):
    code, out, _ = call(*own[1])
    assert code == 0
    assert "perturbench.*" in out
    assert out.splitlines()[-1].startswith("27 PASS, ")
    assert "6 ABSENT" in out.splitlines()[-1]


def test_any_difference_is_exit_code_1(call, own):
    folder, words = own
    table = pd.read_csv(folder / "results.csv")
    table.loc[0, "pearson_delta"] += 1e-3
    table.to_csv(folder / "results.csv", index=False)
    code, out, _ = call(*words)
    assert code == 1
    assert "1 FAIL" in out.splitlines()[-1]


def test_nothing_to_compare_with_is_not_a_pass(call, own):
    folder, words = own
    (folder / "results.csv").unlink()
    code, out, err = call(*words)
    assert code == 2
    assert "no reference left output" in err
    assert "PASS" not in out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--shared", "nowhere"], r"nowhere/parity/norman_k562/real.h5ad does not exist. Name the folder by --shared"),
        (["--truth", "a.h5ad"], "--prediction is not given"),
        (["--truth", "a.h5ad", "--prediction", "b.h5ad"], "give --reference FOLDER, or --run celleval"),
        (["--run", "celleval", "--reference", "x"], "give --reference or --run, not both"),
        (["--truth", "a", "--prediction", "b", "--run", "gears"], "can be run here: celleval; got 'gears'"),
        (["--truth", "a", "--prediction", "b", "--run", "celleval"], "pip install cell-eval==0.8.2"),
        (
            ["--truth", "a", "--prediction", "b", "--run", "celleval", "--celleval-python", "no-python"],
            "no-python does not exist",
        ),
    ],
    ids=["no shared", "half a pair", "no reference", "both", "unknown run", "no environment", "no python"],
)
def test_what_does_not_fit_is_a_usage_error(call, words, message):
    code, _, err = call(*words)
    assert code == 2
    assert message in err


def test_a_reference_that_fails_says_why(call):
    words = ["--truth", "a", "--prediction", "b", "--run", "celleval", "--celleval-python", sys.executable]
    code, _, err = call(*words)
    assert code == 1
    assert "No module named cell_eval" in err
