"""``perturbcast ablate``: a table of single changes, paired on validation."""

from __future__ import annotations

import pytest

from perturbcast import splits
from perturbcast.stores import h5ad


@pytest.fixture
def prepared(call, make_data, tmp_path):
    data = make_data(contexts=("a", "b", "c", "d"), genes=6)
    h5ad.write(data, tmp_path / "made.h5ad")
    splits.freeze(splits.make(data, "unseen_context", seed=1)[0], tmp_path / "split/fold_0.json")
    return ("ablate", "--data", "made.h5ad", "--split", "split", "--steps", 4, "--width", 4, "--seeds", 1)


def test_the_command_prints_and_writes_the_table(call, prepared, tmp_path):
    done = call(*prepared, "--graphs", "coexpression", "--only", "graph off", "--out", "table.csv")
    assert done.code == 0, done.err
    lines = (tmp_path / "table.csv").read_text().splitlines()
    assert [line.split(",")[0] for line in lines] == ["variant", "whole", "graph off"]
    assert "graph off" in done.out
    assert float(lines[2].split(",")[1]) - float(lines[1].split(",")[1]) == pytest.approx(
        float(lines[2].split(",")[2]), abs=1e-5
    )


def test_a_variant_that_the_model_does_not_have_is_a_usage_error(call, prepared):
    done = call(*prepared, "--only", "graph off")
    assert done.code == 2
    assert "graph off unknown. Those of a graph need --graphs NAME" in done.err
    other = call(*prepared, "--model", "linear", "--ridge", 1)
    assert other.code == 2
