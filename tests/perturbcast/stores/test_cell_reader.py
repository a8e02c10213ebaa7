"""The minibatch reader: every row once an epoch, the same batches from disk and memory, controls that belong."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from perturbcast.schema import CONTROL, Condition
from perturbcast.stores import CellFile, effects, h5ad
from perturbcast.stores.block_order import BlockOrder
from perturbcast.stores.cell_reader import CellReader, part_rows
from perturbcast.stores.matched_controls import ControlGroups


@pytest.fixture(scope="module")
def data(make_data):
    return make_data(cells=57, batches=3)


@pytest.fixture(scope="module")
def file(data, tmp_path_factory):
    path = tmp_path_factory.mktemp("store") / "made.h5ad"
    h5ad.write(data, path)
    return CellFile.open(path)


def make_reader(cells, *, barcodes=None, matched=True, **changes):
    perturbed, controls = part_rows(cells, list(cells.obs.index) if barcodes is None else barcodes)
    options = {"rows": perturbed, "batch": 32, "seed": 3, "window": 96, "block": 8, "pool": 9}
    options |= {"controls": controls} if matched else {}
    return CellReader(cells, **(options | changes))


def visited(reader):
    return np.concatenate([batch.rows for batch in reader])


def assert_same(one, other):
    for field in dataclasses.fields(one):
        first, second = getattr(one, field.name), getattr(other, field.name)
        assert (first is None) == (second is None)
        if first is not None:
            np.testing.assert_array_equal(first, second)
            assert first.dtype == second.dtype


@pytest.mark.parametrize(
    ("batch", "block", "window"),
    [(32, 8, 96), (32, 8, 10_000), (7, 5, 20), (2, 1, 3), (512, 1000, 4096), (513, 64, 8192), (10_000, 64, 8192)],
)
def test_every_row_comes_once_an_epoch_and_each_epoch_has_an_order_of_its_own(data, batch, block, window):
    perturbed, _ = part_rows(data, list(data.obs.index))
    n = len(perturbed)
    assert n == 513  # no multiple of any batch but one
    reader = make_reader(data, matched=False, batch=batch, block=block, window=window, steps=-(-4 * n // min(batch, n)))
    stream = visited(reader)[: 4 * n].reshape(4, n)
    for epoch in stream:
        np.testing.assert_array_equal(np.sort(epoch), perturbed)
    orders = {epoch.tobytes() for epoch in stream}
    assert len(orders) == 4


def test_one_epoch_is_the_default_and_its_last_batch_is_filled_up(data):
    reader = make_reader(data)
    assert len(reader) == 17
    assert [len(batch.rows) for batch in reader] == [32] * 17
    assert list(reader) == []


def test_seed_decides_the_stream(data):
    one, same, other = (list(make_reader(data, seed=seed)) for seed in (3, 3, 4))
    for first, second in zip(one, same, strict=True):
        assert_same(first, second)
    assert not np.array_equal(one[0].rows, other[0].rows)
    assert not np.array_equal(one[0].control_rows, other[0].control_rows)


def test_neighbours_on_disk_are_read_together_and_mixed_over_a_window():
    order = BlockOrder(rows=10_000, batch=40, seed=0, block=50, window=1000)
    window = order.of_window(0)
    blocks = np.unique(window // 50)
    assert len(blocks) == 20  # whole blocks: 1000 rows are read in 20 runs
    assert np.diff(blocks).max() > 1  # from all over the file
    for batch in window.reshape(-1, 40):
        assert len(np.unique(batch // 50)) >= 10  # 40 neighbours would be of one block


def test_disk_and_memory_give_the_same_batches(data, file):
    options = {"steps": 40, "genes": ("G4", "G0")}
    for first, second in zip(make_reader(data, **options), make_reader(file, **options), strict=True):
        assert_same(first, second)


@pytest.mark.parametrize("source", ["data", "file"])
def test_a_batch_holds_the_cells_that_it_names(source, data, request):
    reader = make_reader(request.getfixturevalue(source), steps=30, genes=("G4", "G0"))
    expected = data.x.toarray()[:, [4, 0]]
    for batch in reader:
        np.testing.assert_array_equal(batch.x, expected[batch.rows])
        np.testing.assert_array_equal(batch.control, expected[batch.control_rows])
        labels = data.obs.iloc[batch.rows]
        assert [reader.perturbations[code] for code in batch.perturbation] == list(labels["perturbation"])
        assert [reader.contexts[code] for code in batch.context] == list(labels["context"])
        assert batch.x.dtype == batch.control.dtype == np.float32


def test_controls_are_of_the_same_context_and_batch_and_change_with_the_epoch(data):
    reader = make_reader(data, steps=33)
    epochs = [set(), set()]
    for step, batch in enumerate(reader):
        cells, controls = data.obs.iloc[batch.rows], data.obs.iloc[batch.control_rows]
        assert controls["is_control"].all()
        for column in ("context", "batch"):
            assert list(cells[column]) == list(controls[column])
        epochs[reader.order.epoch(step // 3)] |= set(batch.control_rows.tolist())  # by window
    assert all(len(rows) <= 9 * 9 for rows in epochs)  # pool x groups
    assert len(epochs[0] | epochs[1]) > 9 * 9


def test_controls_are_matched_as_effects_match_them(make_data):
    """One batch of one condition lacks controls: that condition is matched by context, the others by batch too."""
    data = make_data(cells=40, batches=2)
    obs = data.obs.copy()
    lone = (obs["perturbation"] == "G1") & (obs["context"] == "a") & (obs["batch"] == "batch1")
    obs.loc[lone, "batch"] = "only perturbed"
    data = dataclasses.replace(data, obs=obs)
    perturbed, controls = part_rows(data, list(obs.index))
    groups = ControlGroups.of(obs, perturbed=perturbed, controls=controls)
    measured = effects(data, cells=list(obs.index), conditions=data.conditions)
    means = np.array([data.x[rows].toarray().mean(axis=0, dtype=np.float64) for rows in groups.members])
    cells = obs.iloc[perturbed]
    for i, condition in enumerate(measured.conditions):
        mine = (cells["perturbation"] == condition.perturbation) & (cells["context"] == condition.context)
        of_condition = groups.of_cell[mine.to_numpy()]
        np.testing.assert_allclose(means[of_condition].mean(axis=0), measured.control[i], rtol=1e-9)
        by_batch = measured.matching[i] == "context+batch"
        assert by_batch == (condition != Condition("G1", "a"))
        assert all((groups.names[group][1] is not None) == by_batch for group in of_condition)


@pytest.mark.parametrize("ranks", [2, 4])
def test_processes_share_each_batch_and_read_their_own_blocks(file, ranks):
    whole = list(make_reader(file, steps=40))
    shares = [list(make_reader(file, steps=40, rank=rank, ranks=ranks)) for rank in range(ranks)]
    for step, batch in enumerate(whole):
        for rank in range(ranks):
            np.testing.assert_array_equal(shares[rank][step].rows, batch.rows[rank::ranks])
            np.testing.assert_array_equal(shares[rank][step].x, batch.x[rank::ranks])
            np.testing.assert_array_equal(shares[rank][step].control_rows, batch.control_rows[rank::ranks])
    order = BlockOrder(rows=10_000, batch=40, seed=0, block=25, window=1000)
    window = order.of_window(0).reshape(-1, 40)
    blocks = [set((window[:, rank::ranks] // 25).ravel().tolist()) for rank in range(ranks)]
    assert sum(map(len, blocks)) == 40  # no block is read twice


@pytest.mark.parametrize("at", [1, 8, 17, 23])
def test_a_saved_position_goes_on_with_the_same_stream(file, at):
    whole = list(make_reader(file, steps=30))
    first = make_reader(file, steps=30)
    for _, _batch in zip(range(at), first, strict=False):
        pass
    resumed = make_reader(file, steps=30)
    resumed.load_state_dict(first.state_dict())
    rest = list(resumed)
    assert len(rest) == 30 - at
    for one, other in zip(whole[at:], rest, strict=True):
        assert_same(one, other)


@pytest.mark.parametrize("change", [{"seed": 4}, {"batch": 16}, {"window": 64}, {"matched": False}])
def test_a_position_of_another_stream_is_refused(data, change):
    with pytest.raises(ValueError, match="position is of the stream that it was saved in"):
        make_reader(data, **change).load_state_dict(make_reader(data).state_dict())


def test_cells_of_other_parts_are_never_read(data, tmp_path):
    """Values of the cells outside the part are changed beyond recognition, and every batch stays as it was."""
    part = [barcode for i, barcode in enumerate(data.obs.index) if i % 3]
    outside = ~data.obs.index.isin(part)
    x = data.x.tolil(copy=True)
    x[np.flatnonzero(outside)] = 99.0
    changed = dataclasses.replace(data, x=x.tocsr().astype(np.float32))
    h5ad.write(changed, tmp_path / "changed.h5ad")
    other = CellFile.open(tmp_path / "changed.h5ad", check=False)
    for one, two in zip(make_reader(data, barcodes=part), make_reader(other, barcodes=part), strict=True):
        assert_same(one, two)
        assert two.x.max() < 99
        assert two.control.max() < 99


def test_bad_requests_are_refused(data):
    perturbed, controls = part_rows(data, list(data.obs.index))
    ask = {"batch": 8, "seed": 0}
    with pytest.raises(
        ValueError, match=r"visits rows 0 to 683 of 'made', each once; the rows given are 2 from 5 to 684"
    ):
        CellReader(data, rows=np.array([5, 684]), **ask)
    with pytest.raises(ValueError, match="the rows given are none"):
        CellReader(data, rows=np.array([], dtype=int), **ask)
    with pytest.raises(ValueError, match="the controls given are 2 from 3 to 3"):
        CellReader(data, rows=perturbed, controls=np.array([3, 3]), **ask)
    with pytest.raises(ValueError, match=f"cell '{data.obs.index[controls[0]]}' was given as perturbed and is not"):
        CellReader(data, rows=controls, controls=controls, **ask)
    kept = controls[data.obs["context"].to_numpy()[controls] != "b"]
    with pytest.raises(ValueError, match="context 'b' holds none"):
        CellReader(data, rows=perturbed, controls=kept, **ask)
    with pytest.raises(ValueError, match="lacks 1 of the 2 given, first 'TP53'"):
        CellReader(data, rows=perturbed, genes=("G0", "TP53"), **ask)
    with pytest.raises(ValueError, match="9 cells cannot be shared by 2 processes"):
        CellReader(data, rows=perturbed, batch=9, seed=0, ranks=2)
    with pytest.raises(ValueError, match="at least one cell; batch, pool, block and window are 0, 512"):
        CellReader(data, rows=perturbed, batch=0, seed=0)
    with pytest.raises(ValueError, match=r"Every barcode of a part is a cell of the dataset; 1 are not, first 'other'"):
        part_rows(data, ["other"])


def test_controls_alone_can_be_visited(data):
    _, controls = part_rows(data, list(data.obs.index))
    reader = CellReader(data, rows=controls, batch=57, seed=0)
    rows = visited(reader)
    np.testing.assert_array_equal(np.sort(rows), controls)
    assert reader.perturbations == (CONTROL,)
