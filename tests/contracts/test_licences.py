"""No GPL code in the tree, none imported, and none installed but by programs that run beside us.

A process of ours may hold permissive code only: the reference harness is GPL-3, and our client lives in the process of
whoever calls us. Scanned are this environment, every other that the Makefile has made here, and what each of our
distributions pulls in, which is what an image of it holds. Programs in processes of their own keep their licences.
An environment that a test makes is scanned by that test.
"""

from __future__ import annotations

import ast
import re
import subprocess
from importlib.metadata import PackageNotFoundError, distribution, distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement

# distribution -> (import name, why it may be installed); each is brought by dvc, which is run and never imported
ALLOWED = {
    "pygit2": ("pygit2", "GPL-2.0 with an exception that allows linking; dvc reads git repositories with it"),
    "grandalf": ("grandalf", "GPL-2.0 or EPL-1.0, taken under EPL-1.0; 'dvc dag' draws with it"),
    "asyncssh": ("asyncssh", "EPL-2.0 or GPL-2.0-or-later, taken under EPL-2.0; dvc reaches ssh remotes with it"),
    "dulwich": ("dulwich", "Apache-2.0 or GPL-2.0-or-later, taken under Apache-2.0; dvc reads git with it"),
}
ROOT = Path(__file__).parents[2]
MADE_APART = (".venv-client", ".venv-dask", ".venv-torchserve", ".venv-wire")
# what a server, a harness, a TorchServe worker and training itself need; a train image adds the extra "pipeline"
INSTALLED = [
    "perturbcast-client",
    "perturbcast-client[anndata]",
    "perturbcast[train]",
    "perturbcast-prediction",
    "perturbcast-torchserve",
]
# what a file of GPL code carries at its head; written in parts, so that this file is not one
MARKS = (
    "GNU GENERAL " + "PUBLIC LICENSE",
    "GNU General " + "Public License as published",
    "SPDX-License-Identifier: " + "GPL",
    "SPDX-License-Identifier: " + "AGPL",
    "License" + "-Expression: GPL",
)


def imported(source):
    """Top-level packages that a module imports, anywhere in it."""
    names = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.add(node.module.split(".")[0])
    return names


def marked(text):
    return [mark for mark in MARKS if mark in text]


def tracked(root):
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=root, capture_output=True, check=True).stdout
    return [root / name for name in listed.decode().split("\0") if name and (root / name).is_file()]


def test_no_file_of_the_tree_is_gpl_code(root):
    found = {str(path): marked(path.read_bytes().decode("utf-8", "replace")) for path in tracked(root)}
    assert {path: marks for path, marks in found.items() if marks} == {}


def test_what_is_installed_is_permissive_or_known(gpl_distributions):
    assert set(gpl_distributions(distributions())) <= set(ALLOWED)


@pytest.mark.parametrize("name", [name for name in MADE_APART if (ROOT / name / ".installed").exists()])
def test_every_other_environment_of_the_makefile_is_permissive(name, gpl_environment):
    assert gpl_environment(ROOT / name) == []


def test_the_makefile_makes_no_environment_that_is_not_scanned(root):
    made = set(re.findall(r"^(\.venv[\w-]*)/\.installed:", (root / "Makefile").read_text(), re.MULTILINE))
    assert made == {".venv", *MADE_APART}


@pytest.mark.parametrize("name", INSTALLED)
def test_what_our_distributions_pull_in_is_permissive_without_exception(name, gpl_distributions):
    found = pulled_in(name)
    assert {"numpy"} <= set(found)
    assert gpl_distributions(found.values()) == []


def test_dvc_is_where_the_exceptions_come_from():
    assert set(pulled_in("perturbcast[pipeline]")) >= {"dvc", *ALLOWED}
    assert not {"dvc", *ALLOWED} & set(pulled_in("perturbcast"))


def pulled_in(requirement):
    """What installing it installs, of the distributions that are here: name -> distribution."""
    found, waiting, seen = {}, [Requirement(requirement)], set()
    while waiting:
        wanted = waiting.pop()
        key = (wanted.name.lower(), frozenset(wanted.extras))
        if key in seen:
            continue
        seen.add(key)
        try:
            here = distribution(wanted.name)
        except PackageNotFoundError:  # of another platform, or an extra that is not installed
            continue
        found[wanted.name.lower().replace("_", "-")] = here
        for line in here.requires or ():
            needed = Requirement(line)
            extras = wanted.extras or {""}
            if needed.marker is None or any(needed.marker.evaluate({"extra": extra}) for extra in extras):
                waiting.append(needed)
    return found


def test_no_code_of_ours_imports_a_gpl_package(root):
    closed = {module for module, _ in ALLOWED.values()}
    files = [path.relative_to(root) for path in tracked(root) if path.suffix == ".py"]
    assert len(files) > 100
    importing = {
        # what is installed leaves dvc alone too; a script of the pipeline may ask it for its stages
        str(path): imported((root / path).read_text())
        & (closed | {"dvc"} if path.parts[0] in ("libs", "services") else closed)
        for path in files
    }
    assert {path: names for path, names in importing.items() if names} == {}


class Planted:
    def __init__(self, **fields):
        self.metadata = self
        self._fields = {"Name": "planted", **{key.replace("_", "-"): value for key, value in fields.items()}}

    def __getitem__(self, key):
        return self._fields[key]

    def get(self, key):
        return self._fields.get(key)

    def get_all(self, key):
        return self._fields.get(key)


@pytest.mark.parametrize(
    ("fields", "found"),
    [
        ({"License_Expression": "GPL-3.0-or-later"}, True),
        ({"License": "GPLv3"}, True),
        ({"License": "GNU Affero General Public License v3"}, True),
        ({"Classifier": ["License :: OSI Approved :: GNU General Public License v3 (GPLv3)"]}, True),
        ({"License_Expression": "Apache-2.0"}, False),
        ({"Classifier": ["License :: OSI Approved :: GNU Lesser General Public License v3 (LGPLv3)"]}, False),
    ],
    ids=["expression", "text", "affero", "classifier", "apache", "lesser"],
)
def test_a_planted_package_is_found(fields, found, gpl_distributions):
    assert (gpl_distributions([Planted(**fields)]) == ["planted"]) == found


def test_planted_code_is_found():
    assert marked(f"# {MARKS[2]}-3.0\n") == [MARKS[2]]
    assert imported("def f():\n    from pygit2.enums import X\n    import grandalf.graphs as g\n") == {
        "pygit2",
        "grandalf",
    }
    assert Path(__file__).read_text().count(MARKS[0]) == 0
