"""dvc.yaml names the modules that a stage uses: each exists, and none that the stage imports is forgotten."""

from __future__ import annotations

import grimp
import pytest
import yaml

PACKAGE = "perturbcast"
# what can change without changing an output: names of verbs, where files lie, progress bars, error classes
WITHOUT_EFFECT = {"perturbcast", "perturbcast.errors", "perturbcast.stages", "perturbcast.stores.atomic"} | {
    f"perturbcast.stages.{name}" for name in ("layout", "params", "progress")
}


@pytest.fixture(scope="module")
def listed(root):
    """Verb -> paths below the package that the stage 'code' hashes for it."""
    words = yaml.safe_load((root / "dvc.yaml").read_text())["stages"]["code"]["foreach"]
    return {verb: [path.removeprefix("${src}/") for path in text.split()] for verb, text in words.items()}


@pytest.fixture(scope="module")
def graph():
    return grimp.build_graph(PACKAGE, cache_dir=None)


def test_every_listed_module_exists(root, listed):
    source = root / "libs/perturbcast/src/perturbcast"
    assert [path for paths in listed.values() for path in paths if not (source / path).exists()] == []


@pytest.mark.parametrize("verb", ["split", "train", "predict", "evaluate"])
def test_no_module_that_a_stage_imports_is_forgotten(listed, graph, verb):
    used = {f"{PACKAGE}.stages.{verb}"} | graph.find_upstream_modules(f"{PACKAGE}.stages.{verb}")
    forgotten = []
    for module in sorted(used - WITHOUT_EFFECT):
        path = module.removeprefix(f"{PACKAGE}.").replace(".", "/")
        # a package's __init__ only lists names; its modules are looked at one by one
        if graph.find_children(module):
            continue
        if not any(f"{path}.py" == name or path.startswith(f"{name}/") for name in listed[verb]):
            forgotten.append(module)
    assert forgotten == []
