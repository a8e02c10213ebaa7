"""A model directory is whole or refused, and gives back the same model."""

from __future__ import annotations

import errno
import json
from pathlib import Path

import numpy as np
import pytest

from perturbcast import catalog, splits
from perturbcast.errors import UsageError
from perturbcast.schema import Condition
from perturbcast.training import fit, load_model, save_model

MODELS = [name for name in catalog.names("models") if name != "truth"]


@pytest.fixture
def make_model(make_data):
    def make(name="linear"):
        data = make_data(contexts=("a", "b", "c"))
        split = splits.make(data, "unseen_context", seed=1)[0]
        config = catalog.load("models", name).Config()
        return fit(data, split, kind=name, plugin=name, config=config, seed=0)

    return make


@pytest.mark.parametrize("name", MODELS)
def test_round_trip_predicts_the_same_to_the_last_bit(make_model, tmp_path, name):
    made = make_model(name)
    context = next(iter(made.control_means))
    asked = [Condition("G0", context), Condition("G0+G5", context)]
    save_model(made, tmp_path / "m")
    one, again = made.predict(asked), load_model(tmp_path / "m").predict(asked)
    np.testing.assert_array_equal(one.delta, again.delta)
    np.testing.assert_array_equal(one.intervals[0.9], again.intervals[0.9])
    assert again.model == load_model(tmp_path / "m").fingerprint != ""


def test_equal_models_give_equal_bytes_and_no_pickles(make_model, tmp_path):
    for name in ("one", "two"):
        save_model(make_model(), tmp_path / name)
    files = sorted(p.name for p in (tmp_path / "one").iterdir())
    names = ["calibration.json", "calibration.npz", "config.json", "controls.npz", "fingerprint.json"]
    assert files == [*names, "model.safetensors"]
    for file in files:
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes()
    assert not list(tmp_path.glob("*.partial")), "nothing is left beside"


def test_the_record_of_calibration_says_where_the_intervals_come_from(make_model, tmp_path):
    made = make_model()
    save_model(made, tmp_path / "m")
    record = json.loads((tmp_path / "m" / "calibration.json").read_text())
    calibration = load_model(tmp_path / "m").calibration
    assert calibration == made.calibration
    assert record["conditions"] == [[c.perturbation, c.context] for c in made.calibration.conditions]
    assert record["n_conditions"] == len(record["conditions"])
    assert record["n_pairs"] == 6 * record["n_conditions"]
    assert record["origin"] == f"part 'calibration' of split {made.split_hash}"
    assert len(record["cells_sha256"]) == 64
    (group,) = record["groups"]  # too few pairs for more than one
    assert (group["control_expression_above"], group["n_pairs"]) == (None, record["n_pairs"])
    assert group["factors"]["0.5"] == calibration.factors[0.5][0]
    assert group["factors"]["0.95"] is None, "six pairs give no 95 % interval: null, and infinite half widths"
    assert np.isinf(made.predict([Condition("G0", next(iter(made.control_means)))]).intervals[0.95]).all()
    m = record["n_conditions"]
    assert record["coverage_at_least"]["0.5"] == pytest.approx(0.5 * m / (m + 1))


def test_a_directory_of_the_older_format_is_refused(make_model, tmp_path, monkeypatch):
    monkeypatch.setattr("perturbcast.training.model_directory.FORMAT", "perturbcast.model/1")
    save_model(make_model(), tmp_path / "m")
    monkeypatch.undo()
    with pytest.raises(ValueError, match=r"reads models of format perturbcast\.model/2; .* is 'perturbcast\.model/1'"):
        load_model(tmp_path / "m")


@pytest.mark.parametrize(
    "file", ["config.json", "model.safetensors", "calibration.npz", "calibration.json", "controls.npz"]
)
def test_a_changed_file_is_refused_by_name(make_model, tmp_path, file):
    save_model(make_model(), tmp_path / "m")
    path = tmp_path / "m" / file
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(bytes(content))
    with pytest.raises(ValueError, match=f"not edited; {file} does not have the sha256 of fingerprint.json"):
        load_model(tmp_path / "m")


def test_an_edited_fingerprint_is_refused(make_model, tmp_path):
    save_model(make_model(), tmp_path / "m")
    path = tmp_path / "m" / "fingerprint.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"split": "0" * 64}))
    with pytest.raises(ValueError, match="does not have its own sha256"):
        load_model(tmp_path / "m")


def test_a_half_written_directory_is_refused(make_model, tmp_path):
    save_model(make_model(), tmp_path / "m")
    (tmp_path / "m" / "fingerprint.json").unlink()
    with pytest.raises(ValueError, match=r"lacks fingerprint\.json: it is half-written or not a model"):
        load_model(tmp_path / "m")
    with pytest.raises(UsageError, match="does not exist"):
        load_model(tmp_path / "absent")


def test_whoever_may_read_one_file_may_read_all(make_model, tmp_path):
    save_model(make_model(), tmp_path / "m")
    assert len({path.stat().st_mode for path in (tmp_path / "m").iterdir()}) == 1, "another user serves it"


def test_the_fingerprint_of_a_network_holds_the_version_of_torch(make_model, tmp_path):
    networks = {}
    for name in ("linear", "cgio"):
        save_model(make_model(name), tmp_path / name)
        networks[name] = "torch" in json.loads((tmp_path / name / "fingerprint.json").read_text())["versions"]
    assert networks == {"linear": False, "cgio": True}


def test_a_full_disk_says_what_had_no_room_and_leaves_the_model_before(make_model, tmp_path, monkeypatch):
    before = save_model(make_model(), tmp_path / "m")

    def full(path, content):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OSError, match=r"no room for .*m \(No space left on device\), and what stood there before"):
        save_model(make_model("control"), tmp_path / "m")
    assert [path.name for path in tmp_path.iterdir()] == ["m"]
    assert load_model(tmp_path / "m").fingerprint == before.fingerprint


def test_genes_in_another_order_are_refused_unless_they_are_mapped_by_name(make_model, tmp_path):
    """The answer of each gene is the same to the last bit, wherever its column stands."""
    own = save_model(make_model(), tmp_path / "m")
    assert load_model(tmp_path / "m", genes=own.genes).genes == own.genes
    turned = own.genes[::-1]
    with pytest.raises(ValueError, match=r"order of the model; column 0 is 'G5', the model's is 'G0'\. .*by_name=True"):
        load_model(tmp_path / "m", genes=turned)
    with pytest.raises(ValueError, match=r"there are 7 columns, the model has 6"):
        load_model(tmp_path / "m", genes=(*own.genes, "x"))
    context = next(iter(own.control_means))
    asked = [Condition("G0", "new"), Condition("G3", context)]
    mean = np.arange(6.0) / 3
    expected = own.predict(asked, control_means={"new": mean})
    for given in (own.genes, turned, ("G4", "x", "G0", "G5", "G1", "y", "G3", "G2")):
        model = load_model(tmp_path / "m", genes=given, by_name=True)
        columns = {gene: float(value) for gene, value in zip(own.genes, mean, strict=True)}
        found = model.predict(asked, control_means={"new": np.array([columns.get(gene, 99.0) for gene in given])})
        assert found.genes == model.genes == tuple(gene for gene in given if gene in own.genes)
        back = [found.genes.index(gene) for gene in own.genes]
        for name in ("delta", "variance", "control", "mean"):
            np.testing.assert_array_equal(getattr(found, name)[:, back], getattr(expected, name))
        np.testing.assert_array_equal(found.intervals[0.5][:, back], expected.intervals[0.5])
        np.testing.assert_array_equal(found.ood_score, expected.ood_score)
    with pytest.raises(ValueError, match=r"loaded with \(8\); that of 'new' has shape \(6,\)"):
        model.predict(asked, control_means={"new": mean})


def test_mapping_by_name_names_the_genes_that_are_missing(make_model, tmp_path):
    save_model(make_model(), tmp_path / "m")
    with pytest.raises(ValueError, match=r"every gene of the model; 2 of 6 are missing, first G1, G4\. Add them"):
        load_model(tmp_path / "m", genes=["G0", "G2", "G3", "G5", "g1"], by_name=True)
    with pytest.raises(ValueError, match="by_name without genes"):
        load_model(tmp_path / "m", by_name=True)
