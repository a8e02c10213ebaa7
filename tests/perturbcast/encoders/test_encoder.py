"""An encoder knows its genes by name, reads any library size alike, and says which cells it has seen."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from perturbcast import encoders, splits
from perturbcast.errors import UsageError
from perturbcast.nn.panel import Panel

CELLS = np.log1p(np.array([[30.0, 0.0, 10.0, 60.0], [5.0, 5.0, 0.0, 0.0]]))


def test_a_cell_counted_over_a_panel_and_over_all_genes_has_one_vector(make_encoder):
    encoder = make_encoder()
    counts = np.array([[3.0, 0.0, 1.0, 6.0]])
    one = encoder.encode(np.log1p(counts * 10_000 / counts.sum()))
    other = encoder.encode(np.log1p(counts * 10_000 / 5_000))
    np.testing.assert_allclose(one, other, rtol=1e-5)
    assert np.abs(one - encoder.encode(np.log1p(counts[:, ::-1] * 1000))).max() > 1e-2


def test_genes_are_found_by_name_and_one_that_is_missing_counts_as_its_mean(make_encoder):
    encoder = make_encoder()
    columns, coverage = encoder.columns(("X", "D", "C", "A"), at_least=0.5)
    assert columns.tolist() == [3, -1, 2, 1]
    assert str(coverage) == "3 of 4 genes (75.0%)"
    centre, scale = (torch.from_numpy(array) for array in (encoder.centre, encoder.scale))
    shuffled = torch.tensor([[1.0, *np.log1p([60.0, 10.0, 30.0])]], dtype=torch.float32)
    values = Panel(torch.from_numpy(columns), centre=centre, scale=scale)(shuffled)[0]
    expected = (np.log1p(np.array([30, 10, 60]) * 100.0) - 7.0) / encoder.scale[[0, 2, 3]]
    np.testing.assert_allclose(values[[0, 2, 3]], expected, rtol=1e-5)
    assert values[1] == 0


def test_too_few_of_its_genes_are_refused_with_a_report(make_encoder):
    with pytest.raises(
        ValueError, match=r"the data has 1 of 4 genes \(25\.0%\), at least 90% .* missing first B, C, D"
    ):
        make_encoder().columns(("A", "X"), at_least=0.9)
    with pytest.raises(ValueError, match=r"the data has 0 of 4 genes"):
        make_encoder().columns(("X", "Y"), at_least=0.0)


@pytest.mark.parametrize("cells", [CELLS[:, :3], -CELLS, CELLS * np.nan, CELLS[0]], ids=["genes", "sign", "nan", "row"])
def test_what_is_no_expression_of_its_genes_is_refused(make_encoder, cells):
    with pytest.raises(ValueError, match="An encoder reads log1p of counts, finite and not negative"):
        make_encoder().encode(cells)


def test_weights_load_strictly(make_encoder):
    encoder = make_encoder()
    changed = dataclasses.replace(encoder, weights={n: a for n, a in encoder.weights.items() if n != "4.bias"})
    with pytest.raises(RuntimeError, match=r"Missing key\(s\) in state_dict: \"4\.bias\""):
        changed.encode(CELLS)


def test_an_edited_and_a_half_written_directory_are_refused(make_encoder, tmp_path):
    folder = tmp_path / "encoder"
    with pytest.raises(UsageError, match=r"encoder does not exist\. Make one with 'perturbcast pretrain'"):
        encoders.load(folder)
    encoders.save(make_encoder(), folder, curves={})
    content = bytearray((folder / "model.safetensors").read_bytes())
    content[-1] ^= 1
    (folder / "model.safetensors").write_bytes(bytes(content))
    with pytest.raises(
        ValueError, match=r"An encoder directory is not edited; model\.safetensors .* Pretrain it again"
    ):
        encoders.load(folder)
    (folder / "fingerprint.json").unlink()
    with pytest.raises(ValueError, match=r"lacks fingerprint\.json: it is half-written or not an encoder"):
        encoders.load(folder)


def test_a_cell_that_a_fold_holds_out_may_not_have_been_seen(make_data, make_encoder):
    data = make_data(contexts=("a", "b", "c", "d"))
    fold = splits.make(data, "unseen_context", seed=1)[0]
    train = make_encoder(barcodes=fold.parts["train"])
    train.check_has_not_seen(fold, data.meta)
    for part in ("validation", "test", "control_input"):
        leak = make_encoder(barcodes=[*fold.parts["train"], *fold.parts[part][:2]])
        with pytest.raises(ValueError, match=rf"was pretrained on 2 of the \d+ cells in part '{part}' of fold 0"):
            leak.check_has_not_seen(fold, data.meta)
    elsewhere = make_encoder(barcodes=fold.parts["test"], studies=("other", "GSE2"))
    elsewhere.check_has_not_seen(fold, data.meta)  # barcodes repeat between studies
    with pytest.raises(ValueError, match="pretrained on"):
        elsewhere.check_has_not_seen(fold, {**data.meta, "accession": "GSE2"})


def test_a_cell_of_a_merged_dataset_is_known_under_its_own_name(make_data, make_encoder):
    data = make_data(contexts=("a", "b", "c", "d"))
    fold = splits.make(data, "unseen_context", seed=1)[0]
    merged = {"dataset": "made+other", "sources": {"made": {"accession": "GSE1"}, "other": {}}}
    renamed = {part: tuple(f"made:{name}" for name in names) for part, names in fold.parts.items()}
    fold = dataclasses.replace(fold, parts=renamed)
    leak = make_encoder(barcodes=[fold.parts["test"][0].removeprefix("made:")])
    with pytest.raises(ValueError, match=r"pretrained on 1 of the \d+ cells in part 'test'"):
        leak.check_has_not_seen(fold, merged)
