"""Genes are matched by name, all of them or none."""

from __future__ import annotations

import pytest

from perturbcast.stores.gene_order import columns_by_name


def test_columns_are_found_by_name_among_others_in_any_order():
    assert columns_by_name(["A", "B", "C"], ["C", "x", "A", "y", "B"]).tolist() == [2, 4, 0]


def test_missing_genes_are_counted_and_named():
    with pytest.raises(ValueError, match=r"every gene of the model; 2 of 3 are missing, first A, C\. Add them"):
        columns_by_name(["A", "B", "C"], ["B", "a"])


def test_a_name_that_stands_for_two_columns_is_refused():
    with pytest.raises(ValueError, match=r"stands for one column; given more than once: B\. Keep one"):
        columns_by_name(["A"], ["B", "A", "B"])
