"""The measured datasets keep the biology that their studies published, wherever the file is found."""

from __future__ import annotations

import shutil

import numpy as np
import pytest

from perturbcast import catalog
from perturbcast.datasets.source import Source, find, locate
from perturbcast.schema import Condition
from perturbcast.stores import effects
from perturbcast.stores.contract import ColumnMapping

MEASURED = [name for name in catalog.names("datasets") if name != "simulated"]


@pytest.fixture(scope="module")
def build(shared, tmp_path_factory):
    """Import a dataset once, from a working directory whose ../shared/data is the mirror."""
    made = {}

    def load(name):
        if name not in made:
            with pytest.MonkeyPatch.context() as patch:
                patch.setenv("PERTURBCAST_DATA", str(shared / "data"))
                module = catalog.load("datasets", name)
                made[name] = module.build(module.Config())
        return made[name]

    return load


def delta(data, perturbation, context, gene):
    measured = effects(data, cells=list(data.obs.index), conditions=[Condition(perturbation, context)])
    return measured.delta[0, data.genes.index(gene)]


@pytest.mark.parametrize("name", MEASURED)
def test_names_its_source_and_is_on_the_contract(build, name):
    module = catalog.load("datasets", name)
    source = module.SOURCE
    assert source.dataset == name
    assert source.accession.startswith("GSE")
    assert len(source.sha256) == 64
    assert source.licence
    assert source.public_file
    data, counts = build(name)
    assert (counts is None) == (source.mapping.kind == "log1p")
    assert data.meta["accession"] == source.accession
    assert not data.uncontrolled
    sizes = data.obs[~data.obs["is_control"]].groupby(["perturbation", "context"], observed=True).size()
    assert (sizes >= 20).all()
    assert len(sizes) or name == "kang2018_unperturbed"


def test_kang_interferon_raises_isg15_in_every_cell_type(build):
    data, _ = build("kang2018")
    assert data.meta["dropped_conditions"] == ["IFNB in Dendritic cells (19 cells)", "IFNB in Megakaryocytes (2 cells)"]
    for condition in data.conditions:
        assert delta(data, "IFNB", condition.context, "ISG15") > 1.5
    assert data.obs.groupby("is_control")["time"].unique().map(list).to_dict() == {True: [0.0], False: [6.0]}
    assert data.meta["units"] == {"time": "h"}


def test_kang_unperturbed_shares_no_cell_with_kang(build):
    """An encoder that is pretrained on the one may not have seen what a split of the other holds out."""
    data, counts = build("kang2018_unperturbed")
    assert (len(data.obs), len(data.genes)) == (12_261 - 1_301, 1_287)
    assert data.meta["left_out"] == "1301 cells that dataset kang2018 holds too (also_in_kang2018_pbmc_ifnb)"
    assert not set(data.obs.index) & set(build("kang2018")[0].obs.index)
    assert data.obs["is_control"].all()
    assert data.conditions == ()
    assert len(data.contexts) == data.obs["donor"].nunique() == 8
    assert counts.sum(axis=1).min() > 0


def test_an_encoder_of_the_whole_unperturbed_half_is_refused_for_kang(build, shared, make_encoder):
    from perturbcast import splits
    from perturbcast.datasets import kang2018_unperturbed
    from perturbcast.encoders.encoder import studies
    from perturbcast.stores.h5ad import read_anndata

    (kang, _), (half, _) = build("kang2018"), build("kang2018_unperturbed")
    whole = read_anndata(shared / "data" / kang2018_unperturbed.SOURCE.file_name)
    assert "GSE96583" in studies(half.meta)
    leaks, clean = (make_encoder(barcodes=c.obs.index, studies=studies(half.meta)) for c in (whole, half))
    for fold in splits.make(kang, "unseen_context", seed=0):
        clean.check_has_not_seen(fold, kang.meta)
        with pytest.raises(ValueError, match=r"pretrained on \d+ of the \d+ cells in part 'control_input'"):
            leaks.check_has_not_seen(fold, kang.meta)


def test_norman_klf1_activation_raises_globins_and_labels_are_sorted(build):
    data, _ = build("norman2019_mcfaline2023")
    assert delta(data, "KLF1", "K562", "HBZ") == pytest.approx(3.3 - 1.7, abs=0.15)
    labels = {c.perturbation for c in data.conditions}
    assert {"KLF1+SET", "PTPN12+ZBTB10"} <= labels
    assert "SET+KLF1" not in labels
    assert (len(data.conditions), len([c for c in data.conditions if c.is_combination])) == (60, 15)
    assert data.meta["perturbation_type"]["K562"] == "CRISPRa"


def test_papalexi_stat1_knock_out_lowers_stat1_and_replicate_is_the_batch(build):
    data, counts = build("papalexi2021")
    gene = data.genes.index("STAT1")
    label = data.obs["perturbation"].astype(str).to_numpy()
    assert counts[label == "STAT1", gene].mean() == pytest.approx(2.8, abs=0.1)
    assert counts[label == "control", gene].mean() == pytest.approx(12.8, abs=0.1)
    measured = effects(data, cells=list(data.obs.index), conditions=[Condition("STAT1", "THP-1")])
    assert measured.matching == ("context+batch",)
    assert delta(data, "STAT1", "THP-1", "STAT1") < -0.5


def test_gasperini_promoter_hit_lowers_its_gene_and_inert_guides_are_controls(build):
    data, counts = build("gasperini2019")
    assert not any("non-targeting" in label for label in data.obs["perturbation"].unique())
    assert int(data.obs["is_control"].sum()) == 12_362 + 2_047
    assert "2047 cells labelled non-targeting alone are controls" in data.meta["preprocessing"]
    assert data.meta["ensembl_id"][data.genes.index("TP53BP2")] == "ENSG00000143514"
    gene = data.genes.index("COX4I1")
    x = np.expm1(data.x[:, gene].toarray().ravel())
    label = data.obs["perturbation"].astype(str).to_numpy()
    assert x[label == "control"].mean() == pytest.approx(14.0, rel=0.15)
    assert x[label == "COX4I1"].mean() == pytest.approx(3.4, rel=0.35)
    assert counts.shape[1] == 366


def make_source(path, **changes):
    import hashlib

    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    mapping = ColumnMapping(perturbation="p", context="c", control=("control",))
    words = {"study": "s", "accession": "GSE1", "licence": "l", "public_file": "Ask the authors.", "mapping": mapping}
    return Source(
        **(words | {"dataset": "d", "file_name": path.name, "sha256": digest, "perturbation_type": "drug"} | changes)
    )


def test_found_in_the_named_folder_then_the_mirror_then_refused(tmp_path, monkeypatch):
    work, named, mirror = tmp_path / "work", tmp_path / "named", tmp_path / "shared" / "data"
    for folder in (work, named, mirror):
        folder.mkdir(parents=True)
    monkeypatch.chdir(work)
    original = tmp_path / "d.h5ad"
    original.write_bytes(b"cells")
    source = make_source(original)
    monkeypatch.setenv("PERTURBCAST_DATA", str(named))
    with pytest.raises(ValueError, match=r"is not in .*named, \.\./shared/data, and no stable .* Ask the authors\."):
        locate(source)
    shutil.copy(original, mirror)
    assert locate(source).resolve() == mirror / "d.h5ad"
    shutil.copy(original, named)
    assert locate(source) == named / "d.h5ad"
    (named / "d.h5ad").write_bytes(b"other cells")
    both = rf"has sha256 {source.sha256}; .*named/d\.h5ad has [0-9a-f]{{64}}\. Replace it with the original"
    with pytest.raises(ValueError, match=both):
        locate(source)


def test_downloaded_with_its_checksum(tmp_path, monkeypatch, serve_folder):
    """A local web server stands in for the public address, which cannot be reached from a test."""
    folder = tmp_path / "public"
    folder.mkdir()
    (folder / "d.h5ad").write_bytes(b"cells")
    address = serve_folder(folder)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PERTURBCAST_DATA", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    good = make_source(folder / "d.h5ad", url=f"{address}/d.h5ad")
    assert find(good) is None, "looking does not download"
    assert locate(good).read_bytes() == b"cells"
    wrong = make_source(folder / "d.h5ad", url=f"{address}/d.h5ad", sha256="0" * 64, file_name="e.h5ad")
    with pytest.raises(ValueError, match="does not match"):
        locate(wrong)
