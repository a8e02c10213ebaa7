"""A dataset on disk: its rows, its checks, and the statistics of a pass over it."""

from __future__ import annotations

import json
import subprocess
import sys

import anndata
import h5py
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

from perturbcast.errors import UsageError
from perturbcast.schema import PerturbationData, content_hash
from perturbcast.stores import CellFile, control_means, effects, h5ad
from perturbcast.stores.cell_sample import sample


@pytest.fixture(scope="module")
def data(make_data):
    return make_data(cells=57, batches=3)


@pytest.fixture(scope="module")
def path(data, tmp_path_factory):
    path = tmp_path_factory.mktemp("store") / "made.h5ad"
    h5ad.write(data, path, counts=data.x)
    return path


def test_labels_are_those_of_the_whole_dataset(data, path):
    file, whole = CellFile.open(path), h5ad.read(path)
    assert (file.genes, file.dataset, file.hash) == (data.genes, "made", data.hash)
    assert dict(file.meta) == dict(whole.meta)
    pd.testing.assert_frame_equal(file.obs, whole.obs)


@pytest.mark.parametrize(
    "rows", [[0], [683], [5, 4, 3], [0, 100, 101, 102, 400, 110], [7, 7, 2], list(range(684)), []], ids=str
)
def test_rows_come_in_the_order_asked(data, path, rows):
    found = CellFile.open(path).rows(np.array(rows, dtype=int))
    np.testing.assert_array_equal(found.toarray(), data.x[np.array(rows, dtype=int)].toarray())


def test_a_view_of_a_view_reads_its_own_rows(data, path):
    names = list(data.obs.index)
    view = CellFile.open(path).subset(names[600:100:-3]).subset(names[300:390:6])
    np.testing.assert_array_equal(view.rows(np.arange(15)).toarray(), data.subset(names[300:390:6]).x.toarray())
    with pytest.raises(ValueError, match="1 are not, first 'other'"):
        view.subset(["other"])


def test_what_is_not_a_dataset_is_refused(data, path, tmp_path):
    with pytest.raises(UsageError, match="does not exist"):
        CellFile.open(tmp_path / "no.h5ad")
    (tmp_path / "text.h5ad").write_text("no HDF5")
    with pytest.raises(ValueError, match="cannot be read"):
        CellFile.open(tmp_path / "text.h5ad")
    dense = anndata.AnnData(X=data.x.toarray(), obs=data.obs)
    dense.write_h5ad(tmp_path / "dense.h5ad")
    with pytest.raises(ValueError, match="X is not a CSR matrix"):
        CellFile.open(tmp_path / "dense.h5ad")
    anndata.AnnData(X=data.x, obs=data.obs).write_h5ad(tmp_path / "foreign.h5ad")
    with pytest.raises(ValueError, match="on the data contract"):
        CellFile.open(tmp_path / "foreign.h5ad")


@pytest.mark.parametrize("part", ["X/data", "X/indices", "obs/is_control"])
def test_an_edited_file_is_refused(path, tmp_path, part):
    edited = tmp_path / "edited.h5ad"
    edited.write_bytes(path.read_bytes())
    with h5py.File(edited, "r+") as file:
        file[part][0] = 1 - file[part][0]
    with pytest.raises(ValueError, match="not edited after import"):
        CellFile.open(edited)


def test_effects_and_control_means_are_those_of_memory(data, path):
    file = CellFile.open(path)
    barcodes = [barcode for i, barcode in enumerate(data.obs.index) if i % 4][::-1]
    ours, theirs = (
        effects(d, cells=barcodes, conditions=d_conditions)
        for d, d_conditions in ((file, data.conditions), (data, data.conditions))
    )
    for name in ("delta", "control", "error", "n_cells"):
        np.testing.assert_allclose(getattr(ours, name), getattr(theirs, name), rtol=1e-9, atol=1e-12)
    assert ours.matching == theirs.matching == ("context+batch",) * 9
    means, known = control_means(file, among=barcodes), control_means(data, among=barcodes)
    assert list(means) == list(known)
    for context, mean in means.items():
        np.testing.assert_allclose(mean, known[context], rtol=1e-12)


def test_no_conditions_have_no_effects_and_no_controls_no_means(data, path):
    for cells in (data, CellFile.open(path)):
        assert effects(cells, cells=list(data.obs.index), conditions=()).delta.shape == (0, 6)
        assert control_means(cells, among=list(data.obs.index[~data.obs["is_control"]])) == {}


def test_a_sample_takes_all_where_all_fit_and_equal_shares_where_not(data, path):
    file = CellFile.open(path)
    whole = sample(file, seed=0)
    np.testing.assert_array_equal(whole.x.toarray(), data.x.toarray())
    few = sample(file, seed=0, most=120)
    assert isinstance(few, PerturbationData)
    assert few.obs.loc[few.obs["is_control"], "context"].value_counts().to_dict() == {"a": 20, "b": 20, "c": 20}
    assert set(few.obs[~few.obs["is_control"]].groupby(["perturbation", "context"], observed=True).size()) == {6}
    np.testing.assert_array_equal(few.x.toarray(), data.subset(list(few.obs.index)).x.toarray())
    assert list(sample(file, seed=1, most=120).obs.index) != list(few.obs.index)


MEASURE = """
import json, pathlib, sys
from perturbcast.schema import Condition
from perturbcast.stores import CellFile, effects
from perturbcast.stores.cell_reader import CellReader, part_rows

def read(path):
    cells = CellFile.open(pathlib.Path(path))
    perturbed, controls = part_rows(cells, list(cells.obs.index))
    options = dict(batch=64, seed=0, block=16, window=512, pool=64)
    for batch in CellReader(cells, rows=perturbed, controls=controls, **options):
        pass
    effects(cells, cells=list(cells.obs.index), conditions=[Condition("G0", "a"), Condition("G1", "a")])
    return int(pathlib.Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]) / 1024

read(sys.argv[1])  # compiled code and libraries
print(json.dumps([read(path) for path in sys.argv[1:]]))
"""


@pytest.fixture(scope="module")
def sizes(tmp_path_factory):
    """A small dataset and one of ten times its cells: 2 000 and 20 000 of 200 entries."""
    folder = tmp_path_factory.mktemp("sizes")
    rng = np.random.default_rng(0)
    genes = tuple(f"G{i}" for i in range(1000))
    for cells in (2_000, 20_000):
        start = np.arange(0, 200 * cells + 1, 200)
        indices = (np.arange(200) * 5 + rng.integers(5, size=(cells, 1))).ravel()
        x = sp.csr_matrix((rng.random(200 * cells, dtype=np.float32) + 1, indices, start), shape=(cells, 1000))
        perturbation = np.array(["control", "G0", "G1"])[np.arange(cells) % 3]
        obs = pd.DataFrame(
            {"perturbation": perturbation, "context": "a", "is_control": perturbation == "control"},
            index=[f"c{i}" for i in range(cells)],
        )
        meta = {"dataset": "sized", "scale": "log1p", "unit": "cell", "content_hash": content_hash(x, genes, obs)}
        h5ad.write(PerturbationData(x=x, genes=genes, obs=obs, meta=meta), folder / f"{cells}.h5ad")
    return folder


def test_memory_does_not_grow_with_the_cells(sizes):
    """Checked, read as batches and as effects, 27 MB more of entries cost labels and no more."""
    paths = [str(sizes / f"{cells}.h5ad") for cells in (2_000, 20_000)]
    run = subprocess.run([sys.executable, "-c", MEASURE, *paths], capture_output=True, text=True, check=True)
    small, large = json.loads(run.stdout)
    assert 18_000 * 200 * 8 / 2**20 > 27
    assert large - small < 12, f"{small:.0f} MB, then {large:.0f} MB"


@pytest.mark.parametrize("packing", [{}, {"compression": "lzf"}, {"compression": "gzip", "shuffle": True}], ids=str)
def test_a_file_that_is_packed_otherwise_gives_the_same_rows(data, path, tmp_path, packing):
    other = tmp_path / "other.h5ad"
    other.write_bytes(path.read_bytes())
    with h5py.File(other, "r+") as file:
        for name in ("X/data", "X/indices"):
            values = file[name][()]
            del file[name]
            file.create_dataset(name, data=values, **packing)
    rows = np.arange(684)[::-5]
    np.testing.assert_array_equal(CellFile.open(other).rows(rows).toarray(), data.x[rows].toarray())


def test_a_chunk_that_was_left_unpacked_is_read_as_it_is(data, path, tmp_path):
    """HDF5 leaves a chunk as it is where packing would make it larger, and marks it."""
    other = tmp_path / "other.h5ad"
    other.write_bytes(path.read_bytes())
    with h5py.File(other, "r+") as file:
        stored = file["X/data"]
        chunk = np.zeros(stored.chunks, dtype="<f4")
        chunk[: len(stored)] = stored[: len(chunk)]
        stored.id.write_direct_chunk((0,), chunk.tobytes(), filter_mask=1)
    np.testing.assert_array_equal(CellFile.open(other).rows(np.arange(50)).toarray(), data.x[:50].toarray())


def test_a_damaged_chunk_is_an_error_and_not_other_numbers(path, tmp_path):
    damaged = tmp_path / "damaged.h5ad"
    damaged.write_bytes(path.read_bytes())
    with h5py.File(damaged, "r+") as file:
        packed = file["X/data"]
        packed.id.write_direct_chunk((0,), b"\x78\x01" + b"\x55" * 40)
    with pytest.raises(ValueError, match=r"a part of .*damaged.h5ad cannot be unpacked"):
        CellFile.open(damaged)
