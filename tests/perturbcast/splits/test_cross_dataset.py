"""Another dataset as test, matched by gene names, with its coverage on record."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from perturbcast import splits
from perturbcast.errors import UsageError
from perturbcast.schema import content_hash
from perturbcast.splits.cross_dataset import Config
from perturbcast.stores.merge import merge


def cut(data, genes):
    """The dataset with fewer genes."""
    index = [data.genes.index(gene) for gene in genes]
    x = data.x[:, index]
    meta = {**data.meta, "content_hash": content_hash(x, genes, data.obs)}
    return dataclasses.replace(data, x=x, genes=tuple(genes), meta=meta)


@pytest.fixture
def merged(make_data):
    """Train measures G0 to G7, test G2 to G9 of which it has no G2; G5 is perturbed in test alone."""
    one = make_data(genes=10, dataset="one", perturbations=("G0", "G1", "G2", "G3", "G4"), contexts=("a", "b"))
    two = make_data(genes=10, dataset="two", perturbations=("G0", "G5"), contexts=("a",), seed=1)
    return merge([cut(one, [f"G{i}" for i in range(8)]), cut(two, [f"G{i}" for i in (9, 8, 7, 6, 5, 4, 3)])])


def test_the_other_dataset_is_test_and_is_never_fitted(merged):
    (fold,) = splits.make(merged, "cross_dataset", config=Config(test="two"))
    of = {part: set(merged.obs.loc[list(cells), "dataset"]) for part, cells in fold.parts.items()}
    assert of == {
        "train": {"one"},
        "validation": {"one"},
        "calibration": {"one"},
        "test": {"two"},
        "control_input": {"two"},
    }
    assert [str(c) for c in fold.conditions["test"]] == ["G0 in two:a"]
    assert fold.ood_axes == ("dataset",)
    assert fold.shared_perturbations.dropped == {"test": ("G5",)}


def test_held_out_train_conditions_cost_test_no_shared_perturbation(merged):
    for seed in range(20):
        (fold,) = splits.make(merged, "cross_dataset", config=Config(test="two"), seed=seed)
        assert [str(c) for c in fold.conditions["test"]] == ["G0 in two:a"]
        assert len(fold.conditions["validation"]) == len(fold.conditions["calibration"]) == 2


def test_coverage_counts_genes_and_names_both_sources(merged):
    (fold,) = splits.make(merged, "cross_dataset", config=Config(test="two"))
    sources = {name: source["content_hash"] for name, source in merged.meta["sources"].items()}
    assert fold.to_json()["coverage"] == {
        "shared": 5,
        "train_only": 3,
        "test_only": 2,
        "not_in_all": 0,
        "share_of_train": 5 / 8,
        "share_of_test": 5 / 7,
        "sources": sources,
    }
    assert merged.genes == ("G3", "G4", "G5", "G6", "G7")


def test_too_few_shared_genes_are_refused(merged):
    with pytest.raises(ValueError, match=r"needs 80% .*; 5 genes are shared with 'two', which is 71\.4% \(3 only in"):
        splits.make(merged, "cross_dataset", config=Config(test="two", min_shared_genes=0.8))


def test_unshared_perturbations_can_be_kept_or_refused(merged):
    (fold,) = splits.make(merged, "cross_dataset", config=Config(test="two", require_shared_perturbations=False))
    assert fold.ood_axes == ("dataset", "perturbation")
    with pytest.raises(ValueError, match=r"not in train: test \(two\): G5"):
        splits.make(merged, "cross_dataset", config=Config(test="two", require_shared_perturbations="fail"))


def test_each_dataset_is_tested_in_turn(make_data):
    names = ("one", "two", "three")
    data = merge([make_data(dataset=name, seed=seed, contexts=("a", "b")) for seed, name in enumerate(names)])
    folds = splits.make(data, "cross_dataset")
    assert [fold.held_out for fold in folds] == sorted(names)
    for fold in folds:
        assert {c.context.partition(":")[0] for c in fold.conditions["test"]} == {fold.held_out}
        assert {c.context.partition(":")[0] for c in fold.conditions["train"]} == set(names) - {fold.held_out}
        assert set(fold.coverage["sources"]) == set(names)


def test_a_single_dataset_and_an_unknown_name_are_usage_errors(make_data, merged):
    with pytest.raises(UsageError, match=r"'made' is not one\. Make it with 'perturbcast merge"):
        splits.make(make_data(), "cross_dataset")
    with pytest.raises(UsageError, match=r"three unknown\. Known: one, two"):
        splits.make(merged, "cross_dataset", config=Config(test="three"))


def test_merging_keeps_values_and_matches_genes_by_name(make_data):
    one = make_data(dataset="one", batches=2)
    two = cut(make_data(dataset="two", seed=1), ["G3", "G1"])
    both = merge([one, two], name="both")
    assert both.genes == ("G1", "G3")
    np.testing.assert_array_equal(both.x[: len(one.obs)].toarray(), one.x[:, [1, 3]].toarray())
    np.testing.assert_array_equal(both.x[len(one.obs) :].toarray(), two.x[:, [1, 0]].toarray())
    assert both.contexts == ("one:a", "one:b", "one:c", "two:a", "two:b", "two:c")
    assert set(both.obs["batch"]) == {"one:batch0", "one:batch1", "two:"}
    assert both.obs.index[0] == "one:cell00000"


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda d: cut(d, ["G0"]), "share none"),
        (lambda d: dataclasses.replace(d, meta={**d.meta, "scale": "z"}), "in one scale; .* two: z"),
        (lambda d: dataclasses.replace(d, meta={**d.meta, "unit": "pseudobulk"}), "in one unit; .* two: pseudobulk"),
        (lambda d: dataclasses.replace(d, meta={**d.meta, "dataset": "one"}), "different ids are merged; got one, one"),
    ],
    ids=["no gene", "scale", "unit", "id"],
)
def test_what_cannot_be_merged_is_refused(make_data, spoil, message):
    one = cut(make_data(dataset="one"), ["G1", "G2"])
    with pytest.raises(ValueError, match=message):
        merge([one, spoil(make_data(dataset="two"))])
