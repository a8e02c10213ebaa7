"""Tensors from the reader: the same stream for any number of reading processes, and exact resume."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from perturbcast.stores import CellFile, h5ad
from perturbcast.stores.cell_reader import CellReader, part_rows
from perturbcast.training.cell_loader import CellLoader


@pytest.fixture(scope="module")
def file(make_data, tmp_path_factory):
    path = tmp_path_factory.mktemp("store") / "made.h5ad"
    h5ad.write(make_data(cells=57, batches=3), path)
    return CellFile.open(path)


def make_loader(cells, *, workers=0, **changes):
    perturbed, controls = part_rows(cells, list(cells.obs.index))
    options = {"rows": perturbed, "controls": controls, "batch": 32, "seed": 3, "window": 96, "block": 8, "pool": 9}
    return CellLoader(CellReader(cells, **(options | changes)), workers=workers)


def assert_same(one, other):
    assert one.keys() == other.keys() == {"x", "control", "rows", "control_rows", "perturbation", "context"}
    for name, tensor in one.items():
        assert torch.equal(tensor, other[name])
        assert tensor.dtype == (torch.float32 if name in ("x", "control") else torch.int64)


@pytest.fixture(scope="module")
def whole(file):
    """Twenty steps, read in this process."""
    return list(make_loader(file, steps=20))


def test_two_ranks_with_two_readers_each_share_the_stream_of_one_process(file, whole):
    """Together they see each row of an epoch once, none twice."""
    shares = [list(make_loader(file, workers=2, steps=20, rank=rank, ranks=2)) for rank in range(2)]
    for step, batch in enumerate(whole):
        for rank in range(2):
            assert_same({name: tensor[rank::2] for name, tensor in batch.items()}, shares[rank][step])
    seen = [torch.cat([batch["rows"] for batch in share[:16]]) for share in shares]  # 512 of the 513 rows
    assert len(set(torch.cat(seen).tolist())) == 512


@pytest.mark.parametrize("workers", [0, 1])
def test_a_position_saved_while_readers_are_ahead_resumes_the_same_stream(file, whole, workers):
    loader = make_loader(file, steps=20, workers=workers)
    taken = iter(loader)
    for expected in whole[:7]:
        assert_same(next(taken), expected)
    state = loader.state_dict()
    del taken
    resumed = make_loader(file, steps=20)
    resumed.load_state_dict(state)
    rest = list(resumed)
    assert len(rest) == 13
    for one, other in zip(rest, whole[7:], strict=True):
        assert_same(one, other)


def test_what_other_processes_read_is_not_read_again_here(file):
    cells = CellFile.open(file.path, check=False)
    loader = make_loader(cells, workers=1, steps=7, controls=None)
    assert [len(batch["rows"]) for batch in loader] == [32] * 7
    assert cells.matrix._open is None


def test_cells_in_memory_are_not_copied_to_other_processes(make_data):
    with pytest.raises(ValueError, match="'made' is held in memory, and each of 2 would hold it again"):
        make_loader(make_data(), workers=2)
    with pytest.raises(ValueError, match="counted from 0; workers is -1"):
        make_loader(make_data(), workers=-1)


def test_a_batch_does_not_change_when_the_next_is_read(file):
    taken = iter(make_loader(file, steps=20))
    first = next(taken)
    kept = first["x"].clone()
    for _ in taken:
        pass
    np.testing.assert_array_equal(first["x"], kept)
